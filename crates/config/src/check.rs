//! Rules for single values beyond their type. They run on values of every source.
//!
//! The reason of a refusal goes into reports; those for secrets must not repeat the value.

use regex::Regex;
use url::Url;

use crate::value::Raw;

/// `http` or `https`, with a host and without credentials.
pub(crate) fn http_url(raw: &Raw) -> Result<(), String> {
    let Ok(url) = Url::parse(raw.to_string().trim()) else {
        return Ok(()); // empty, or refused by the type already
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must include a scheme (http:// or https://)".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain a user name or password".to_owned());
    }
    Ok(())
}

/// Like [`http_url`], for a URL that others are derived from: no query, no fragment.
pub(crate) fn base_url(raw: &Raw) -> Result<(), String> {
    http_url(raw)?;
    match Url::parse(raw.to_string().trim()) {
        Ok(url) if url.query().is_some() => Err("must not include query parameters".to_owned()),
        Ok(url) if url.fragment().is_some() => Err("must not include a fragment".to_owned()),
        _ => Ok(()),
    }
}

/// An HTTP proxy: `http://[user:password@]host:port` or `https://`. Given secretly.
pub(crate) fn upstream_proxy(raw: &Raw) -> Result<(), String> {
    let text = raw.to_string();
    let url = Url::parse(text.trim()).map_err(|err| format!("not an absolute URL: {err}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must start with http:// or https://".to_owned());
    }
    if text.contains('@') && url.username().is_empty() && url.password().is_none_or(str::is_empty) {
        return Err("both user name and password are empty".to_owned());
    }
    Ok(())
}

/// A PostgreSQL URL. Given secretly. Its password may be badly encoded (the store repairs that).
pub(crate) fn postgres_url(raw: &Raw) -> Result<(), String> {
    let text = raw.to_string();
    let text = text.trim();
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        Ok(())
    } else {
        Err("must start with postgres:// or postgresql://".to_owned())
    }
}

/// Where change notices go. Given secretly, since it can carry credentials.
pub(crate) fn pubsub_url(raw: &Raw) -> Result<(), String> {
    let url = Url::parse(raw.to_string().trim()).map_err(|err| format!("not a URL: {err}"))?;
    match url.scheme() {
        "nats" | "tls" => Ok(()),
        _ => Err("must start with nats:// or tls://".to_owned()),
    }
}

/// Regular expressions on logger names.
pub(crate) fn regexes(raw: &Raw) -> Result<(), String> {
    for (index, item) in raw.items()?.iter().enumerate() {
        if Regex::new(item).is_err() {
            return Err(format!("entry {} is not a regular expression", index + 1));
        }
    }
    Ok(())
}

/// Directives of a content security policy: a name, then values, no separators.
pub(crate) fn csp_directives(raw: &Raw) -> Result<(), String> {
    for (index, item) in raw.items()?.iter().enumerate() {
        let name = item.split_whitespace().next().unwrap_or_default();
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        if !named || item.contains([';', ',', '\r', '\n']) {
            return Err(format!(
                "entry {} is not one directive such as \"script-src https://x\"",
                index + 1
            ));
        }
    }
    Ok(())
}

/// Names of HTTP headers.
pub(crate) fn header_names(raw: &Raw) -> Result<(), String> {
    for (index, item) in raw.items()?.iter().enumerate() {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if item.is_empty() || !item.bytes().all(token) {
            return Err(format!("entry {} is not the name of a header", index + 1));
        }
    }
    Ok(())
}

/// Extras of the `Strict-Transport-Security` header.
pub(crate) fn hsts_options(raw: &Raw) -> Result<(), String> {
    let known = ["includeSubDomains", "preload"];
    for (index, item) in raw.items()?.iter().enumerate() {
        if !known.iter().any(|name| name.eq_ignore_ascii_case(item)) {
            return Err(format!("entry {} is neither includeSubDomains nor preload", index + 1));
        }
    }
    Ok(())
}

