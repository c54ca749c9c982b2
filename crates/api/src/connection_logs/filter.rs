use stdx::ids::WorkspaceId;
use store::connection_logs::{Filter, State};

use super::wire::KINDS;
use crate::cx::Cx;
use crate::error::ApiResult;
use crate::search::{self, Bare, Case};

const REFUSAL: &str = "Invalid connection search query.";

/// A search as it was typed: names are not looked up yet.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    filter: Filter,
    organization: Option<String>,
}

fn read(q: &str) -> ApiResult<Asked> {
    let mut fields = search::parse(q, Case::Lower, Bare::Refused);
    let organization = fields.text("organization");
    let filter = Filter {
        organization_id: None,
        workspace_owner_id: None,
        workspace_owner: fields.text("workspace_owner"),
        workspace_owner_email: fields.text("workspace_owner_email"),
        kind: fields.one_of("type", KINDS.iter().map(|(name, _)| *name)),
        user_id: None,
        username: fields.text("username"),
        user_email: fields.text("user_email"),
        connected_after: fields.time("connected_after"),
        connected_before: fields.time("connected_before"),
        workspace_id: fields.uuid("workspace_id").map(WorkspaceId::new),
        connection_id: fields.uuid("connection_id"),
        // Each by its name of today and its name before.
        state: match fields
            .one_of("status", ["ongoing", "connected", "completed", "disconnected"])
            .as_deref()
        {
            Some("ongoing" | "connected") => Some(State::Ongoing),
            Some(_) => Some(State::Completed),
            None => None,
        },
    };
    fields.finish(REFUSAL)?;
    Ok(Asked { filter, organization })
}

/// What `q` asks for, with names looked up.
pub(super) async fn resolve(cx: &Cx, q: &str) -> ApiResult<Filter> {
    let Asked { mut filter, organization } = read(q)?;
    let caller = cx.caller.user.id.0;
    for (name, id) in [
        (&mut filter.workspace_owner, &mut filter.workspace_owner_id),
        (&mut filter.username, &mut filter.user_id),
    ] {
        if name.as_deref() == Some("me") {
            *name = None;
            *id = Some(caller);
        }
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
            ("somebody", vec!["q"]),
            ("type:telnet status:lost", vec!["type", "status"]),
            ("workspace_id:1 connection_id:2", vec!["workspace_id", "connection_id"]),
            ("connected_after:yesterday", vec!["connected_after"]),
            ("colour:red", vec!["colour"]),
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
        let (workspace, connection) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let q = format!(
            "organization:Default workspace_owner:Ann workspace_owner_email:Ann@Example.com type:SSH username:Bob \
             user_email:b@example.com connected_after:\"2026-01-02T03:04:05Z\" \
             connected_before:\"2026-01-02T03:04:05+01:00\" workspace_id:{workspace} connection_id:{connection} \
             status:ongoing"
        );
        let some = |text: &str| Some(text.to_owned());
        let expected = Asked {
            filter: Filter {
                organization_id: None,
                workspace_owner_id: None,
                workspace_owner: some("ann"),
                workspace_owner_email: some("ann@example.com"),
                kind: some("ssh"),
                user_id: None,
                username: some("bob"),
                user_email: some("b@example.com"),
                connected_after: Some(datetime!(2026-01-02 3:04:05 UTC)),
                connected_before: Some(datetime!(2026-01-02 2:04:05 UTC)),
                workspace_id: Some(WorkspaceId::new(workspace)),
                connection_id: Some(connection),
                state: Some(State::Ongoing),
            },
            organization: some("default"),
        };
        assert_eq!(read(&q).unwrap(), expected);
        assert_eq!(read("").unwrap(), Asked::default());
        for (word, state) in [
            ("connected", State::Ongoing),
            ("completed", State::Completed),
            ("disconnected", State::Completed),
        ] {
            assert_eq!(read(&format!("status:{word}")).unwrap().filter.state, Some(state));
        }
    }
}
