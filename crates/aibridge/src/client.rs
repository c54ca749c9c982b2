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
    /// OpenCode.
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
