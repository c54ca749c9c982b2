//! Response headers that protect browsers.

use std::fmt::Write as _;

use axum::extract::Request;
use axum::response::Response;
use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue};

use crate::client_addr::EffectiveHost;
use crate::step::{Around, Inner, Next, Step};

const BUILD_VERSION: HeaderName = HeaderName::from_static("x-coder-build-version");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// How long browsers must use TLS (RFC 6797).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hsts(HeaderValue);

/// A setting of Strict-Transport-Security is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HstsError {
    /// Neither of the two options there are.
    #[error("unknown Strict-Transport-Security option {0:?}, use includeSubDomains or preload")]
    Option(String),
    /// Options without a duration have no effect.
    #[error("Strict-Transport-Security options need a max-age greater than 0")]
    NoMaxAge,
}

impl Hsts {
    /// The header's value.
    #[must_use]
    pub const fn value(&self) -> &HeaderValue {
        &self.0
    }

    /// `None` for a `max_age_secs` of 0. Options are `includeSubDomains` and `preload`, in any case.
    ///
    /// # Errors
    /// An unknown option, or options without a duration.
    pub fn parse<O: AsRef<str>>(
        max_age_secs: u64,
        options: &[O],
    ) -> Result<Option<Self>, HstsError> {
        let mut text = format!("max-age={max_age_secs}");
        for option in options {
            let option = option.as_ref().trim();
            let known = ["includeSubDomains", "preload"]
                .into_iter()
                .find(|known| known.eq_ignore_ascii_case(option))
                .ok_or_else(|| HstsError::Option(option.to_owned()))?;
            text.push_str("; ");
            text.push_str(known);
        }
        match (max_age_secs, options) {
            (0, []) => Ok(None),
            (0, _) => Err(HstsError::NoMaxAge),
            // Made of digits and the words above, so it is always a valid value.
            _ => Ok(HeaderValue::try_from(text).ok().map(Self)),
        }
    }
}

/// Headers that every answer carries.
#[derive(Clone, Debug)]
pub(crate) struct FixedHeaders {
    pub(crate) build_version: HeaderValue,
    pub(crate) hsts: Option<Hsts>,
}

impl Step for FixedHeaders {
    async fn run<S: Inner>(self, request: Request, next: Next<S>) -> Response {
        let mut response = next.run(request).await;
        let headers = response.headers_mut();
        headers.insert(BUILD_VERSION, self.build_version);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(Hsts(value)) = self.hsts {
            headers.insert(STRICT_TRANSPORT_SECURITY, value);
        }
        response
    }
}

/// What the security headers of pages depend on.
#[derive(Clone, Debug, Default)]
pub struct SiteHeaders {
    /// Further sources for `connect-src`, say `wss://proxy.example.com`.
    pub connect_src: Vec<String>,
    /// Sources for `frame-ancestors`. `None` stands for `'self'`; an empty text removes the directive.
    pub frame_ancestors: Option<String>,
}

/// Security headers for pages (not for the API). What a handler has set itself stays: the consent page
/// is stricter.
#[must_use]
pub fn site_headers(settings: SiteHeaders) -> Around<SiteHeaders> {
    Around(settings)
}

impl SiteHeaders {
    /// The content security policy, directives in a fixed order.
    fn policy(&self, host: Option<&str>) -> String {
        let mut connect = "'self'".to_owned();
        // A host with other characters could smuggle in a directive.
        let host = host.filter(|host| {
            !host.is_empty()
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-[]".contains(&b))
        });
        if let Some(host) = host {
            // Writing to a String cannot fail.
            let _ = write!(connect, " wss://{host} ws://{host}");
        }
        for source in &self.connect_src {
            let _ = write!(connect, " {source}");
        }
        let mut policy = format!(
            "default-src 'self'; connect-src {connect}; child-src 'self'; script-src 'self'; \
             style-src 'self' 'unsafe-inline'; font-src 'self' data:; worker-src 'self' blob:; \
             object-src 'none'; manifest-src 'self' blob:; frame-src 'self'; \
             img-src 'self' https: data:; form-action 'self'; media-src 'self'; base-uri 'self'; \
             report-uri /api/v2/csp/reports"
        );
        match self.frame_ancestors.as_deref() {
            None => policy.push_str("; frame-ancestors 'self'"),
            Some("") => {}
            Some(sources) => {
                let _ = write!(policy, "; frame-ancestors {sources}");
            }
        }
        policy
    }
}

impl Step for SiteHeaders {
    async fn run<S: Inner>(self, request: Request, next: Next<S>) -> Response {
        let host = request.extensions().get::<EffectiveHost>().map(|host| host.0.clone());
        let mut response = next.run(request).await;
        let headers = response.headers_mut();
        if !headers.contains_key(CONTENT_SECURITY_POLICY)
            && let Ok(policy) = HeaderValue::try_from(self.policy(host.as_deref()))
        {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        // Old browsers know only this header; it must not forbid what the policy allows.
        if self.frame_ancestors.is_none() {
            headers.entry(X_FRAME_OPTIONS).or_insert(HeaderValue::from_static("SAMEORIGIN"));
        }
        for (name, value) in [
            (REFERRER_POLICY, "same-origin"),
            (OPENER_POLICY, "same-origin"),
            (PERMISSIONS_POLICY, "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ] {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests;
