//! A daemon lives, and asks whom to forget.

use std::time::Duration;

use axum::extract::State;
use control::wire::{Heartbeat, Revocations};
use tokio::time::Instant;

use super::WAIT_SECONDS_MAX;
use crate::app::App;
use crate::error::ApiResult;
use crate::json::{Body, Json};
use crate::rules::Rules;

/// Longest version of a daemon, in bytes.
const BUILD_BYTES_MAX: usize = 128;

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
    tokio::select! {
        () = app.daemons.revocations.news(beat.after) => {}
        () = app.daemons.patience(wait) => {}
    }
    Ok(Json(app.daemons.revocations.since(beat.after)))
}
