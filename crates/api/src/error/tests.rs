use http_body_util::BodyExt as _;
use rbac::{Action, Resource};
use store::Denial;

use super::*;

const INNER: &str = "rbac: reason, row and address of the database";

fn denied(readable: bool) -> Error {
    Error::Denied(Denial { action: Action::Update, resource: Resource::Group, readable })
}

async fn answered(error: ApiError) -> (u16, serde_json::Value) {
    let response = error.into_response();
    let status = response.status().as_u16();
    let asked_to_wait = response.headers().contains_key(RETRY_AFTER);
    assert_eq!(asked_to_wait, status == 503);
    assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), status == 401);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

/// Every cause with its answer. What is inside of a cause is never told.
#[tokio::test]
async fn causes_become_answers_as_in_this_table() {
    let forbidden = "Forbidden.";
    let broken = "The request breaks a rule of the data it changes.";
    let taken = "This value is already in use and should be unique.";
    let away = "The database is not available. Please try again.";
    let ours = "An internal server error occurred.";
    let signed_out = authn::SIGNED_OUT;
    let source = || Box::<dyn std::error::Error + Send + Sync>::from(INNER);
    let key = Constraint::ApiKeysTokenNameKey;
    let cases: Vec<(ApiError, u16, &str)> = vec![
        (Error::NotFound.into(), 404, NOT_FOUND),
        (denied(false).into(), 404, NOT_FOUND),
        (denied(true).into(), 403, forbidden),
        (ApiError::from(denied(false)).forbidding(), 403, forbidden),
        (ApiError::from(denied(true)).forbidding(), 403, forbidden),
        (ApiError::from(Error::NotFound).forbidding(), 404, NOT_FOUND),
        (Error::Conflict(key).into(), 409, taken),
        (Error::Check(key).into(), 400, broken),
        (Error::Missing(key).into(), 400, broken),
        (Error::Unfit(source()).into(), 400, broken),
        (Error::Unavailable(source()).into(), 503, away),
        (Error::RetiredKey.into(), 503, away),
        (Error::Serialization(source()).into(), 503, away),
        (Error::Internal(source()).into(), 500, ours),
        (
            Error::Corrupt { table: "users", column: "status", row: INNER.to_owned() }.into(),
            500,
            ours,
        ),
        (
            Error::Keyring {
                table: "ai_provider_keys",
                column: "api_key",
                row: uuid::Uuid::nil(),
                source: source(),
            }
            .into(),
            500,
            ours,
        ),
        (ApiError::Internal(source()), 500, ours),
        (Failure::Absent.into(), 401, signed_out),
        (Failure::Unknown.into(), 401, signed_out),
        (Failure::WrongSecret.into(), 401, signed_out),
        (Failure::Store(Error::Internal(source())).into(), 500, authn::INTERNAL),
        (Failure::Store(Error::Unavailable(source())).into(), 500, authn::INTERNAL),
        (Failure::Store(denied(false)).into(), 500, authn::INTERNAL),
        (ApiError::Busy("Later."), 503, "Later."),
        (ApiError::GatewayKey("None."), 401, "A valid gateway key is required."),
        (ApiError::bad_field("No.", "name", "too long"), 400, "No."),
    ];
    for (error, status, message) in cases {
        let about = format!("{error:?}");
        let (seen, body) = answered(error).await;
        assert_eq!((seen, &body["message"]), (status, &message.into()), "{about}");
        let text = body.to_string();
        assert!(!text.contains("rbac") && !text.contains("address"), "{about}: {text}");
    }
}

/// A refusal to read and an absence differ in nothing.
#[tokio::test]
async fn what_may_not_be_read_looks_like_what_is_not_there() {
    let bytes = async |error: Error| {
        let (parts, body) = ApiError::from(error).into_response().into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    };
    assert_eq!(bytes(denied(false)).await, bytes(Error::NotFound).await);
}
