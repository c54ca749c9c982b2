use stdx::ids::RequestId;
use store::audit_logs::Filter;
use time::{Duration, Time};

use super::kinds::{BUILD_REASONS, KINDS, VERBS};
use crate::cx::Cx;
use crate::error::ApiResult;
use crate::search::{self, Bare, Case};

const REFUSAL: &str = "Invalid audit search query.";

/// Seconds and fractions from the beginning of a day to its last instant that the database can tell.
const REST_OF_DAY: Duration = Duration::microseconds(24 * 3_600 * 1_000_000 - 1);

/// A search as it was typed: names are not looked up yet.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    filter: Filter,
    organization: Option<String>,
}

fn read(q: &str) -> ApiResult<Asked> {
    let mut fields = search::parse(q, Case::Lower, Bare::Is("resource_type"));
    let organization = fields.text("organization");
    let filter = Filter {
        resource_type: fields.one_of("resource_type", KINDS.iter().map(|kind| kind.name)),
        resource_id: fields.uuid("resource_id"),
        resource_target: fields.text("resource_target"),
        organization_id: None,
        action: fields.one_of("action", VERBS.iter().map(|verb| verb.name)),
        user_id: None,
        username: fields.text("username"),
        email: fields.text("email"),
        date_from: fields.date("date_from").map(|day| day.with_time(Time::MIDNIGHT).assume_utc()),
        date_to: fields
            .date("date_to")
            .map(|day| day.with_time(Time::MIDNIGHT).assume_utc().saturating_add(REST_OF_DAY)),
        request_id: fields.uuid("request_id").map(RequestId::new),
        build_reason: fields.one_of("build_reason", BUILD_REASONS.iter().copied()),
    };
    fields.finish(REFUSAL)?;
    Ok(Asked { filter, organization })
}

/// What `q` asks for, with names looked up.
pub(super) async fn resolve(cx: &Cx, q: &str) -> ApiResult<Filter> {
    let Asked { mut filter, organization } = read(q)?;
    if filter.username.as_deref() == Some("me") {
        filter.username = None;
        filter.user_id = Some(cx.caller.user.id.0);
    }
    if let Some(name) = organization {
        filter.organization_id = Some(search::organization(cx, &name, REFUSAL).await?);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;
    use crate::error::ApiError;

    #[test]
    fn bad_searches_name_the_bad_keys() {
        for (q, fields) in [
            ("unicorn", vec!["resource_type"]),
            ("action:dance", vec!["action"]),
            ("resource_id:1 request_id:2", vec!["resource_id", "request_id"]),
            ("date_from:yesterday date_to:2026-02-30", vec!["date_from", "date_to"]),
            ("build_reason:boredom", vec!["build_reason"]),
            ("user resource_type:group", vec!["resource_type"]),
            ("colour:red", vec!["colour"]),
            ("a: user", vec!["q"]),
        ] {
            match read(q) {
                Err(ApiError::Answer { status: StatusCode::BAD_REQUEST, body }) => {
                    assert_eq!(body.message, REFUSAL);
                    let found: Vec<_> = body.validations.iter().map(|v| v.field.as_str()).collect();
                    assert_eq!(found, fields, "{q}");
                }
                other => panic!("{q}: {other:?}"),
            }
        }
    }

    #[test]
    fn every_key_narrows() {
        let (id, request) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let q = format!(
            "AI_Provider resource_id:{id} resource_target:\"My Key\" action:Write username:Ann \
             email:Ann@Example.com date_from:2026-01-02 date_to:2026-01-03 organization:Default \
             request_id:{request} build_reason:autostart"
        );
        let expected = Asked {
            filter: Filter {
                resource_type: Some("ai_provider".to_owned()),
                resource_id: Some(id),
                resource_target: Some("my key".to_owned()),
                organization_id: None,
                action: Some("write".to_owned()),
                user_id: None,
                username: Some("ann".to_owned()),
                email: Some("ann@example.com".to_owned()),
                date_from: Some(datetime!(2026-01-02 0:00 UTC)),
                date_to: Some(datetime!(2026-01-03 23:59:59.999_999 UTC)),
                request_id: Some(RequestId::new(request)),
                build_reason: Some("autostart".to_owned()),
            },
            organization: Some("default".to_owned()),
        };
        assert_eq!(read(&q).unwrap(), expected);
        assert_eq!(read("").unwrap(), Asked::default());
        let last = read("date_to:9999-12-31").unwrap().filter.date_to;
        assert_eq!(last, Some(datetime!(9999-12-31 23:59:59.999_999 UTC)));
    }
}
