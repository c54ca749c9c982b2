//! What `up` prints once everything runs.

use std::fmt;
use std::path::Path;

use super::state::Admin;

/// Lines to copy, with the address and the token filled in.
pub(crate) struct Hints<'a> {
    /// Of coderd.
    pub(crate) url: &'a str,
    /// Of aibridged.
    pub(crate) gateway: &'a str,
    pub(crate) token: &'a str,
    pub(crate) admin: &'a Admin,
    pub(crate) state: &'a Path,
    pub(crate) demo: bool,
}

impl fmt::Display for Hints<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, gateway, token, admin, state, demo } = self;
        let own = format!("{url}/api/v2/aibridge");
        let state = state.display();
        writeln!(
            f,
            "
coderd and aibridged are ready

  URL        {url}
  gateway    {gateway}
  e-mail     {email}
  password   in {state}/admin.json
  token      {token}
  logs       {state}/*.log

Claude Code

  ANTHROPIC_BASE_URL={gateway}/anthropic ANTHROPIC_AUTH_TOKEN={token} claude -p 'Hello'

Codex: in ~/.codex/config.toml

  model_provider = \"coder\"
  [model_providers.coder]
  name = \"coder\"
  base_url = \"{gateway}/openai/v1\"
  env_key = \"CODER_TOKEN\"
  wire_api = \"responses\"
  supports_websockets = false

  then

  CODER_TOKEN={token} codex exec 'Hello'

curl

  curl -s {gateway}/anthropic/v1/messages -H 'x-api-key: {token}' -H 'anthropic-version: 2023-06-01' \\
    -d '{{\"model\":\"claude-sonnet-5\",\"max_tokens\":200,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}'

Python

  from anthropic import Anthropic
  client = Anthropic(base_url=\"{gateway}/anthropic\", api_key=\"{token}\")
  client.messages.create(model=\"claude-sonnet-5\", max_tokens=200, messages=[{{\"role\": \"user\", \"content\": \"Hello\"}}])

  from openai import OpenAI
  client = OpenAI(base_url=\"{gateway}/openai/v1\", api_key=\"{token}\")
  client.responses.create(model=\"gpt-5.1\", input=\"Hello\")

Who asked what, and what it cost in tokens

  curl -s -H 'Coder-Session-Token: {token}' {own}/interceptions
",
            email = admin.email,
        )?;
        if *demo {
            f.write_str(
                "The demo's provider answers without a model. A prompt may steer it: `use-tool:NAME {\"a\": 1}`\n\
                 calls a tool that the client offers, `cache:` counts cached tokens, `words:N` answers at length.\n\n",
            )?;
        } else {
            writeln!(
                f,
                "Add a provider first

  curl -s -H 'Coder-Session-Token: {token}' {url}/api/v2/ai/providers -d '{{\"type\":\"anthropic\",\"name\":\"anthropic\",
    \"enabled\":true,\"base_url\":\"https://api.anthropic.com\",\"api_keys\":[\"YOUR KEY\"]}}'
"
            )?;
        }
        writeln!(
            f,
            "Clients talk to aibridged, which goes on serving while coderd is away. coderd's own gateway works as\n\
             well: put {own} in the place of {gateway}.\n"
        )?;
        f.write_str("Ctrl-C stops everything.")
    }
}
