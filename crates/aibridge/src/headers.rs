//! Which headers cross the gateway, in both directions.
//!
//! Upstream never sees a credential of ours, a cookie, or where the client sits; the client never sees a
//! cookie or connection header of the provider.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::gateway::Peer;
use crate::ports::Identity;

/// Carries the caller's token when `Authorization` and `X-Api-Key` carry the provider's.
pub const GOVERNANCE_TOKEN: HeaderName = HeaderName::from_static("x-coder-ai-governance-token");
/// Correlates with the proxy's log.
pub const GOVERNANCE_REQUEST_ID: HeaderName =
    HeaderName::from_static("x-coder-ai-governance-request-id");
/// The header of the management API.
pub const SESSION_TOKEN: HeaderName = HeaderName::from_static("coder-session-token");
/// Anthropic's way to send a key.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Tells the client which record belongs to the answer.
pub const INTERCEPTION_ID: HeaderName = HeaderName::from_static("x-coder-interception-id");

/// On every refusal and failure of the gateway itself: the cause, the same in all dialects.
pub const ERROR_CODE: HeaderName = HeaderName::from_static("x-coder-error-code");

/// Connection headers (RFC 9110 section 7.6.1), plus whatever `Connection` names.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Ours, or a credential: removed on every way upstream.
const OURS: [&str; 8] = [
    "authorization",
    "x-api-key",
    "cookie",
    "coder-session-token",
    "x-coder-ai-governance-token",
    "x-coder-ai-governance-request-id",
    "x-coder-agent-firewall-session-id",
    "x-coder-agent-firewall-sequence-number",
];

/// Made anew for each hop.
const TRANSPORT: [&str; 5] =
    ["host", "accept-encoding", "content-length", "expect", "content-encoding"];

/// Where the client sits.
const FORWARDING: [&str; 10] = [
    "cf-connecting-ip",
    "true-client-ip",
    "via",
    "x-client-ip",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Reserved for what the gateway itself says about the caller.
const ACTOR_PREFIX: &str = "x-ai-bridge-actor";

/// Headers of an intercepted request as they go upstream, still without a credential.
///
/// `actor` adds who is calling, for operators who switched that on. Whatever a client claims about the
/// actor is removed in any case.
#[must_use]
pub fn for_upstream(client: &HeaderMap, actor: Option<&Identity>) -> HeaderMap {
    let named = named_by_connection(client);
    let mut headers = HeaderMap::with_capacity(client.len() + 4);
    // One pass with cheap tests: this is on the way of every request.
    for (name, value) in client {
        let text = name.as_str();
        if !stays_here(text) && !named.iter().any(|named| named == name) {
            headers.append(name.clone(), value.clone());
        }
    }
    // Without this header any encoding would be acceptable (RFC 9110 section 12.5.3), and a compressed
    // answer could not be recorded.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(actor) = actor {
        insert_text(&mut headers, "x-ai-bridge-actor-id", &actor.user.to_string());
        insert_text(&mut headers, "x-ai-bridge-actor-metadata-username", &actor.username);
    }
    headers
}

/// Headers of a passthrough request as they go upstream, still without a credential.
///
/// `Host` moves to `X-Forwarded-Host`; `peer`, when known, is appended to `X-Forwarded-For` and decides
/// `X-Forwarded-Proto`.
#[must_use]
pub fn for_passthrough(client: &HeaderMap, host: Option<&str>, peer: Option<&Peer>) -> HeaderMap {
    let mut headers = client.clone();
    remove_hop_by_hop(&mut headers);
    for name in OURS {
        headers.remove(name);
    }
    remove_actor(&mut headers);
    headers.remove(header::HOST);
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::EXPECT);
    if let Some(host) = host {
        insert_text(&mut headers, "x-forwarded-host", host);
    }
    if let Some(peer) = peer {
        let before = headers.get_all("x-forwarded-for").into_iter();
        let before = before.filter_map(|value| value.to_str().ok()).map(str::to_owned);
        let chain: Vec<String> = before.chain([peer.ip.to_string()]).collect();
        insert_text(&mut headers, "x-forwarded-for", &chain.join(", "));
        let proto = if peer.tls { "https" } else { "http" };
        insert_text(&mut headers, "x-forwarded-proto", proto);
    }
    if !headers.contains_key(header::USER_AGENT) {
        headers.insert(header::USER_AGENT, HeaderValue::from_static("aibridge"));
    }
    headers
}

