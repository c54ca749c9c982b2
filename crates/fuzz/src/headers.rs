//! Reading tokens, clients and sessions from headers, and what crosses the gateway in both directions.

use aibridge::client::{self, SESSION_ID_BYTES_MAX};
use aibridge::headers::{
    GOVERNANCE_TOKEN, SESSION_TOKEN, X_API_KEY, for_client, for_passthrough,
    for_passthrough_client, for_upstream,
};
use aibridge::token::{self, Credentials, TokenError};
use aibridge::{Peer, ProviderKind};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What no provider gets to see.
const NEVER_UPSTREAM: &[&str] = &[
    "authorization",
    "connection",
    "cookie",
    "coder-session-token",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
    "x-coder-agent-firewall-sequence-number",
    "x-coder-agent-firewall-session-id",
    "x-coder-ai-governance-request-id",
    "x-coder-ai-governance-token",
];

/// What a provider of an intercepted route does not get to see besides.
const NEVER_INTERCEPTED: &[&str] =
    &["content-length", "forwarded", "host", "via", "x-forwarded-for", "x-real-ip"];

/// Lines of a request that are used; servers allow fewer.
const LINES_MAX: usize = 200;

/// Reads a header block, `name: value` a line, and a body behind a blank line.
///
/// A token is one of the headers' values and a clash names two headers; a caller's own credential is never the
/// token. No credential and no connection header goes upstream, nor what `Connection` names; no cookie comes
/// back. A session key is short and printable.
///
/// # Panics
/// When a check fails.
pub fn headers(data: &[u8]) {
    let (map, body) = read(data);
    if let Some(credentials) = credentials(&map) {
        for kind in [ProviderKind::Anthropic, ProviderKind::OpenAi, ProviderKind::Copilot] {
            let own = token::own_credential(&map, kind, &credentials);
            let Some(own) = own else { continue };
            assert!(credentials.byok && own.value.is_sensitive());
            let value = own.value.as_bytes();
            let value = value.strip_prefix(b"Bearer ").unwrap_or(value);
            assert_ne!(value, credentials.token.expose().as_bytes(), "our token goes upstream");
            assert_ne!(own.hint.as_bytes(), value, "a credential as its own mask");
        }
    }
    let program = client::detect(&map);
    for client in [program, client::Client::ClaudeCode, client::Client::Codex] {
        if let Some(id) = client::session_id(client, &map, body) {
            assert!(!id.is_empty() && id.len() <= SESSION_ID_BYTES_MAX && id.trim() == id);
            assert!(!id.contains(char::is_control));
        }
    }
    directions(&map);
}

/// The header block; what cannot be a header is passed over. Ends with a blank line.
fn read(data: &[u8]) -> (HeaderMap, &[u8]) {
    let mut map = HeaderMap::new();
    let mut rest = data;
    for _ in 0..LINES_MAX {
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let (line, behind) = rest.split_at(end);
        rest = behind.get(1..).unwrap_or_default();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let pair = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
        if let (Ok(name), Ok(value)) = pair {
            map.append(name, value);
        }
    }
    (map, rest)
}

fn credentials(map: &HeaderMap) -> Option<Credentials> {
    let values = |name: &HeaderName| map.get_all(name).into_iter().map(HeaderValue::as_bytes);
    let blank = |value: &[u8]| String::from_utf8_lossy(value).trim().is_empty();
    let governance = values(&GOVERNANCE_TOKEN).any(|value| !blank(value));
    match token::read(map) {
        Ok(found) => {
            let token = found.token.expose();
            assert!(!token.trim().is_empty() && token.trim() == token);
            assert_eq!(found.byok, governance);
            let carriers = [&GOVERNANCE_TOKEN, &header::AUTHORIZATION, &X_API_KEY, &SESSION_TOKEN];
            let mut carried = carriers.into_iter().flat_map(values);
            let carried = carried.any(|value| String::from_utf8_lossy(value).contains(token));
            assert!(carried, "a token out of nothing");
            Some(found)
        }
        Err(TokenError::Missing) => {
            assert!(!governance && values(&X_API_KEY).all(blank));
            None
        }
        Err(TokenError::Clash(names)) => {
            assert!(!names.is_empty() && names.len() <= 4);
            None
        }
    }
}

fn directions(map: &HeaderMap) {
    let peer = Peer { ip: [192, 0, 2, 1].into(), tls: false };
    let intercepted = for_upstream(map, None);
    let passed = for_passthrough(map, Some("gateway.example"), Some(&peer));
    for sent in [&intercepted, &passed] {
        for name in NEVER_UPSTREAM {
            assert!(!sent.contains_key(*name), "{name} goes upstream");
        }
        assert!(!sent.keys().any(|name| name.as_str().starts_with("x-ai-bridge-actor")));
    }
    for name in NEVER_INTERCEPTED {
        assert!(!intercepted.contains_key(*name), "{name} goes upstream");
    }
    assert_eq!(
        intercepted.get(header::ACCEPT_ENCODING),
        Some(&"identity".parse().unwrap_or(EMPTY))
    );
    assert_eq!(passed.get_all("x-forwarded-for").iter().count(), 1);
    let chain = passed.get("x-forwarded-for").map(HeaderValue::as_bytes).unwrap_or_default();
    assert!(chain.ends_with(b"192.0.2.1"), "not where the request came from");

    let named = map.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|value| value.split(',')).map(|name| name.trim().to_lowercase()) {
        let ours =
            ["accept-encoding", "user-agent"].contains(&&*name) || name.starts_with("x-forwarded-");
        assert!(ours || !intercepted.contains_key(&*name), "{name} is for the next hop only");
        assert!(ours || !passed.contains_key(&*name), "{name} is for the next hop only");
    }
    for back in [for_client(map), for_passthrough_client(map)] {
        for name in ["set-cookie", "connection", "transfer-encoding", "proxy-authenticate"] {
            assert!(!back.contains_key(name), "{name} comes back");
        }
        for (name, value) in &back {
            assert!(map.get_all(name).iter().any(|have| have == value), "{name} is invented");
        }
    }
}

/// Stands in for a value that cannot be made.
const EMPTY: HeaderValue = HeaderValue::from_static("");
