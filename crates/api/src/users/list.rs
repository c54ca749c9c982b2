//! Lists of accounts, and what is shown with them.

use std::collections::HashSet;

use axum::extract::RawQuery;
use stdx::ids::UserId;
use store::ai_seats::ListUsersWithSeat;
use store::organizations::ListIdsOfMembers;
use store::users::{CountUsers, Filter, ListUsers, User, Window};
use store::{Error, TxOptions};
use uuid::Uuid;

use super::to_wire;
use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::Json;
use crate::paging::{Page, unknown_cursor};
use crate::search::{self, Bare, Case};

const LOGIN_TYPES: [&str; 5] = ["password", "github", "oidc", "token", "none"];

const REFUSAL: &str = "Invalid user search query.";

/// Accounts by username.
#[utoipa::path(
    get, path = "/users", tag = "Users",
    params(
        ("q" = Option<String>, Query, description = "Keys: `search` (also the free term: a part of the username, the address or the name), `name`, `status`, `role`, `login_type` (lists), `github_com_user_id`, `last_seen_before`, `last_seen_after`, `created_before`, `created_after`, `service_account`"),
        ("after_id" = Option<Uuid>, Query, description = "Last user of the page before; excludes `offset`"),
        ("limit" = Option<i64>, Query, description = "0, or none: 1000, which is also the most"),
        ("offset" = Option<i64>, Query, description = "Rows to skip"),
    ),
    responses((status = 200, body = sdk::GetUsersResponse), (status = 400, body = sdk::Response))
)]
pub(super) async fn list(
    cx: Cx,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<sdk::GetUsersResponse>> {
    let page = Page::of_log(query.as_deref())?;
    let filter = read(&page.q)?;
    let window =
        Window { after: page.after.map(UserId::new), offset: page.offset, limit: page.limit };
    let (count, users) = cx
        .tx(TxOptions::snapshot("list_users"), async |tx| {
            let count = tx.run(CountUsers { filter: filter.clone() }).await?;
            let list = ListUsers { filter: filter.clone(), window };
            let users = tx.run(list).await?.ok_or_else(unknown_cursor)?;
            Ok::<_, ApiError>((count, users))
        })
        .await?;
    Ok(Json(sdk::GetUsersResponse { users: shown(&cx, users).await?, count }))
}

/// One user as the wire has them.
pub(super) async fn one(cx: &Cx, user: User) -> ApiResult<sdk::User> {
    shown(cx, vec![user]).await?.pop().ok_or_else(|| Error::NotFound.into())
}

/// Users as the wire has them, with their organizations and seats: one query for all of each.
async fn shown(cx: &Cx, users: Vec<User>) -> ApiResult<Vec<sdk::User>> {
    let ids: Vec<UserId> = users.iter().map(|user| user.id.0).collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let memberships = cx.run(ListIdsOfMembers { user_ids: ids.clone() }).await?;
    let seats: HashSet<Uuid> = match cx.run(ListUsersWithSeat { ids }).await {
        Ok(seats) => seats.into_iter().collect(),
        Err(error) => {
            tracing::error!(error = %stdx::chain(&error), "who takes a seat could not be found out");
            HashSet::new()
        }
    };
    let wire = users.into_iter().map(|user| {
        let id = user.id.0;
        let of_user = memberships.iter().filter(|(member, _)| member.0 == id);
        let organizations = of_user.map(|(_, organization)| organization.0.uuid()).collect();
        sdk::User { has_ai_seat: seats.contains(&id.uuid()), ..to_wire(user, organizations) }
    });
    Ok(wire.collect())
}

fn read(q: &str) -> ApiResult<Filter> {
    let mut fields = search::parse(q, Case::Lower, Bare::Is("search"));
    let filter = Filter {
        search: fields.text("search"),
        name: fields.text("name"),
        statuses: fields.list_of("status", &["active", "dormant", "suspended"]),
        roles: fields.list("role"),
        login_types: fields.list_of("login_type", &LOGIN_TYPES),
        github_com_user_id: fields.integer("github_com_user_id"),
        last_seen_before: fields.time("last_seen_before"),
        last_seen_after: fields.time("last_seen_after"),
        created_before: fields.time("created_before"),
        created_after: fields.time("created_after"),
        is_service_account: fields.optional_flag("service_account"),
        include_system: false,
    };
    fields.finish(REFUSAL)?;
    Ok(filter)
}
