//! What the gateway recorded, by session: interceptions that a client tied together.

mod threads;

use axum::extract::{Path, RawQuery};
use http::StatusCode;
use stdx::ids::{InterceptionId, UserId};
use store::TxOptions;
use store::interceptions::{
    CountSessions, Filter, GetSession, ListSessions, ListThreads, Session, SessionCursor,
    SumTokenDetails,
};
use store::users::UserName;
use utoipa_axum::routes;

use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::interceptions::{Kind, initiator, object, or_none, records, resolve};
use crate::json::Json;
use crate::paging::{Between, COUNT_CAP, Limits, Page, unknown_cursor};
use crate::routes::Routes;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(list_sessions)).routes(routes!(get_session))
}

/// Sessions, last active first.
#[utoipa::path(
    get, path = "/sessions", tag = "AI gateway",
    params(
        ("q" = Option<String>, Query, description = "Keys: `initiator`, `provider`, `provider_name`, `model`, `client`, `session_id`, `started_after`, `started_before`"),
        ("limit" = Option<i64>, Query, description = "1 to 1000, default 100"),
        ("after_session_id" = Option<String>, Query, description = "Last session of the page before; excludes `offset`"),
        ("offset" = Option<i64>, Query, description = "Sessions to skip"),
    ),
    responses((status = 200, body = sdk::Sessions), (status = 400, body = sdk::Response))
)]
async fn list_sessions(cx: Cx, RawQuery(query): RawQuery) -> ApiResult<Json<sdk::Sessions>> {
    let page = Page::read(Limits::RECORDS, query.as_deref(), |given| {
        Some(("after_session_id", given.text("after_session_id")?))
    })?;
    let filter = resolve(&cx, &page.q, Kind::Sessions).await?;
    let (count, (sessions, users)) = cx
        .tx(TxOptions::snapshot("list_sessions"), async |tx| {
            if let Some(cursor) = &page.after {
                let among = cursor_filter(&filter, cursor).ok_or_else(unknown_cursor)?;
                if tx.run(CountSessions { filter: among, cap: 0 }).await? == 0 {
                    return Err(unknown_cursor());
                }
            }
            let count = tx.run(CountSessions { filter: filter.clone(), cap: COUNT_CAP }).await?;
            let list = ListSessions {
                filter: filter.clone(),
                after: page.after.clone().map(|session_id| SessionCursor { session_id }),
                offset: page.offset,
                limit: page.limit,
            };
            Ok::<_, ApiError>((count, tx.run(list).await?))
        })
        .await?;
    let sessions = sessions.into_iter().map(|session| summary(session, &users)).collect();
    Ok(Json(sdk::Sessions { count, count_cap: COUNT_CAP, sessions }))
}

/// A filter that leaves the cursor's session alone, if it is part of the list at all.
fn cursor_filter(filter: &Filter, cursor: &str) -> Option<Filter> {
    if filter.session_id.as_ref().is_some_and(|only| only != cursor) {
        return None;
    }
    Some(Filter { session_id: Some(cursor.to_owned()), ..filter.clone() })
}

fn summary(session: Session, users: &[UserName]) -> sdk::Session {
    sdk::Session {
        initiator: initiator(users, UserId::new(session.initiator_id)),
        token_usage_summary: totals(&session, None),
        id: session.session_id,
        providers: session.providers,
        models: session.models,
        client: or_none(session.client),
        metadata: object(session.metadata),
        started_at: session.started_at.into(),
        ended_at: session.ended_at.map(Into::into),
        last_active_at: session.last_active_at.into(),
        threads: session.threads,
        last_prompt: session.last_prompt,
    }
}

const fn totals(session: &Session, metadata: Option<serde_json::Value>) -> sdk::TokenUsageSummary {
    sdk::TokenUsageSummary {
        input_tokens: session.input_tokens,
        output_tokens: session.output_tokens,
        cache_read_input_tokens: session.cache_read_input_tokens,
        cache_write_input_tokens: session.cache_write_input_tokens,
        metadata,
    }
}

/// A session with a page of its threads, oldest first.
#[utoipa::path(
    get, path = "/sessions/{session_id}", tag = "AI gateway",
    params(
        ("session_id" = String, Path, description = "As the client sent it"),
        ("limit" = Option<i64>, Query, description = "1 to 200, default 50"),
        ("after_id" = Option<uuid::Uuid>, Query, description = "Last thread of the page before"),
        ("before_id" = Option<uuid::Uuid>, Query, description = "First thread of the page behind; excludes `after_id`"),
    ),
    responses(
        (status = 200, body = sdk::SessionThreads),
        (status = 400, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
async fn get_session(
    cx: Cx,
    Path(session_id): Path<String>,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<sdk::SessionThreads>> {
    let page = Between::read(Limits::THREADS, query.as_deref())?;
    // No session has such a key, and the database would not even take the question.
    if session_id.contains('\0') {
        return Err(no_session());
    }
    let (session, users, details, rows) = cx
        .tx(TxOptions::snapshot("get_session"), async |tx| {
            let get = GetSession { session_id: session_id.clone() };
            let (session, users) = tx.run(get).await?.ok_or_else(no_session)?;
            let whose = UserId::new(session.initiator_id);
            let list = ListThreads {
                session_id: session_id.clone(),
                initiator: whose,
                after: page.after.map(InterceptionId::new),
                before: page.before.map(InterceptionId::new),
                limit: page.limit,
            };
            let rows = tx.run(list).await?.ok_or_else(unknown_cursor)?;
            let sum = SumTokenDetails { session_id: session_id.clone(), initiator: whose };
            let details = tx.run(sum).await?;
            Ok::<_, ApiError>((session, users, details, rows))
        })
        .await?;
    let records = records(rows);
    let (page_started_at, page_ended_at) = threads::span(&records);
    Ok(Json(sdk::SessionThreads {
        initiator: initiator(&users, UserId::new(session.initiator_id)),
        token_usage_summary: totals(&session, details),
        id: session.session_id,
        providers: session.providers,
        models: session.models,
        client: or_none(session.client),
        metadata: object(session.metadata),
        started_at: session.started_at.into(),
        ended_at: session.ended_at.map(Into::into),
        last_active_at: session.last_active_at.into(),
        page_started_at,
        page_ended_at,
        threads: threads::threads(records),
    }))
}

fn no_session() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "Session not found.")
}
