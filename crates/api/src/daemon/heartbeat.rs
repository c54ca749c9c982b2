//! A daemon lives, and asks whom to forget.

use std::time::Duration;

use axum::extract::State;
use control::wire::{Heartbeat, Revocations};
use tokio::time::{Instant, timeout};

use super::WAIT_SECONDS_MAX;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Json};
use crate::rules::Rules;

/// Longest version of a daemon, in bytes.
const BUILD_BYTES_MAX: usize = 128;

/// How often a daemon is told to forget everybody while this process hears of no revocations: how old a daemon's
/// knowledge may then get.
const DEAF_WAIT: Duration = Duration::from_secs(1);

/// How long the database may take to show that it can be asked about tokens.
const PING_WAIT: Duration = Duration::from_secs(1);

/// `POST heartbeat`.
pub(super) async fn heartbeat(
    State(app): State<App>,
    Body(beat): Body<Heartbeat>,
) -> ApiResult<Json<Revocations>> {
    let mut broken = Rules::default();
    if beat.build.len() > BUILD_BYTES_MAX {
        broken.broken("build", format!("must be <= {BUILD_BYTES_MAX} bytes"));
    }
    if beat.wait_seconds > WAIT_SECONDS_MAX {
        broken.broken("wait_seconds", format!("must be 0 to {WAIT_SECONDS_MAX}"));
    }
    broken.finish()?;
    app.daemons.replicas.heard(&beat, Instant::now());
    let wait = Duration::from_secs(beat.wait_seconds.into());
    if app.pubsub.is_connected() {
        tokio::select! {
            () = app.daemons.revocations.news(beat.after) => {}
            () = app.daemons.patience(wait) => {}
            () = app.pubsub.disconnected() => {}
        }
    } else {
        app.daemons.patience(wait.min(DEAF_WAIT)).await;
    }
    let mut told = app.daemons.revocations.since(beat.after);
    if !app.pubsub.is_connected() {
        // We hear of nothing. As long as we can ask, daemons have to ask about everybody; otherwise they are told
        // that there is nobody to ask.
        if !matches!(timeout(PING_WAIT, app.store.ping()).await, Ok(Ok(_))) {
            return Err(ApiError::Busy("The database is not available. Please try again."));
        }
        (told.all, told.revoked) = (true, Vec::new());
    }
    Ok(Json(told))
}
