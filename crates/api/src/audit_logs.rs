//! Who changed what.
//!
//! The log is for those who may read it on the site or in some organization; which rows they see is decided
//! row by row in the store.

mod describe;
mod filter;
mod kinds;
mod wire;

use std::collections::{BTreeMap, HashSet};

use axum::extract::RawQuery;
use rbac::{Action, Object, Resource};
use stdx::ids::{AuditId, OrganizationId};
use store::audit_logs::{AuditLog, CountAuditLogs, ListAuditLogs, ListDeleted, Perishable};
use store::organizations::{ListByIds, Organization};
use store::{Denial, Error, Tx, TxOptions};
use utoipa_axum::routes;
use uuid::Uuid;

use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::Json;
use crate::paging::{COUNT_CAP, Page, unknown_cursor};
use crate::routes::Routes;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list_audit_logs))
}

/// What was changed, newest first.
#[utoipa::path(
    get, path = "/audit", tag = "Audit",
    params(
        ("q" = Option<String>, Query, description = "Keys: `resource_type` (also the free term), `resource_id`, `resource_target`, `action`, `username`, `email`, `date_from`, `date_to`, `organization`, `build_reason`, `request_id`"),
        ("limit" = Option<i64>, Query, description = "Default 100, at most 1000"),
        ("after_id" = Option<uuid::Uuid>, Query, description = "Last row of the page before; excludes `offset`"),
        ("offset" = Option<i64>, Query, description = "Rows to skip"),
    ),
    responses(
        (status = 200, body = sdk::AuditLogResponse),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response)
    )
)]
async fn list_audit_logs(
    cx: Cx,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<sdk::AuditLogResponse>> {
    allowed(&cx)?;
    let page = Page::of_log(query.as_deref())?;
    let filter = filter::resolve(&cx, &page.q).await?;
    let (count, logs, around) = cx
        .tx(TxOptions::snapshot("list_audit_logs"), async |tx| {
            let count = CountAuditLogs { filter: filter.clone(), cap: COUNT_CAP };
            let count = tx.run(count).await?;
            if count == 0 {
                return Ok::<_, ApiError>((0, Vec::new(), Around::default()));
            }
            let list = ListAuditLogs {
                filter: filter.clone(),
                after: page.after.map(AuditId::new),
                offset: page.offset,
                limit: page.limit,
            };
            let logs = tx.run(list).await?.ok_or_else(unknown_cursor)?;
            let around = Around::of(tx, logs.iter().map(|(log, _)| log)).await?;
            Ok((count, logs, around))
        })
        .await?;
    let audit_logs = logs
        .into_iter()
        .map(|(log, user)| wire::to_wire(log, user, &around))
        .collect::<ApiResult<_>>()?;
    Ok(Json(sdk::AuditLogResponse { audit_logs, count, count_cap: COUNT_CAP }))
}

/// Refuses those who may read no part of the log, before the database is asked anything.
fn allowed(cx: &Cx) -> ApiResult<()> {
    let log = Object::new(Resource::AuditLog);
    let anywhere = cx.app.store.allows(cx.call(), Action::Read, &log);
    if anywhere || cx.allows(Action::Read, &log.any_org()) {
        return Ok(());
    }
    let denial = Denial { action: Action::Read, resource: Resource::AuditLog, readable: false };
    Err(ApiError::Forbidden(Error::Denied(denial)))
}

/// What is shown beside the rows of a page, as it is now.
#[derive(Debug, Default)]
struct Around {
    organizations: Vec<Organization>,
    deleted: HashSet<Uuid>,
}

impl Around {
    async fn of<'l>(
        tx: &mut Tx,
        logs: impl Iterator<Item = &'l AuditLog> + Clone,
    ) -> Result<Self, Error> {
        let mut ids: Vec<OrganizationId> =
            logs.clone().map(|log| log.organization_id.0).filter(|id| !id.is_nil()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut perishable: BTreeMap<&str, (Perishable, Vec<Uuid>)> = BTreeMap::new();
        for log in logs.clone() {
            if let Some(kind) = Perishable::of(&log.resource_type) {
                let (_, told) =
                    perishable.entry(&log.resource_type).or_insert_with(|| (kind, Vec::new()));
                told.push(log.resource_id);
            }
        }
        let mut around = Self::default();
        if !ids.is_empty() {
            around.organizations = tx.run(ListByIds { ids }).await?;
        }
        for (kind, ids) in perishable.into_values() {
            around.deleted.extend(if_allowed(tx.run(ListDeleted { kind, ids }).await)?);
        }
        Ok(around)
    }
}

/// To those who may not look, nothing is deleted.
fn if_allowed(gone: Result<Vec<Uuid>, Error>) -> Result<Vec<Uuid>, Error> {
    match gone {
        Err(Error::Denied(_)) => Ok(Vec::new()),
        other => other,
    }
}
