//! Gateways with everything on: identity, limits, full records.

use std::env;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::parts::{Bench, Upstream, Variant};
use crate::child::Server;
use crate::control::{Admin, Control, DEMO_KEY, any_port};
use crate::up::random_word;

/// The gateway that coderd serves itself.
pub(crate) const IN_PROCESS: &str = "coderd";

/// coderd ends open streams and its database within this time.
const CODERD_GRACE: Duration = Duration::from_secs(45);

/// Limits that are on and never reached.
const LIMITS: [(&str, &str); 2] =
    [("CODER_AI_GATEWAY_MAX_CONCURRENCY", "100000"), ("CODER_AI_GATEWAY_RATE_LIMIT", "10000000")];

/// Starts coderd with a database of its own, a user and a provider, and returns the way through it.
pub(crate) fn in_process(bench: &mut Bench, upstream: &Upstream) -> Result<Variant> {
    let address = format!("127.0.0.1:{}", any_port()?);
    let url = format!("http://{address}");
    let program = bench.programs.coderd.as_ref().context("coderd was not built")?;
    let mut command = Command::new(program);
    command.arg("server");
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CODER_") {
            command.env_remove(name);
        }
    }
    command
        .envs(LIMITS)
        .env("CODER_HTTP_ADDRESS", &address)
        .env("CODER_ACCESS_URL", &url)
        .env("CODER_PG_DATA_DIR", bench.dir.join("postgres"));
    let log = bench.dir.join("coderd.log");
    let mut server = Server::start("coderd", &mut command, &log, CODERD_GRACE)?;
    let pid = server.pid();
    let control = Control::new(url);
    let ready = control.ready(&mut server, &bench.interrupt, |_| {});
    bench.servers.push(server);
    ready?;
    let password = random_word(24)?;
    let admin =
        Admin { email: "bench@localhost.localdomain", username: "bench", password: &password };
    control.create_first_user(&admin)?;
    let token = control.make_token(&admin, "bench")?;
    control.with_token(&token).put_provider("anthropic", &upstream.url, DEMO_KEY)?;
    Ok(Variant {
        name: IN_PROCESS,
        target: address,
        path: "/api/v2/aibridge/anthropic/v1/messages".to_owned(),
        headers: vec![format!("x-api-key: {token}")],
        pid: Some(pid),
    })
}
