//! Finds the caller's own token among the headers, and the credential that a caller brought for upstream.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use stdx::{Secret, mask};

use crate::headers::{GOVERNANCE_TOKEN, SESSION_TOKEN, X_API_KEY};
use crate::keys::auth_header;
use crate::provider::{AuthHeader, ProviderKind};

/// What the headers say about who is calling.
#[derive(Debug)]
pub struct Credentials {
    /// The caller's token of this deployment; still to be checked.
    pub token: Secret<String>,
    /// Whether the token came in the header of its own, so that `Authorization` and `X-Api-Key` belong to
    /// the provider ("bring your own key").
    pub byok: bool,
}

/// Why no token could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// None of the headers carries one.
    Missing,
    /// These headers carry different ones.
    Clash(Vec<&'static str>),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no authentication key provided"),
            Self::Clash(names) => write!(
                f,
                "two different Coder credentials in one request ({}); send only one, or put the Coder token \
                 into X-Coder-AI-Governance-Token and your provider key into the other",
                names.join(", ")
            ),
        }
    }
}

impl std::error::Error for TokenError {}

/// Reads the token: `X-Coder-AI-Governance-Token`, else `Authorization: Bearer`, `X-Api-Key` or
/// `Coder-Session-Token`.
///
/// # Errors
/// [`TokenError::Missing`], or [`TokenError::Clash`] when headers that are all ours disagree: which of the
/// two identities was meant is not ours to guess.
pub fn read(headers: &HeaderMap) -> Result<Credentials, TokenError> {
    let byok = plain(headers, &GOVERNANCE_TOKEN).next().is_some();
    let mut first: Option<Cow<'_, str>> = None;
    let mut names: Vec<&'static str> = Vec::new();
    let mut clash = false;
    let mut add = |name: &'static str, value: Cow<'_, str>| {
        names.push(name);
        match &first {
            None => first = Some(value.into_owned().into()),
            Some(first) => clash |= *first != value,
        }
    };
    if byok {
        plain(headers, &GOVERNANCE_TOKEN)
            .for_each(|value| add("X-Coder-AI-Governance-Token", value));
    } else {
        bearer(headers).for_each(|value| add("Authorization", value));
        plain(headers, &X_API_KEY).for_each(|value| add("X-Api-Key", value));
    }
    plain(headers, &SESSION_TOKEN).for_each(|value| add("Coder-Session-Token", value));
    if clash {
        names.dedup();
        return Err(TokenError::Clash(names));
    }
    let token = first.ok_or(TokenError::Missing)?.into_owned().into();
    Ok(Credentials { token, byok })
}

/// A credential that the caller brought for the provider.
#[derive(Clone, Debug)]
pub struct OwnCredential {
    /// Header that carries it upstream.
    pub name: HeaderName,
    /// Marked sensitive.
    pub value: HeaderValue,
    /// Its mask.
    pub hint: String,
}

/// The provider credential of a caller who brings one: `X-Api-Key`, else `Authorization: Bearer`, for the
/// Anthropic kinds; only the latter for all others. A value equal to the caller's token of this deployment
/// is none: it must not reach a provider.
#[must_use]
pub fn own_credential(
    headers: &HeaderMap,
    kind: ProviderKind,
    credentials: &Credentials,
) -> Option<OwnCredential> {
    if !credentials.byok {
        return None;
    }
    let foreign = |value: &Cow<'_, str>| *value != credentials.token.expose().as_str();
    let own = |auth, value: Cow<'_, str>| {
        let (name, header) = auth_header(auth, &value);
        OwnCredential { name, value: header, hint: mask(&value) }
    };
    let key = match kind.auth() {
        AuthHeader::XApiKey => plain(headers, &X_API_KEY).find(foreign),
        AuthHeader::Bearer => None,
    };
    if let Some(key) = key {
        return Some(own(AuthHeader::XApiKey, key));
    }
    let token = bearer(headers).find(foreign)?;
    Some(own(AuthHeader::Bearer, token))
}

