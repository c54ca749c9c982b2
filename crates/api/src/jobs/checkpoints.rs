//! Signed checkpoints of the audit log, each also told in the program's log: kept elsewhere, that pins the chain.

use std::time::Duration;

use rbac::system;
use stdx::{Lifecycle, SharedClock};
use store::audit_chain::MakeCheckpoint;
use store::{Call, Error, Full, Store as _};

use super::runner::{Job, Runner};

/// How often it is looked for new rows.
const EVERY: Duration = Duration::from_secs(5);
/// New rows that are worth a checkpoint at once.
const ROWS: i64 = 1_000;
/// How long fewer rows may wait for one.
const AGE: Duration = Duration::from_mins(1);
/// How long one may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Makes checkpoints while the process runs, and a last one when it stops.
pub(super) fn start(store: &Full, clock: &SharedClock, runner: &Runner, lifecycle: &Lifecycle) {
    let at = (store.clone(), clock.clone());
    runner.start(
        Job { name: "audit_checkpoints", first: EVERY, every: EVERY, deadline: DEADLINE },
        lifecycle,
        move || {
            let (store, clock) = at.clone();
            async move { make(&store, &clock, ROWS).await }
        },
    );
    let (store, clock) = (store.clone(), clock.clone());
    lifecycle.on_stop("audit-checkpoint", DEADLINE, move || async move {
        if let Err(error) = make(&store, &clock, 1).await {
            tracing::warn!(error = %stdx::chain(&error), "the last checkpoint of the audit log could not be made");
        }
    });
}

/// One, if there is something new. Yields how many it made.
pub(super) async fn make(store: &Full, clock: &SharedClock, rows_min: i64) -> Result<u64, Error> {
    let now = clock.now();
    let checkpoint = MakeCheckpoint { rows_min, old: now - AGE, now };
    let Some(made) = store.run(Call::by(system::auditor()), checkpoint).await? else {
        return Ok(0);
    };
    tracing::info!(
        sequence = made.sequence,
        hash = %crypt::hex(&made.hash),
        signing_key.id = %made.signing_key_id,
        "checkpoint of the audit log"
    );
    Ok(1)
}
