//! How each wire API words an error, so that a client's own code understands it.
//!
//! [`Fault`] is the one table of causes: status, type and code per API stand in one place, and nothing else
//! in this crate picks a status for an error that the gateway itself raises.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::facts::ErrorType;
use crate::headers::ERROR_CODE;

/// A wire API's way of putting errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Dialect {
    /// `{"type":"error","error":{"type","message"}}` (Anthropic Messages).
    Anthropic,
    /// `{"error":{"message","type","code","param"}}` (OpenAI Chat Completions).
    OpenAiChat,
    /// The same body as Chat Completions; in a stream `{"type":"error","code","message","param"}`.
    OpenAiResponses,
}

impl Dialect {
    /// The body of an error answer. Anthropic's shape has no place for `code` and `param`.
    #[must_use]
    pub fn error_body(
        self,
        kind: &str,
        message: &str,
        code: Option<&str>,
        param: Option<&str>,
    ) -> Bytes {
        let body = match self {
            Self::Anthropic => {
                json!({"type": "error", "error": {"type": kind, "message": message}})
            }
            Self::OpenAiChat | Self::OpenAiResponses => {
                json!({"error": {"message": message, "type": kind, "code": code, "param": param}})
            }
        };
        Bytes::from(body.to_string())
    }
}

/// Why the gateway itself refuses or fails a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No credential of ours in the request.
    NoToken,
    /// Two different credentials of ours in one request.
    AmbiguousToken,
    /// The credential was refused.
    TokenRefused,
    /// The caller may not bring a key.
    ByokDisabled,
    /// We could not find out who is calling.
    IdentityUnknown,
    /// The providers are not known yet: the process has just started.
    NotLoaded,
    /// No such provider or route.
    NoRoute,
    /// The request cannot be understood.
    BadRequest,
    /// The request asks for something that the gateway does not do.
    NotImplemented,
    /// The request body is larger than [`crate::REQUEST_BODY_MAX`].
    TooLarge,
    /// The request body is compressed.
    EncodedBody,
    /// The request body did not arrive in time.
    BodyTimeout,
    /// Neither the provider nor the caller has a credential for upstream.
    NoCredential,
    /// Facts cannot be recorded, so nothing is sent.
    NotRecorded,
    /// Every key of the pool is cooling down after a rate limit.
    KeysLimited,
    /// Every key of the pool was refused.
    KeysRefused,
    /// As many keys as one request may try were turned away; others are left.
    AttemptsSpent,
    /// The provider could not be reached, broke off, or answered nonsense.
    Upstream,
    /// The provider did not answer in time.
    UpstreamTimeout,
    /// The gateway is going down.
    Stopping,
    /// As many requests are under way as this replica serves.
    AtCapacity,
    /// Requests and answers take as much memory as this replica has for them.
    MemoryExhausted,
    /// The caller sent more requests than a user may.
    RateLimited,
    /// The provider failed repeatedly and is left alone for a while.
    CircuitOpen,
}

