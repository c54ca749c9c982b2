//! The only type with a status, and the table from causes to statuses.

use std::fmt;

use authn::{Failure, LoginFailure};
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use sdk::Validation;
use store::{Constraint, Error, Transient};

use crate::json::answer;

/// One body for what does not exist and for what must not show: existence does not leak.
pub(crate) const NOT_FOUND: &str = "Resource not found or you do not have access to this resource";

/// Seconds that a client is asked to wait when the database is away.
const RETRY_SECS: &str = "2";

/// What handlers return.
pub type ApiResult<T> = Result<T, ApiError>;

/// Why a request is not answered as asked.
pub enum ApiError {
    /// Already worded.
    Answer {
        /// Status.
        status: StatusCode,
        /// Body.
        body: sdk::Response,
    },
    /// The store's word, not yet translated.
    Store(Error),
    /// The store refused, and the route names no object that could leak: 403 whatever the object.
    Forbidden(Error),
    /// The credential's word.
    Credential(Failure),
    /// The gateway key of a daemon is missing, unknown or deleted.
    GatewayKey(&'static str),
    /// Not now; trying again will help.
    Busy(&'static str),
    /// We failed.
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { status, body } => write!(f, "{status}: {}", body.message),
            Self::Store(error) | Self::Forbidden(error) => write!(f, "{}", stdx::chain(error)),
            Self::Credential(error) => write!(f, "{}", stdx::chain(error)),
            Self::GatewayKey(text) | Self::Busy(text) => f.write_str(text),
            Self::Internal(error) => write!(f, "{}", stdx::chain(&**error)),
        }
    }
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self::Answer { status, body: sdk::Response::message(message) }
    }

    pub(crate) fn bad_request(message: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Answer {
            status: StatusCode::BAD_REQUEST,
            body: sdk::Response {
                message: message.into(),
                detail: detail.into(),
                validations: Vec::new(),
            },
        }
    }

    /// 400 for one field, with the same words as detail for those who show no validations.
    pub(crate) fn bad_field(
        message: impl Into<String>,
        field: &str,
        detail: impl Into<String>,
    ) -> Self {
        let detail = detail.into();
        let validations = vec![Validation { field: field.to_owned(), detail: detail.clone() }];
        Self::Answer {
            status: StatusCode::BAD_REQUEST,
            body: sdk::Response { message: message.into(), detail, validations },
        }
    }

    pub(crate) fn invalid(validations: Vec<Validation>) -> Self {
        Self::invalid_as("Validation failed.", validations)
    }

    pub(crate) fn invalid_as(message: impl Into<String>, validations: Vec<Validation>) -> Self {
        Self::Answer {
            status: StatusCode::BAD_REQUEST,
            body: sdk::Response { message: message.into(), detail: String::new(), validations },
        }
    }

    pub(crate) fn conflict(message: impl Into<String>, field: &str, detail: &str) -> Self {
        Self::Answer {
            status: StatusCode::CONFLICT,
            body: sdk::Response {
                message: message.into(),
                detail: String::new(),
                validations: vec![Validation {
                    field: field.to_owned(),
                    detail: detail.to_owned(),
                }],
            },
        }
    }

    /// A refusal is 403 even where the object may not be read: for routes that name no object.
    pub(crate) fn forbidding(self) -> Self {
        match self {
            Self::Store(error @ Error::Denied(_)) => Self::Forbidden(error),
            other => other,
        }
    }

    pub(crate) fn internal(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal(Box::new(source))
    }

    /// The constraint that a write ran into, if that is what happened.
    pub(crate) const fn constraint(&self) -> Option<Constraint> {
        match self {
            Self::Store(
                Error::Conflict(constraint) | Error::Check(constraint) | Error::Missing(constraint),
            ) => Some(*constraint),
            _ => None,
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        Self::Credential(failure)
    }
}

impl From<LoginFailure> for ApiError {
    fn from(failure: LoginFailure) -> Self {
        let status = match &failure {
            LoginFailure::OtherLoginType { .. } => StatusCode::FORBIDDEN,
            LoginFailure::Busy => StatusCode::SERVICE_UNAVAILABLE,
            LoginFailure::Store(_) | LoginFailure::Hash(_) => return Self::internal(failure),
            _ => StatusCode::UNAUTHORIZED,
        };
        Self::new(status, failure.to_string())
    }
}