/// The values of a header, trimmed, without blank ones.
fn plain<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Cow<'a, str>> {
    headers.get_all(name).into_iter().map(text).filter(|value| !value.is_empty())
}

/// Exactly two fields, the first of them `Bearer` in any case (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> impl Iterator<Item = Cow<'_, str>> {
    plain(headers, &header::AUTHORIZATION).filter_map(|value| {
        let (scheme, token) = value.split_once(char::is_whitespace)?;
        let token = token.trim_start();
        let fits = scheme.eq_ignore_ascii_case("bearer") && !token.contains(char::is_whitespace);
        fits.then(|| match &value {
            Cow::Borrowed(value) => {
                Cow::Borrowed(value.get(value.len() - token.len()..).unwrap_or_default())
            }
            Cow::Owned(_) => Cow::Owned(token.to_owned()),
        })
    })
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    match String::from_utf8_lossy(value.as_bytes()) {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn tokens_are_found_in_order_and_clashes_are_named() {
        const G: &str = "x-coder-ai-governance-token";
        for (pairs, want) in [
            (&[][..], Err("no authentication key provided")),
            (&[("authorization", "Basic abc")], Err("no authentication key")),
            (&[("authorization", "Bearer a b")], Err("no authentication key")),
            (&[(G, "  "), ("x-api-key", " ")], Err("no authentication key")),
            (&[("authorization", "bEaReR  t")], Ok(("t", false))),
            (&[("x-api-key", " t ")], Ok(("t", false))),
            (&[("coder-session-token", "t")], Ok(("t", false))),
            (&[("authorization", "Bearer t"), ("x-api-key", "t")], Ok(("t", false))),
            (
                &[("authorization", "Bearer t"), ("x-api-key", "u")],
                Err("(Authorization, X-Api-Key)"),
            ),
            (&[("x-api-key", "t"), ("x-api-key", "u")], Err("(X-Api-Key)")),
            (
                &[("x-api-key", "t"), ("coder-session-token", "u")],
                Err("(X-Api-Key, Coder-Session-Token)"),
            ),
            (&[(G, "t"), ("x-api-key", "sk"), ("authorization", "Bearer z")], Ok(("t", true))),
            (
                &[(G, "t"), ("coder-session-token", "u")],
                Err("(X-Coder-AI-Governance-Token, Coder-Session-Token)"),
            ),
        ] {
            let got = read(&headers(pairs)).map(|found| (found.token.expose().clone(), found.byok));
            match (got, want) {
                (Ok((token, byok)), Ok(want)) => assert_eq!((token.as_str(), byok), want),
                (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
                (got, want) => panic!("{pairs:?}: {got:?} instead of {want:?}"),
            }
        }
    }

    #[test]
    fn the_brought_key_wins_and_our_own_token_never_counts_as_one() {
        use ProviderKind::{Anthropic, Copilot, OpenAi};
        let credentials = Credentials { token: "t".into(), byok: true };
        for (kind, pairs, want) in [
            (
                Anthropic,
                &[("x-api-key", "sk-1"), ("authorization", "Bearer o")][..],
                Some("x-api-key: sk-1"),
            ),
            (Anthropic, &[("authorization", "Bearer o")], Some("authorization: Bearer o")),
            (Anthropic, &[("x-api-key", "t"), ("authorization", "Bearer t")], None),
            (OpenAi, &[("x-api-key", "sk-1")], None),
            (OpenAi, &[("authorization", "Bearer o")], Some("authorization: Bearer o")),
            (Copilot, &[("authorization", "Bearer ghu")], Some("authorization: Bearer ghu")),
        ] {
            let own = own_credential(&headers(pairs), kind, &credentials);
            let shown = own.map(|own| format!("{}: {}", own.name, own.value.to_str().unwrap()));
            assert_eq!(shown.as_deref(), want, "{kind:?} {pairs:?}");
        }
        let central = Credentials { token: "t".into(), byok: false };
        let own = own_credential(&headers(&[("x-api-key", "sk")]), Anthropic, &central);
        assert!(own.is_none());
    }
}