/// The cipher suites of TLS 1.2 that the server's TLS library has.
pub(crate) const CIPHERS: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Names of cipher suites.
pub(crate) fn ciphers(raw: &Raw) -> Result<(), String> {
    for (index, item) in raw.items()?.iter().enumerate() {
        if !CIPHERS.contains(&item.as_str()) {
            return Err(format!(
                "entry {} is unknown or insecure (known: {})",
                index + 1,
                CIPHERS.join(", ")
            ));
        }
    }
    Ok(())
}

/// Bytes of an AES-256 key.
const KEY_BYTES: usize = 32;

/// Keys in base64, each of exactly 32 bytes, none twice. Given secretly.
pub(crate) fn encryption_keys(raw: &Raw) -> Result<(), String> {
    let mut seen = Vec::new();
    for (index, item) in raw.items()?.iter().enumerate() {
        let key = format!("external-token-encryption-key {index}");
        let len = base64_len(item).ok_or_else(|| format!("decode {key}: not base64"))?;
        if len != KEY_BYTES {
            return Err(format!("{key}: has {len} bytes, must have exactly {KEY_BYTES}"));
        }
        if seen.contains(item) {
            return Err(format!("{key}: is given twice"));
        }
        seen.push(item.clone());
    }
    Ok(())
}

/// Bytes behind a padded standard base64 text, or `None` if it is not one.
fn base64_len(text: &str) -> Option<usize> {
    let body = text.trim_end_matches('=');
    let padding = text.len() - body.len();
    let alphabet = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let valid = padding <= 2 && text.len().is_multiple_of(4) && body.bytes().all(alphabet);
    valid.then_some(body.len() * 3 / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&Raw) -> Result<(), String>;

    #[test]
    fn rules_refuse_what_they_are_for() {
        let cases: [(Rule, &str, bool); 27] = [
            (http_url, "https://coder.example.com", true),
            (http_url, "", true),
            (http_url, "ftp://x", false),
            (http_url, "coder:3000", false),
            (http_url, "https://u:p@x", false),
            (base_url, "https://x/prefix", true),
            (base_url, "https://x/?a=b", false),
            (base_url, "https://x/#f", false),
            (upstream_proxy, "http://u:p@proxy:3128", true),
            (upstream_proxy, "http://proxy:3128", true),
            (upstream_proxy, "http://:@proxy:3128", false),
            (upstream_proxy, "socks5://proxy:1080", false),
            (postgres_url, "postgres://u:p%@h/db", true),
            (postgres_url, "mysql://h/db", false),
            (pubsub_url, "nats://a:4222", true),
            (pubsub_url, "redis://a", false),
            (regexes, "store.*,http", true),
            (regexes, "(", false),
            (csp_directives, "script-src https://x", true),
            (csp_directives, "script-src x; object-src y", false),
            (csp_directives, "\"\"", false),
            (header_names, "X-Forwarded-For,True-Client-Ip", true),
            (header_names, "X Forwarded", false),
            (hsts_options, "includesubdomains,preload", true),
            (hsts_options, "max-age", false),
            (ciphers, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", true),
            (ciphers, "TLS_RSA_WITH_RC4_128_SHA", false),
        ];
        for (rule, text, allowed) in cases {
            assert_eq!(rule(&Raw::text(text)).is_ok(), allowed, "{text}");
        }
    }

    #[test]
    fn encryption_keys_are_32_bytes_of_base64() {
        let good = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        assert_eq!(encryption_keys(&Raw::text(good)), Ok(()));
        for (text, part) in [
            ("c2hvcnQ=".to_owned(), "key 0: has 5 bytes"),
            (format!("{good},not base64!"), "decode external-token-encryption-key 1"),
            (format!("{good},{good}"), "key 1: is given twice"),
        ] {
            let reason = encryption_keys(&Raw::text(&text)).unwrap_err();
            assert!(reason.contains(part), "{reason}");
            assert!(!reason.contains(good));
        }
    }
}
