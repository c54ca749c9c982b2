//! What the gateway recorded, request by request.
//!
//! Everybody may ask; the store yields the rows that the caller may read.

mod filter;
mod records;

use axum::extract::RawQuery;
use stdx::ids::InterceptionId;
use store::TxOptions;
use store::interceptions::{
    CountInterceptions, ListClients, ListInterceptions, ListModels, ListProviderNames,
};
use utoipa_axum::routes;

pub(crate) use filter::{Kind, resolve};
pub(crate) use records::{Record, initiator, object, or_none, records};

use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::Json;
use crate::paging::{COUNT_CAP, Limits, Page, Window, unknown_cursor};
use crate::routes::Routes;
use crate::search::{self, Bare, Case};

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(list_interceptions))
        .routes(routes!(list_models))
        .routes(routes!(list_clients))
        .routes(routes!(list_providers))
}

/// Recorded requests, newest first.
#[utoipa::path(
    get, path = "/interceptions", tag = "AI gateway",
    params(
        ("q" = Option<String>, Query, description = "Keys: `initiator` (also the free term), `provider`, `provider_name`, `model`, `client`, `started_after`, `started_before`"),
        ("limit" = Option<i64>, Query, description = "1 to 1000, default 100"),
        ("after_id" = Option<uuid::Uuid>, Query, description = "Last row of the page before; excludes `offset`"),
        ("offset" = Option<i64>, Query, description = "Rows to skip"),
    ),
    responses((status = 200, body = sdk::Interceptions), (status = 400, body = sdk::Response))
)]
async fn list_interceptions(
    cx: Cx,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<sdk::Interceptions>> {
    let page = Page::read(Limits::RECORDS, query.as_deref(), |given| {
        Some(("after_id", given.uuid("after_id")?))
    })?;
    let filter = resolve(&cx, &page.q, Kind::Interceptions).await?;
    let (count, rows) = cx
        .tx(TxOptions::snapshot("list_interceptions"), async |tx| {
            let count =
                tx.run(CountInterceptions { filter: filter.clone(), cap: COUNT_CAP }).await?;
            let list = ListInterceptions {
                filter: filter.clone(),
                after: page.after.map(InterceptionId::new),
                offset: page.offset,
                limit: page.limit,
            };
            let rows = tx.run(list).await?.ok_or_else(unknown_cursor)?;
            Ok::<_, ApiError>((count, rows))
        })
        .await?;
    let results = records(rows).into_iter().map(Record::into_wire).collect();
    Ok(Json(sdk::Interceptions { count, count_cap: COUNT_CAP, results }))
}

/// Reads the page and the beginning of names that the three lists of names take.
fn names(query: Option<&str>, key: &'static str) -> ApiResult<(Window, String)> {
    let page = Window::within(Limits::RECORDS, query)?;
    let mut asked = search::parse(&page.q, Case::Keep, Bare::Is(key));
    let prefix = asked.text(key).unwrap_or_default();
    asked.finish("Invalid search query.")?;
    Ok((page, prefix))
}

/// Models that were asked for, by name.
#[utoipa::path(
    get, path = "/models", tag = "AI gateway",
    params(
        ("q" = Option<String>, Query, description = "Beginning of the name, bare or as `model`"),
        ("limit" = Option<i64>, Query, description = "1 to 1000, default 100"),
        ("offset" = Option<i64>, Query, description = "Rows to skip"),
    ),
    responses((status = 200, body = Vec<String>), (status = 400, body = sdk::Response))
)]
async fn list_models(cx: Cx, RawQuery(query): RawQuery) -> ApiResult<Json<Vec<String>>> {
    let (Window { offset, limit, .. }, prefix) = names(query.as_deref(), "model")?;
    Ok(Json(cx.run(ListModels { prefix, offset, limit }).await?))
}

/// Client programs that were seen, by name.
#[utoipa::path(
    get, path = "/clients", tag = "AI gateway",
    params(
        ("q" = Option<String>, Query, description = "Beginning of the name, bare or as `client`"),
        ("limit" = Option<i64>, Query, description = "1 to 1000, default 100"),
        ("offset" = Option<i64>, Query, description = "Rows to skip"),
    ),
    responses((status = 200, body = Vec<String>), (status = 400, body = sdk::Response))
)]
async fn list_clients(cx: Cx, RawQuery(query): RawQuery) -> ApiResult<Json<Vec<String>>> {
    let (Window { offset, limit, .. }, prefix) = names(query.as_deref(), "client")?;
    Ok(Json(cx.run(ListClients { prefix, offset, limit }).await?))
}

/// Providers that were used, by name.
#[utoipa::path(
    get, path = "/providers", tag = "AI gateway",
    params(
        ("q" = Option<String>, Query, description = "Beginning of the name, bare or as `provider_name`"),
        ("limit" = Option<i64>, Query, description = "1 to 1000, default 100"),
        ("offset" = Option<i64>, Query, description = "Rows to skip"),
    ),
    responses((status = 200, body = Vec<String>), (status = 400, body = sdk::Response))
)]
async fn list_providers(cx: Cx, RawQuery(query): RawQuery) -> ApiResult<Json<Vec<String>>> {
    let (Window { offset, limit, .. }, prefix) = names(query.as_deref(), "provider_name")?;
    Ok(Json(cx.run(ListProviderNames { prefix, offset, limit }).await?))
}