/// One row of the table: status, Anthropic's type, OpenAI's type and code, and what the record says.
struct Wording(u16, &'static str, &'static str, &'static str, ErrorType);

impl Fault {
    #[rustfmt::skip]
    const fn wording(self) -> Wording {
        use ErrorType as E;
        const INVALID: &str = "invalid_request_error";
        const SERVER: &str = "server_error";
        match self {
            Self::NoToken => Wording(400, "authentication_error", INVALID, "missing_api_key", E::Unauthorized),
            Self::AmbiguousToken => Wording(400, INVALID, INVALID, "ambiguous_credentials", E::BadRequest),
            Self::TokenRefused => Wording(403, "permission_error", INVALID, "unauthorized", E::Unauthorized),
            Self::ByokDisabled => Wording(403, "permission_error", INVALID, "byok_disabled", E::Unauthorized),
            Self::IdentityUnknown => Wording(503, "api_error", SERVER, "service_unavailable", E::ServerError),
            Self::NotLoaded => Wording(503, "overloaded_error", SERVER, "providers_not_loaded", E::ServerError),
            Self::NoRoute => Wording(404, "not_found_error", INVALID, "route_not_supported", E::BadRequest),
            Self::BadRequest => Wording(400, INVALID, INVALID, "invalid_request", E::BadRequest),
            Self::NotImplemented => Wording(501, INVALID, INVALID, "501", E::BadRequest),
            Self::TooLarge => Wording(413, "request_too_large", INVALID, "request_too_large", E::BadRequest),
            Self::EncodedBody => Wording(415, INVALID, INVALID, "unsupported_content_encoding", E::BadRequest),
            Self::BodyTimeout => Wording(408, "timeout_error", INVALID, "request_timeout", E::Timeout),
            Self::NoCredential => Wording(401, "authentication_error", INVALID, "no_provider_credential", E::Unauthorized),
            Self::NotRecorded => Wording(503, "overloaded_error", SERVER, "recording_unavailable", E::ServerError),
            Self::KeysLimited => Wording(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_exceeded", E::RateLimited),
            Self::KeysRefused => Wording(502, "api_error", SERVER, "provider_keys_refused", E::Unauthorized),
            Self::AttemptsSpent => Wording(503, "overloaded_error", SERVER, "attempts_spent", E::Overloaded),
            Self::Upstream => Wording(502, "api_error", SERVER, "upstream_error", E::ServerError),
            Self::UpstreamTimeout => Wording(504, "timeout_error", SERVER, "upstream_timeout", E::Timeout),
            Self::Stopping => Wording(503, "overloaded_error", SERVER, "shutting_down", E::ServerError),
            Self::AtCapacity => Wording(503, "overloaded_error", SERVER, "at_capacity", E::Overloaded),
            Self::MemoryExhausted => Wording(503, "overloaded_error", SERVER, "memory_exhausted", E::Overloaded),
            Self::RateLimited => Wording(429, "rate_limit_error", "rate_limit_exceeded", "user_rate_limited", E::RateLimited),
            Self::CircuitOpen => Wording(503, "overloaded_error", SERVER, "service_unavailable", E::Overloaded),
        }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.wording().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What the record of the interception says, if there is one.
    #[must_use]
    pub const fn error_type(self) -> ErrorType {
        self.wording().4
    }

    /// The cause as OpenAI's clients know it.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.wording().3
    }

    /// The cause as metrics and the header [`ERROR_CODE`] know it: one name for each.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit_open",
            _ => self.code(),
        }
    }

    /// Whether the cause is expected to pass by itself, so that the client is told when to come back.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(
            self,
            Self::IdentityUnknown
                | Self::NotLoaded
                | Self::NotRecorded
                | Self::Stopping
                | Self::AtCapacity
                | Self::MemoryExhausted
                | Self::RateLimited
                | Self::CircuitOpen
                | Self::KeysLimited
                | Self::AttemptsSpent
        )
    }

    /// The whole answer. Without a dialect (the provider is not known) it is plain text.
    #[must_use]
    pub fn answer(self, dialect: Option<Dialect>, message: &str) -> Response<Bytes> {
        let Wording(_, anthropic, openai, code, _) = self.wording();
        let (content_type, body) = match dialect {
            None => ("text/plain; charset=utf-8", Bytes::copy_from_slice(message.as_bytes())),
            Some(dialect) => {
                let kind = match dialect {
                    Dialect::Anthropic => anthropic,
                    Dialect::OpenAiChat | Dialect::OpenAiResponses => openai,
                };
                let body = dialect.error_body(kind, message, Some(code), None);
                ("application/json", body)
            }
        };
        let mut answer = Response::new(body);
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(ERROR_CODE, HeaderValue::from_static(self.reason()));
        if matches!(self, Self::KeysRefused) {
            // Whoever waits gets the same answer until an administrator has acted. The vendors' SDKs know
            // this header.
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        answer
    }
}

/// What the record says when the provider answered with `status`, which is no success.
#[must_use]
pub const fn error_type_of(status: StatusCode) -> ErrorType {
    match status.as_u16() {
        400 | 404..=407 | 409..=428 | 430..=499 => ErrorType::BadRequest,
        401..=403 => ErrorType::Unauthorized,
        408 | 504 => ErrorType::Timeout,
        429 => ErrorType::RateLimited,
        503 | 529 => ErrorType::Overloaded,
        500..=599 => ErrorType::ServerError,
        _ => ErrorType::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_words_the_same_fault_in_its_own_shape() {
        for (dialect, want) in [
            (
                Some(Dialect::Anthropic),
                r#"{"error":{"message":"no \"x\"","type":"not_found_error"},"type":"error"}"#,
            ),
            (
                Some(Dialect::OpenAiChat),
                r#"{"error":{"code":"route_not_supported","message":"no \"x\"","param":null,"type":"invalid_request_error"}}"#,
            ),
            (None, "no \"x\""),
        ] {
            let answer = Fault::NoRoute.answer(dialect, "no \"x\"");
            assert_eq!(answer.status(), 404);
            assert_eq!(answer.body(), want);
        }
    }

    #[test]
    fn every_provider_status_has_one_error_type() {
        for (status, want) in [
            (301, ErrorType::Unknown),
            (400, ErrorType::BadRequest),
            (401, ErrorType::Unauthorized),
            (403, ErrorType::Unauthorized),
            (404, ErrorType::BadRequest),
            (408, ErrorType::Timeout),
            (413, ErrorType::BadRequest),
            (429, ErrorType::RateLimited),
            (500, ErrorType::ServerError),
            (503, ErrorType::Overloaded),
            (504, ErrorType::Timeout),
            (529, ErrorType::Overloaded),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(error_type_of(status), want, "{status}");
        }
    }
}
