//! Facts that daemons have on disk: stored here, and compared with what is stored.

use std::collections::HashSet;
use std::time::Duration;

use aibridge::facts::Fact;
use axum::extract::{Request, State};
use control::wire::{Accepted, RECORDS_BYTES_MAX, RECORDS_MAX, Records, Refused, Verified, Verify};
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use ledger::SinkError;
use serde::de::DeserializeOwned;
use store::Error;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use uuid::Uuid;

use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::json::Json;
use crate::rules::Rules;

/// What one batch may take of the [`Desk`], and all together: each byte of a body lies in memory some times over.
const BYTES_MAX: usize = RECORDS_BYTES_MAX;
/// In what steps it is shared out.
const UNIT: usize = 64 * 1024;
/// How long a batch waits for room.
const TURN: Duration = Duration::from_secs(2);
/// How long a body may take to arrive while it holds its room.
const ARRIVAL: Duration = Duration::from_secs(30);
/// Bodies above this are read into facts off the async threads.
const INLINE_MAX: usize = 64 * 1024;

/// Room for the batches that are here at once.
#[derive(Debug)]
pub(crate) struct Desk(Semaphore);

impl Default for Desk {
    fn default() -> Self {
        Self(Semaphore::new(BYTES_MAX / UNIT))
    }
}

impl Desk {
    /// Room for a body of so many bytes; of unknown length, for the largest there may be.
    async fn room(&self, bytes: Option<usize>) -> ApiResult<SemaphorePermit<'_>> {
        let units = bytes.unwrap_or(BYTES_MAX).min(BYTES_MAX).div_ceil(UNIT).max(1);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        match timeout(TURN, self.0.acquire_many(units)).await {
            Ok(Ok(room)) => Ok(room),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => {
                Err(ApiError::Busy("Other batches are being stored. Please send it again."))
            }
        }
    }
}

/// `POST records`.
pub(super) async fn records(State(app): State<App>, request: Request) -> ApiResult<Json<Accepted>> {
    let (facts, _room) = read(&app, request, |batch: Records| batch.facts).await?;
    let receipt = app.records.store(&facts).await.map_err(|error| match error {
        SinkError::Unavailable { reason, .. }
        | SinkError::NotUnderstood { reason }
        | SinkError::Denied { reason } => ApiError::Store(Error::Unavailable(reason.into())),
    })?;
    let refused: HashSet<usize> = receipt.refused.iter().map(|fact| fact.index).collect();
    let stored = facts.iter().enumerate().filter(|(index, _)| !refused.contains(index));
    Ok(Json(Accepted {
        accepted: stored.map(|(_, fact)| id_of(fact)).collect(),
        refused: receipt
            .refused
            .into_iter()
            .map(|fact| Refused { index: fact.index, reason: fact.reason })
            .collect(),
    }))
}

/// `POST verify`.
pub(super) async fn verify(State(app): State<App>, request: Request) -> ApiResult<Json<Verified>> {
    let (facts, _room) = read(&app, request, |asked: Verify| asked.facts).await?;
    Ok(Json(app.records.verify(&facts).await?))
}

fn id_of(fact: &Fact) -> Uuid {
    match fact {
        Fact::Start(f) => f.id.uuid(),
        Fact::End(f) => f.id.uuid(),
        Fact::Prompt(f) => f.id.uuid(),
        Fact::Tokens(f) => f.id.uuid(),
        Fact::Tool(f) => f.id.uuid(),
        Fact::Thought(f) => f.id.uuid(),
    }
}

/// The facts of a body, with the room that they take.
async fn read<T: DeserializeOwned + 'static>(
    app: &App,
    request: Request,
    facts: fn(T) -> Vec<Fact>,
) -> ApiResult<(Vec<Fact>, SemaphorePermit<'_>)> {
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    let room = app.daemons.desk.room(announced).await?;
    let Ok(bytes) = timeout(ARRIVAL, crate::json::bytes(request)).await else {
        let message = format!("The body did not arrive within {} seconds.", ARRIVAL.as_secs());
        return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message));
    };
    let bytes = bytes?;
    let facts = if bytes.len() <= INLINE_MAX {
        parse(&bytes, facts)
    } else {
        let parsed = tokio::task::spawn_blocking(move || parse(&bytes, facts)).await;
        parsed.map_err(ApiError::internal)?
    };
    Ok((facts?, room))
}

fn parse<T: DeserializeOwned>(bytes: &[u8], facts: fn(T) -> Vec<Fact>) -> ApiResult<Vec<Fact>> {
    let facts = facts(crate::json::parse(bytes)?);
    if facts.len() <= RECORDS_MAX {
        return Ok(facts);
    }
    let mut broken = Rules::default();
    broken.broken("facts", format!("must be <= {RECORDS_MAX} facts, are {}", facts.len()));
    broken.finish()?;
    Ok(facts)
}
