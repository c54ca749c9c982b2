//! Who connected to which workspace.
//!
//! The log is for those who may read it on the site or in some organization; which rows they see is decided row by
//! row in the store.

mod filter;
mod wire;

use axum::extract::RawQuery;
use rbac::{Action, Object, Resource};
use stdx::ids::{ConnectionLogId, OrganizationId};
use store::connection_logs::{CountConnectionLogs, ListConnectionLogs};
use store::organizations::ListByIds;
use store::{Denial, Error, TxOptions};
use utoipa_axum::routes;

use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::Json;
use crate::paging::{COUNT_CAP, Page, unknown_cursor};
use crate::routes::Routes;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list_connection_logs))
}

/// Connections to workspaces, newest first.
#[utoipa::path(
    get, path = "/connectionlog", tag = "Audit",
    params(
        ("q" = Option<String>, Query, description = "Keys: `organization`, `workspace_owner`, `workspace_owner_email`, `type`, `username`, `user_email`, `connected_after`, `connected_before`, `workspace_id`, `connection_id`, `status`"),
        ("limit" = Option<i64>, Query, description = "Default 100, at most 1000"),
        ("after_id" = Option<uuid::Uuid>, Query, description = "Last row of the page before; excludes `offset`"),
        ("offset" = Option<i64>, Query, description = "Rows to skip"),
    ),
    responses(
        (status = 200, body = sdk::ConnectionLogResponse),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response)
    )
)]
async fn list_connection_logs(
    cx: Cx,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<sdk::ConnectionLogResponse>> {
    allowed(&cx)?;
    let page = Page::of_log(query.as_deref())?;
    let filter = filter::resolve(&cx, &page.q).await?;
    let (count, listed, organizations) = cx
        .tx(TxOptions::snapshot("list_connection_logs"), async |tx| {
            let count = CountConnectionLogs { filter: filter.clone(), cap: COUNT_CAP };
            let count = tx.run(count).await?;
            if count == 0 {
                return Ok::<_, ApiError>((0, Vec::new(), Vec::new()));
            }
            let list = ListConnectionLogs {
                filter: filter.clone(),
                after: page.after.map(ConnectionLogId::new),
                offset: page.offset,
                limit: page.limit,
            };
            let listed = tx.run(list).await?.ok_or_else(unknown_cursor)?;
            let mut ids: Vec<OrganizationId> =
                listed.iter().map(|one| one.log.organization_id.0).collect();
            ids.sort_unstable();
            ids.dedup();
            Ok((count, listed, tx.run(ListByIds { ids }).await?))
        })
        .await?;
    let connection_logs = listed
        .into_iter()
        .map(|one| wire::to_wire(one, &organizations))
        .collect::<ApiResult<_>>()?;
    Ok(Json(sdk::ConnectionLogResponse { connection_logs, count, count_cap: COUNT_CAP }))
}

/// Refuses those who may read no part of the log, before the database is asked anything.
fn allowed(cx: &Cx) -> ApiResult<()> {
    let log = Object::new(Resource::ConnectionLog);
    let anywhere = cx.app.store.allows(cx.call(), Action::Read, &log);
    if anywhere || cx.allows(Action::Read, &log.any_org()) {
        return Ok(());
    }
    let (action, resource) = (Action::Read, Resource::ConnectionLog);
    let denial = Denial { action, resource, readable: false };
    Err(ApiError::Forbidden(Error::Denied(denial)))
}