impl Transient for ApiError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_transient())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Answer { status, body } => answer(status, &body),
            Self::Forbidden(_) => forbidden(),
            Self::Store(error) => from_store(&error),
            Self::Credential(failure) => from_failure(&failure),
            Self::GatewayKey(detail) => no_gateway_key(detail),
            Self::Busy(message) => busy(message),
            Self::Internal(error) => internal(&*error),
        }
    }
}

fn from_store(error: &Error) -> Response {
    match error {
        Error::Denied(denial) if denial.readable => forbidden(),
        Error::Denied(_) | Error::NotFound => {
            answer(StatusCode::NOT_FOUND, &sdk::Response::message(NOT_FOUND))
        }
        Error::Conflict(constraint) => answer(
            StatusCode::CONFLICT,
            &sdk::Response {
                message: "This value is already in use and should be unique.".to_owned(),
                detail: format!("{constraint:?}"),
                validations: Vec::new(),
            },
        ),
        Error::Check(constraint) | Error::Missing(constraint) => answer(
            StatusCode::BAD_REQUEST,
            &sdk::Response {
                message: "The request breaks a rule of the data it changes.".to_owned(),
                detail: format!("{constraint:?}"),
                validations: Vec::new(),
            },
        ),
        Error::Unfit(_) => answer(
            StatusCode::BAD_REQUEST,
            &sdk::Response {
                message: "The request breaks a rule of the data it changes.".to_owned(),
                detail:
                    "A value is too long, out of range, or holds characters that cannot be stored."
                        .to_owned(),
                validations: Vec::new(),
            },
        ),
        Error::Unavailable(_) | Error::Serialization(_) | Error::RetiredKey => {
            tracing::warn!(error = %stdx::chain(error), "the database is not available");
            busy("The database is not available. Please try again.")
        }
        other => internal(other),
    }
}

fn from_failure(failure: &Failure) -> Response {
    if !failure.is_about_credential() {
        tracing::error!(error = %stdx::chain(failure), "a credential could not be checked");
        return answer(StatusCode::INTERNAL_SERVER_ERROR, &sdk::Response::message(authn::INTERNAL));
    }
    let body = match failure {
        Failure::Absent => sdk::Response {
            message: authn::SIGNED_OUT.to_owned(),
            detail: format!("Cookie \"{}\" or query parameter must be provided.", authn::COOKIE),
            validations: Vec::new(),
        },
        Failure::Expired(_) | Failure::Malformed(_) | Failure::Unknown | Failure::WrongSecret => {
            sdk::Response {
                message: authn::SIGNED_OUT.to_owned(),
                detail: failure.to_string(),
                validations: Vec::new(),
            }
        }
        _ => sdk::Response::message(failure.to_string()),
    };
    let mut response = answer(StatusCode::UNAUTHORIZED, &body);
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"coder\""));
    response
}

fn no_gateway_key(detail: &str) -> Response {
    let mut response = answer(
        StatusCode::UNAUTHORIZED,
        &sdk::Response {
            message: "A valid gateway key is required.".to_owned(),
            detail: detail.to_owned(),
            validations: Vec::new(),
        },
    );
    response
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"coder-ai-gateway\""));
    response
}

fn busy(message: &str) -> Response {
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, &sdk::Response::message(message));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECS));
    response
}

fn forbidden() -> Response {
    answer(
        StatusCode::FORBIDDEN,
        &sdk::Response {
            message: "Forbidden.".to_owned(),
            detail: "You don't have permission to do this. Ask an administrator for the role that \
                     grants it."
                .to_owned(),
            validations: Vec::new(),
        },
    )
}

/// Logged here, once; the client learns the request id from its header.
fn internal(error: &(dyn std::error::Error + 'static)) -> Response {
    tracing::error!(error = %stdx::chain(error), "request failed");
    answer(
        StatusCode::INTERNAL_SERVER_ERROR,
        &sdk::Response {
            message: "An internal server error occurred.".to_owned(),
            detail: "The server's log has the cause under this answer's X-Coder-Request-Id."
                .to_owned(),
            validations: Vec::new(),
        },
    )
}

#[cfg(test)]
mod tests;
