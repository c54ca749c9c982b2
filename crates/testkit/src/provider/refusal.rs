//! Errors, in each vendor's words.

use hyper::StatusCode;
use serde_json::{Value, json};

/// Which vendor's manners a route has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vendor {
    Anthropic,
    OpenAi,
}

/// A request that gets an error in the API's own shape.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// Anthropic's type.
    anthropic: &'static str,
    /// OpenAI's type and code.
    openai: (&'static str, Option<&'static str>),
    /// Seconds.
    pub(super) retry_after: Option<u64>,
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            anthropic: "invalid_request_error",
            openai: ("invalid_request_error", None),
            retry_after: None,
        }
    }

    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn bad_key(vendor: Vendor) -> Self {
        let message = match vendor {
            Vendor::Anthropic => "invalid x-api-key",
            Vendor::OpenAi => "Incorrect API key provided.",
        };
        Self {
            anthropic: "authentication_error",
            openai: ("invalid_request_error", Some("invalid_api_key")),
            ..Self::new(StatusCode::UNAUTHORIZED, message)
        }
    }

    pub(super) fn not_found(message: String) -> Self {
        Self { anthropic: "not_found_error", ..Self::new(StatusCode::NOT_FOUND, message) }
    }

    pub(super) fn too_large() -> Self {
        let message = "Request exceeds the maximum allowed number of bytes";
        let refusal = Self::new(StatusCode::PAYLOAD_TOO_LARGE, message);
        Self { anthropic: "request_too_large", ..refusal }
    }

    pub(super) fn rate_limited(retry_after: Option<u64>) -> Self {
        Self {
            anthropic: "rate_limit_error",
            openai: ("requests", Some("rate_limit_exceeded")),
            retry_after,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Rate limit reached for requests.")
        }
    }

    pub(super) fn internal() -> Self {
        Self {
            anthropic: "api_error",
            openai: ("server_error", None),
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal server error")
        }
    }

    /// Anthropic has a status of its own for it.
    pub(super) fn overloaded(vendor: Vendor) -> Self {
        let status = match vendor {
            Vendor::Anthropic => StatusCode::from_u16(529),
            Vendor::OpenAi => Ok(StatusCode::SERVICE_UNAVAILABLE),
        };
        Self {
            anthropic: "overloaded_error",
            openai: ("server_error", Some("server_is_overloaded")),
            ..Self::new(status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE), "Overloaded")
        }
    }

    /// More tokens than the model takes.
    pub(super) fn context_too_long() -> Self {
        Self {
            openai: ("invalid_request_error", Some("context_length_exceeded")),
            ..Self::bad("prompt is too long: 250000 tokens > 200000 maximum")
        }
    }

    /// OpenAI's code.
    pub(super) const fn code(&self) -> Option<&'static str> {
        self.openai.1
    }

    pub(super) fn body(&self, vendor: Vendor) -> Value {
        let message = &self.message;
        match vendor {
            Vendor::Anthropic => {
                json!({"type": "error", "error": {"type": self.anthropic, "message": message}})
            }
            Vendor::OpenAi => {
                let (kind, code) = self.openai;
                json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
            }
        }
    }
}
