//! Refuses what another site makes a browser do with its user's session cookie.
//!
//! `SameSite=Lax` keeps the cookie from foreign sites, but not from other hosts of our own site, and it can be
//! turned off. So a request that changes something on the strength of the cookie alone must come from our own
//! origin, by the word of the browser: `Sec-Fetch-Site`, or `Origin` where that is missing (plain HTTP, older
//! browsers). A request with neither comes from no browser. Scripts of other sites can set neither, nor the
//! header `Coder-Session-Token` that lifts the check.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::ORIGIN;
use http::{HeaderMap, Method, StatusCode};
use httpmw::EffectiveHost;
use url::Url;

use crate::app::App;

const SEC_FETCH_SITE: &str = "sec-fetch-site";
const REFUSED: &str = "This request comes from another site and carries nothing but the session cookie. \
                       Reload the page and try again, or send the token in the header Coder-Session-Token.\n";

/// Stands before every route that takes the cookie.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let changes =
        !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    if changes && authn::is_ambient(request.headers(), request.uri()) {
        let host = request.extensions().get::<EffectiveHost>().map(|host| &*host.0);
        if !is_ours(request.headers(), host, &app.settings.access_url) {
            return (StatusCode::BAD_REQUEST, REFUSED).into_response();
        }
    }
    next.run(request).await
}

/// Whether a page of ours, or the user's own hand, made the browser send this.
fn is_ours(headers: &HeaderMap, host: Option<&str>, access_url: &Url) -> bool {
    if let Some(site) = headers.get(SEC_FETCH_SITE) {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Some(origin) = origin.to_str().ok().and_then(|text| Url::parse(text).ok()) else {
        return false;
    };
    // Under the scheme of the origin, so that a default port counts as none. TLS may end before us.
    let seen = host.and_then(|host| Url::parse(&format!("{}://{host}", origin.scheme())).ok());
    origin.origin().is_tuple()
        && (origin.origin() == access_url.origin()
            || seen.is_some_and(|seen| seen.origin() == origin.origin()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_tells_whose_page_it_was() {
        let access_url = Url::parse("https://coder.example.com").unwrap();
        for (site, origin, host, ours) in [
            (Some("cross-site"), None, "coder.example.com", false),
            (Some("same-site"), Some("https://coder.example.com"), "coder.example.com", false),
            (Some("unheard-of"), None, "coder.example.com", false),
            (None, Some("https://evil.example"), "coder.example.com", false),
            (None, Some("https://app.coder.example.com"), "coder.example.com", false),
            (None, Some("https://coder.example.com:8443"), "coder.example.com", false),
            (None, Some("null"), "coder.example.com", false),
            (None, Some("file://"), "", false),
            (None, Some(""), "coder.example.com", false),
            (Some("same-origin"), Some("https://coder.example.com"), "10.0.0.7:3000", true),
            (Some("none"), None, "coder.example.com", true),
            (None, Some("https://coder.example.com"), "10.0.0.7:3000", true),
            (None, Some("http://127.0.0.1:3000"), "127.0.0.1:3000", true),
            (None, Some("https://other.example"), "other.example:443", true),
            (None, None, "coder.example.com", true),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(site) = site {
                headers.insert(SEC_FETCH_SITE, site.parse().unwrap());
            }
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(
                is_ours(&headers, Some(host), &access_url),
                ours,
                "{site:?} {origin:?} {host}"
            );
        }
    }
}
