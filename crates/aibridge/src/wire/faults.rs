//! What providers call their failures, and what we call them.

use crate::facts::ErrorType;
use crate::json::View;
use stdx::cut;

/// Limit of `error_message` in records.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Why an answer is not a success.
pub(super) type Fault = (ErrorType, String);

/// Names in error bodies and events, by any provider. Looked up in lower case.
const NAMES: &[(&str, ErrorType)] = &[
    ("invalid_request_error", ErrorType::BadRequest),
    ("invalid_request", ErrorType::BadRequest),
    ("invalid_prompt", ErrorType::BadRequest),
    ("invalid_image", ErrorType::BadRequest),
    ("bad_request", ErrorType::BadRequest),
    ("bad_request_error", ErrorType::BadRequest),
    ("not_found_error", ErrorType::BadRequest),
    ("model_not_found", ErrorType::BadRequest),
    ("request_too_large", ErrorType::BadRequest),
    ("context_length_exceeded", ErrorType::BadRequest),
    ("content_filter", ErrorType::BadRequest),
    ("content_policy_violation", ErrorType::BadRequest),
    ("authentication_error", ErrorType::Unauthorized),
    ("permission_error", ErrorType::Unauthorized),
    ("billing_error", ErrorType::Unauthorized),
    ("invalid_api_key", ErrorType::Unauthorized),
    ("rate_limit_error", ErrorType::RateLimited),
    ("rate_limit_exceeded", ErrorType::RateLimited),
    ("insufficient_quota", ErrorType::RateLimited),
    ("usage_limit_reached", ErrorType::RateLimited),
    ("too_many_requests", ErrorType::RateLimited),
    ("tokens", ErrorType::RateLimited),
    ("requests", ErrorType::RateLimited),
    ("overloaded_error", ErrorType::Overloaded),
    ("overloaded", ErrorType::Overloaded),
    ("server_is_overloaded", ErrorType::Overloaded),
    ("slow_down", ErrorType::Overloaded),
    ("service_unavailable", ErrorType::Overloaded),
    ("timeout_error", ErrorType::Timeout),
    ("timeout", ErrorType::Timeout),
    ("request_timeout", ErrorType::Timeout),
    ("vector_store_timeout", ErrorType::Timeout),
    ("api_error", ErrorType::ServerError),
    ("server_error", ErrorType::ServerError),
    ("internal_error", ErrorType::ServerError),
    ("internal_server_error", ErrorType::ServerError),
];

/// By the name of a type or code; some providers put an HTTP status there.
fn by_name(name: &str) -> Option<ErrorType> {
    let lower = name.to_ascii_lowercase();
    if let Some(&(_, kind)) = NAMES.iter().find(|(known, _)| *known == lower) {
        return Some(kind);
    }
    Some(match lower.parse::<u16>().ok()? {
        401..=403 => ErrorType::Unauthorized,
        408 | 504 => ErrorType::Timeout,
        429 => ErrorType::RateLimited,
        503 | 529 => ErrorType::Overloaded,
        400..=499 => ErrorType::BadRequest,
        500..=599 => ErrorType::ServerError,
        _ => return None,
    })
}

/// Reads the provider's error object `{"type","code","message"}`. The code is looked at first, because it
/// tells more.
pub(super) fn read(error: View<'_>) -> Fault {
    let [code, kind, message] = error.fields(["code", "type", "message"]);
    let found = [code, kind]
        .into_iter()
        .flatten()
        .find_map(|name| by_name(&name.string().unwrap_or(name.text().into())));
    let message = message.and_then(View::string).or_else(|| error.string());
    let message = message.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let message = message.unwrap_or("the provider reported an error without a message");
    (found.unwrap_or(ErrorType::Unknown), cut(message, MESSAGE_BYTES_MAX).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn error_objects_are_mapped_by_code_then_type() {
        for (body, kind, message) in [
            (
                r#"{"type":"overloaded_error","message":"Overloaded"}"#,
                ErrorType::Overloaded,
                "Overloaded",
            ),
            (
                r#"{"type":"invalid_request_error","code":"rate_limit_exceeded","message":"m"}"#,
                ErrorType::RateLimited,
                "m",
            ),
            (r#"{"code":502,"message":"m"}"#, ErrorType::ServerError, "m"),
            (r#"{"code":"529","message":"m"}"#, ErrorType::Overloaded, "m"),
            (r#"{"type":"AUTHENTICATION_ERROR","message":" m "}"#, ErrorType::Unauthorized, "m"),
            (r#"{"type":"brand_new","message":"m"}"#, ErrorType::Unknown, "m"),
            (r#""just text""#, ErrorType::Unknown, "just text"),
            (
                r#"{"code":null,"type":7}"#,
                ErrorType::Unknown,
                "the provider reported an error without a message",
            ),
        ] {
            let fault = read(json::parse_text(body).unwrap());
            assert_eq!(fault, (kind, message.to_owned()), "{body}");
        }
    }

    #[test]
    fn long_messages_are_cut() {
        let body = format!("{{\"message\":\"{}\"}}", "é".repeat(2000));
        assert_eq!(read(json::parse_text(&body).unwrap()).1.len(), 1024);
    }
}
