//! Where a request carries its session token.

use http::header::{AUTHORIZATION, COOKIE as COOKIE_HEADER};
use http::{HeaderMap, Uri};
use stdx::Secret;

/// Cookie and query parameter of the session token.
pub const COOKIE: &str = "coder_session_token";
/// Header of the session token.
pub const SESSION_HEADER: &str = "coder-session-token";
/// Header of the token on gateway routes when the client brings a provider credential of its own.
pub const GOVERNANCE_HEADER: &str = "x-coder-ai-governance-token";

/// The first non-blank of: cookie, query parameter `coder_session_token`, header `Coder-Session-Token`,
/// `Authorization: Bearer`, query parameter `access_token`.
///
/// The order is that of clients in the field: older ways come first.
#[must_use]
pub fn session_token(headers: &HeaderMap, uri: &Uri) -> Option<Secret<String>> {
    cookie(headers)
        .or_else(|| query(uri, COOKIE))
        .or_else(|| header(headers, SESSION_HEADER))
        .or_else(|| bearer(headers))
        .or_else(|| query(uri, "access_token"))
        .map(Secret::new)
}

/// Whether the session token is there for no other reason than that a browser adds cookies by itself: a cookie,
/// and no equal token where the caller had to put it (header `Coder-Session-Token`, query parameter).
#[must_use]
pub fn is_ambient(headers: &HeaderMap, uri: &Uri) -> bool {
    cookie(headers).is_some_and(|token| {
        header(headers, SESSION_HEADER).as_ref() != Some(&token)
            && query(uri, COOKIE).as_ref() != Some(&token)
    })
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(COOKIE_HEADER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .and_then(|(_, value)| non_blank(value))
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).and_then(non_blank)
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { non_blank(token) } else { None }
}

/// Tokens are plain ASCII, so a percent-encoded one is not ours and needs no decoding.
fn query(uri: &Uri, name: &str) -> Option<String> {
    uri.query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| non_blank(value))
}

fn non_blank(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() { None } else { Some(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_ways_keep_precedence() {
        let all: &[(&str, &str)] = &[
            ("cookie", "other=1; coder_session_token=from-cookie"),
            ("coder-session-token", "from-header"),
            ("authorization", "bEaReR from-bearer"),
        ];
        let token = |headers: &[(&'static str, &str)], uri: &str| {
            let map = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect();
            session_token(&map, &uri.parse().unwrap()).map(|token| token.expose().clone())
        };
        let query = "/x?coder_session_token=from-query&access_token=from-access";
        assert_eq!(token(all, query).as_deref(), Some("from-cookie"));
        assert_eq!(token(&all[1..], query).as_deref(), Some("from-query"));
        assert_eq!(token(&all[1..], "/x?access_token=a").as_deref(), Some("from-header"));
        assert_eq!(token(&all[2..], "/x?access_token=a").as_deref(), Some("from-bearer"));
        assert_eq!(token(&[], "/x?access_token=a").as_deref(), Some("a"));
        assert_eq!(token(&[("authorization", "Basic abc")], "/x"), None);
        assert_eq!(token(&[("coder-session-token", "  ")], "/x"), None);
    }
}
