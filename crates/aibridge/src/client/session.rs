//! The session key that a client sends, if it sends one.

use http::HeaderMap;
use stdx::cut;

use super::Client;
use crate::json;

/// Longer session keys are cut, between two characters.
pub const SESSION_ID_BYTES_MAX: usize = 256;

/// In Claude Code's user key this precedes the session key.
const SESSION_MARK: &str = "_session_";

/// The headers that carry a client's session key, the preferred one first.
const fn headers_of(client: Client) -> &'static [&'static str] {
    match client {
        Client::ClaudeCode => &["x-claude-code-session-id"],
        Client::Codex => &["session-id", "session_id"],
        Client::Mux | Client::Xum => &["x-mux-workspace-id"],
        Client::CopilotVsCode => &["x-interaction-id"],
        Client::CopilotCli => &["x-client-session-id"],
        Client::KiloCode => &["x-kilocode-taskid"],
        Client::CoderAgents => &["x-coder-chat-id"],
        Client::OpenCode => &["x-opencode-session", "x-session-affinity"],
        Client::Zed
        | Client::RooCode
        | Client::CharmCrush
        | Client::Cursor
        | Client::Junie
        | Client::Unknown => &[],
    }
}

/// The client's own key of the session that a request belongs to, trimmed and cut to
/// [`SESSION_ID_BYTES_MAX`]. The body is taken for valid JSON, as it has been found to be when the request
/// was read; one that is not has no key or a wrong one, and that is never an error.
#[must_use]
pub fn session_id(client: Client, headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let from_headers = headers_of(client)
        .iter()
        .filter_map(|name| std::str::from_utf8(headers.get(*name)?.as_bytes()).ok())
        .find_map(tidy);
    match client {
        Client::ClaudeCode => from_headers.or_else(|| from_user_id(body)),
        _ => from_headers,
    }
}

/// Claude Code's `metadata.user_id`: JSON with a `session_id`, or text that ends in `_session_{key}`.
fn from_user_id(body: &[u8]) -> Option<String> {
    let user_id = json::valid(body)?.field("metadata")?.field("user_id")?.string()?;
    let nested = json::parse_text(&user_id).ok().and_then(|object| object.field("session_id"));
    match nested {
        Some(session) => tidy(&session.string()?),
        None => tidy(user_id.rsplit_once(SESSION_MARK)?.1),
    }
}

fn tidy(text: &str) -> Option<String> {
    let text = cut(text.trim(), SESSION_ID_BYTES_MAX).trim_end();
    let printable = !text.is_empty() && !text.contains(char::is_control);
    printable.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &[u8])| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn each_client_has_its_own_header() {
        for (client, name) in [
            (Client::ClaudeCode, "x-claude-code-session-id"),
            (Client::Codex, "session_id"),
            (Client::Codex, "session-id"),
            (Client::Mux, "x-mux-workspace-id"),
            (Client::CopilotVsCode, "x-interaction-id"),
            (Client::CopilotCli, "x-client-session-id"),
            (Client::KiloCode, "x-kilocode-taskid"),
            (Client::CoderAgents, "x-coder-chat-id"),
            (Client::OpenCode, "x-opencode-session"),
            (Client::OpenCode, "x-session-affinity"),
        ] {
            let headers = headers(&[(name, b" s-1 ")]);
            assert_eq!(session_id(client, &headers, b"").as_deref(), Some("s-1"), "{name}");
            assert_eq!(session_id(Client::Unknown, &headers, b""), None, "{name}");
            assert_eq!(session_id(Client::Zed, &headers, b""), None, "{name}");
        }
    }

    #[test]
    fn the_preferred_header_wins_unless_blank() {
        let both = headers(&[("session-id", b"new"), ("session_id", b"old")]);
        assert_eq!(session_id(Client::Codex, &both, b"").as_deref(), Some("new"));
        let blank = headers(&[("session-id", b"  "), ("session_id", b"old")]);
        assert_eq!(session_id(Client::Codex, &blank, b"").as_deref(), Some("old"));
    }

    #[test]
    fn claude_code_hides_it_in_the_user_id() {
        let none = HeaderMap::new();
        for (user_id, want) in [
            (r#""user_ab_account_cd_session_ef-01""#, Some("ef-01")),
            (r#""a_session_b_session_c""#, Some("c")),
            (r#""{\"device_id\":\"d\",\"session_id\":\"s-2\"}""#, Some("s-2")),
            (r#""{\"session_id\":\"\",\"x\":\"_session_y\"}""#, None),
            (r#""{\"session_id\":7}""#, None),
            (r#""nothing here""#, None),
            (r#""a_session_""#, None),
            ("7", None),
            ("null", None),
        ] {
            let body = format!(r#"{{"model":"m","metadata":{{"user_id":{user_id}}}}}"#);
            let seen = session_id(Client::ClaudeCode, &none, body.as_bytes());
            assert_eq!(seen.as_deref(), want, "{user_id}");
        }
        for body in [&b""[..], b"{", b"\xff", b"[]", b"{\"metadata\":3}"] {
            assert_eq!(session_id(Client::ClaudeCode, &none, body), None);
        }
        let header = headers(&[("x-claude-code-session-id", b"h")]);
        let body = br#"{"metadata":{"user_id":"_session_b"}}"#;
        assert_eq!(session_id(Client::ClaudeCode, &header, body).as_deref(), Some("h"));
    }

    #[test]
    fn keys_are_bounded_and_valid_text() {
        let long = "é".repeat(200);
        let seen =
            session_id(Client::Mux, &headers(&[("x-mux-workspace-id", long.as_bytes())]), b"");
        assert_eq!(seen.map(|id| id.len()), Some(256));
        let broken = headers(&[("x-mux-workspace-id", b"\xff\xfe")]);
        assert_eq!(session_id(Client::Mux, &broken, b""), None);
        let body = br#"{"metadata":{"user_id":"_session_a\u0000b"}}"#;
        assert_eq!(session_id(Client::ClaudeCode, &HeaderMap::new(), body), None);
    }
}
