//! Which client program is calling, and which of its sessions.

mod session;

use http::HeaderMap;

pub use session::{SESSION_ID_BYTES_MAX, session_id};

/// A client program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// Mux.
    Mux,
    /// Xum.
    Xum,
    /// Claude Code.
    ClaudeCode,
    /// Codex.
    Codex,
    /// Zed.
    Zed,
    /// GitHub Copilot in VS Code.
    CopilotVsCode,
    /// GitHub Copilot on the command line.
    CopilotCli,
    /// Kilo Code.
    KiloCode,
    /// Roo Code.
    RooCode,
    /// Coder's own agents.
    CoderAgents,
    /// Charm Crush.
    CharmCrush,
    /// Cursor.
    Cursor,
    /// `OpenCode`.
    OpenCode,
    /// Junie.
    Junie,
    /// None of the above.
    Unknown,
}

impl Client {
    /// The name used in records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mux => "Mux",
            Self::Xum => "Xum",
            Self::ClaudeCode => "Claude Code",
            Self::Codex => "Codex",
            Self::Zed => "Zed",
            Self::CopilotVsCode => "GitHub Copilot (VS Code)",
            Self::CopilotCli => "GitHub Copilot (CLI)",
            Self::KiloCode => "Kilo Code",
            Self::RooCode => "Roo Code",
            Self::CoderAgents => "Coder Agents",
            Self::CharmCrush => "Charm Crush",
            Self::Cursor => "Cursor",
            Self::OpenCode => "OpenCode",
            Self::Junie => "Junie",
            Self::Unknown => "Unknown",
        }
    }
}

/// How a client gives itself away.
enum Sign {
    /// Its User-Agent starts with this, in any case.
    Agent(&'static str),
    /// This header has this value.
    Header(&'static str, &'static str),
    /// This header is there and not blank.
    Present(&'static str),
}

/// The first row that fits wins.
const SIGNS: &[(Sign, Client)] = &[
    (Sign::Agent("mux/"), Client::Mux),
    (Sign::Agent("xum/"), Client::Xum),
    (Sign::Agent("claude"), Client::ClaudeCode),
    (Sign::Agent("codex"), Client::Codex),
    (Sign::Agent("zed/"), Client::Zed),
    (Sign::Agent("githubcopilotchat/"), Client::CopilotVsCode),
    (Sign::Agent("copilot/"), Client::CopilotCli),
    (Sign::Agent("kilo-code/"), Client::KiloCode),
    (Sign::Header("originator", "kilo-code"), Client::KiloCode),
    (Sign::Agent("roo-code/"), Client::RooCode),
    (Sign::Header("originator", "roo-code"), Client::RooCode),
    (Sign::Agent("coder-agents/"), Client::CoderAgents),
    (Sign::Agent("charm crush/"), Client::CharmCrush),
    (Sign::Agent("charm-crush/"), Client::CharmCrush),
    (Sign::Present("x-cursor-client-version"), Client::Cursor),
    (Sign::Agent("opencode/"), Client::OpenCode),
    (Sign::Agent("junie:"), Client::Junie),
];

impl Sign {
    fn is_on(&self, headers: &HeaderMap) -> bool {
        let value = |name: &str| headers.get(name).map(http::HeaderValue::as_bytes);
        match *self {
            Self::Agent(prefix) => value("user-agent")
                .and_then(|agent| agent.get(..prefix.len()))
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())),
            Self::Header(name, wanted) => value(name) == Some(wanted.as_bytes()),
            Self::Present(name) => value(name).is_some_and(|v| !v.trim_ascii().is_empty()),
        }
    }
}

/// Which client program sent these headers. They are a hint, not a proof.
#[must_use]
pub fn detect(headers: &HeaderMap) -> Client {
    SIGNS
        .iter()
        .find(|(sign, _)| sign.is_on(headers))
        .map_or(Client::Unknown, |&(_, client)| client)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn clients_are_known_by_agent_or_header() {
        for (name, value, client) in [
            ("user-agent", "mux/1.0", Client::Mux),
            ("user-agent", "xum/1.0", Client::Xum),
            ("user-agent", "claude-cli/2.0.1 (external, cli)", Client::ClaudeCode),
            ("user-agent", "Claude-Code/1", Client::ClaudeCode),
            ("user-agent", "codex_cli_rs/0.50.0 (Ubuntu)", Client::Codex),
            ("user-agent", "Zed/0.200", Client::Zed),
            ("user-agent", "zed", Client::Unknown),
            ("user-agent", "GitHubCopilotChat/0.30", Client::CopilotVsCode),
            ("user-agent", "copilot/1.0 (linux)", Client::CopilotCli),
            ("user-agent", "Kilo-Code/4", Client::KiloCode),
            ("originator", "kilo-code", Client::KiloCode),
            ("user-agent", "roo-code/3", Client::RooCode),
            ("originator", "roo-code", Client::RooCode),
            ("originator", "someone", Client::Unknown),
            ("user-agent", "coder-agents/v2", Client::CoderAgents),
            ("user-agent", "Charm Crush/0.1", Client::CharmCrush),
            ("user-agent", "charm-crush/0.1", Client::CharmCrush),
            ("x-cursor-client-version", "2.0", Client::Cursor),
            ("x-cursor-client-version", " ", Client::Unknown),
            ("user-agent", "opencode/1.0", Client::OpenCode),
            ("user-agent", "Junie:1", Client::Junie),
            ("user-agent", "curl/8", Client::Unknown),
            ("user-agent", "my claude", Client::Unknown),
            ("user-agent", "", Client::Unknown),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            assert_eq!(detect(&headers), client, "{name}: {value}");
        }
        assert_eq!(detect(&HeaderMap::new()), Client::Unknown);
    }

    #[test]
    fn the_first_sign_wins() {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_static("opencode/1"));
        headers.insert("originator", HeaderValue::from_static("roo-code"));
        assert_eq!(detect(&headers), Client::RooCode);
    }
}