/// Headers of a provider's answer that the client of an intercepted route gets.
#[must_use]
pub fn for_client(upstream: &HeaderMap) -> HeaderMap {
    let passes = |name: &str| {
        matches!(
            name,
            "content-type"
                | "content-encoding"
                | "retry-after"
                | "retry-after-ms"
                | "x-should-retry"
                | "request-id"
                | "x-request-id"
        ) || ["anthropic-ratelimit-", "x-ratelimit-", "openai-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    let kept = upstream.iter().filter(|(name, _)| passes(name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Headers of a provider's answer that the client of a passthrough route gets.
#[must_use]
pub fn for_passthrough_client(upstream: &HeaderMap) -> HeaderMap {
    let mut headers = upstream.clone();
    remove_hop_by_hop(&mut headers);
    headers.remove(header::SET_COOKIE);
    headers.remove("set-cookie2");
    headers
}

/// Whether a body is not what it says but has to be unpacked first.
#[must_use]
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).into_iter().any(|value| {
        let name = value.as_bytes().trim_ascii();
        !name.is_empty() && !name.eq_ignore_ascii_case(b"identity")
    })
}

/// Whether a header of an intercepted request is not for the provider.
fn stays_here(name: &str) -> bool {
    let tables = [&OURS[..], &TRANSPORT[..], &FORWARDING[..], &HOP_BY_HOP[..]];
    name.starts_with(ACTOR_PREFIX) || tables.iter().any(|table| table.contains(&name))
}

/// The headers that `Connection` names.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect()
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

fn remove_actor(headers: &mut HeaderMap) {
    let claimed: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(ACTOR_PREFIX)).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
}

/// Text that no header can carry is left out.
fn insert_text(headers: &mut HeaderMap, name: &'static str, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use stdx::ids::UserId;

    use super::*;

    fn headers(names: &[&'static str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for name in names {
            map.append(*name, HeaderValue::from_static("v"));
        }
        map
    }

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn upstream_sees_neither_our_credentials_nor_where_the_client_sits() {
        let every = [&OURS[..], &TRANSPORT[..], &FORWARDING[..], &HOP_BY_HOP[..]].concat();
        let mut client = headers(&every);
        client.extend(headers(&[
            "x-ai-bridge-actor-id",
            "x-named",
            "anthropic-beta",
            "user-agent",
            "originator",
        ]));
        client.insert(header::CONNECTION, HeaderValue::from_static("close, X-Named"));
        let sent = for_upstream(&client, None);
        assert_eq!(names(&sent), ["accept-encoding", "anthropic-beta", "originator", "user-agent"]);
        assert_eq!(sent[header::ACCEPT_ENCODING], "identity");
    }

    #[test]
    fn only_the_gateway_speaks_about_the_actor() {
        let actor =
            Identity { user: UserId::nil(), username: "ann".into(), api_key_id: "k".into() };
        let client = headers(&["x-ai-bridge-actor-id", "x-ai-bridge-actor-metadata-role"]);
        let sent = for_upstream(&client, Some(&actor));
        assert_eq!(
            names(&sent),
            ["accept-encoding", "x-ai-bridge-actor-id", "x-ai-bridge-actor-metadata-username"]
        );
        assert_eq!(sent["x-ai-bridge-actor-metadata-username"], "ann");
    }

    #[test]
    fn passthrough_says_who_forwarded_what() {
        let mut client = headers(&["cookie", "authorization", "host", "accept-encoding"]);
        client.insert("x-forwarded-for", HeaderValue::from_static("1.1.1.1"));
        let peer = Peer { ip: [2, 2, 2, 2].into(), tls: true };
        let sent = for_passthrough(&client, Some("gw.example"), Some(&peer));
        assert_eq!(
            names(&sent),
            [
                "accept-encoding",
                "user-agent",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-proto"
            ]
        );
        assert_eq!(sent["x-forwarded-for"], "1.1.1.1, 2.2.2.2");
        assert_eq!(sent["x-forwarded-proto"], "https");
        assert_eq!(sent["user-agent"], "aibridge");
    }

    #[test]
    fn the_client_gets_limits_and_ids_but_no_cookies() {
        let upstream = headers(&[
            "set-cookie",
            "connection",
            "server",
            "cf-ray",
            "content-length",
            "location",
            "content-type",
            "request-id",
            "x-request-id",
            "retry-after",
            "anthropic-ratelimit-tokens-remaining",
            "x-ratelimit-limit-requests",
            "openai-processing-ms",
            "anthropic-organization-id",
        ]);
        assert_eq!(
            names(&for_client(&upstream)),
            [
                "anthropic-ratelimit-tokens-remaining",
                "content-type",
                "openai-processing-ms",
                "request-id",
                "retry-after",
                "x-ratelimit-limit-requests",
                "x-request-id",
            ]
        );
        let passed = for_passthrough_client(&upstream);
        assert!(!passed.contains_key("set-cookie") && !passed.contains_key("connection"));
        assert!(passed.contains_key("cf-ray"));
    }
}
