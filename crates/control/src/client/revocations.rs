use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stdx::{Lifecycle, SharedRng};
use uuid::Uuid;

use super::call::CallError;
use super::http::Coderd;
use super::identities::Identities;
use super::link::{Link, Standing};
use super::metrics::ClientMetrics;
use super::pace::Pace;
use crate::wire::{Heartbeat, SpoolDepth};

/// How long coderd may keep a heartbeat waiting for news. Also how old its knowledge of the spool may get.
const WAIT_SECONDS: u32 = 20;

/// Between two answers that both void everything: replicas of coderd between which heartbeats go to and fro
/// know nothing of each other's marks, and must not be asked without end.
const SETTLE: Duration = Duration::from_millis(100);

/// What to look at when coderd has never answered.
const FIRST_HINT: &str =
    "check CODER_URL; a proxy between that is asked without TLS must take HTTP/2";

/// A running daemon, as coderd sees it.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Made at the start of the process.
    pub id: Uuid,
    /// Version of the daemon.
    pub build: String,
}

/// What keeps a heartbeat waiting at coderd all the time: it brings revocations the moment they happen, tells
/// how deep the spool is, and shows whether coderd is there. Each change of that is one line in the log.
#[derive(Debug)]
#[expect(missing_docs, reason = "named by their types")]
pub struct Heartbeats {
    pub coderd: Coderd,
    pub replica: Replica,
    pub identities: Arc<Identities>,
    pub link: Link,
    pub metrics: ClientMetrics,
    pub rng: SharedRng,
}

impl Heartbeats {
    /// Begins, in the background. `depth` is asked before each heartbeat.
    pub fn start(
        self,
        depth: impl Fn() -> SpoolDepth + Send + Sync + 'static,
        lifecycle: &Lifecycle,
    ) {
        let Self { coderd, replica, identities, link, metrics, rng } = self;
        metrics.connected.set((), 0);
        let watch = Watch { identities, link, metrics, first: Mutex::default() };
        let stopping = lifecycle.stopping();
        lifecycle.spawn("revocations", async move {
            tokio::select! {
                () = follow(&coderd, &replica, &depth, &watch, Pace::new(rng)) => {}
                () = stopping.wait() => {}
            }
        });
    }
}

async fn follow(
    coderd: &Coderd,
    replica: &Replica,
    depth: &(impl Fn() -> SpoolDepth + Sync),
    watch: &Watch,
    mut pace: Pace,
) {
    let mut after = None;
    let (mut over, mut voided) = (false, false);
    loop {
        // The first answer after a silence must come at once: it says that coderd is there.
        let wait_seconds = if watch.link.is_connected() { WAIT_SECONDS } else { 0 };
        let beat = Heartbeat {
            replica: replica.id,
            build: replica.build.clone(),
            spool: depth(),
            after,
            wait_seconds,
        };
        match coderd.heartbeat(&beat).await {
            Ok(answer) => {
                // Before coderd counts as connected: older identities than this must not be used as confirmed.
                watch.identities.apply(&answer);
                after = Some(answer.mark);
                over = false;
                pace.reset();
                watch.up();
                if std::mem::replace(&mut voided, answer.all) && answer.all {
                    tokio::time::sleep(SETTLE).await;
                }
            }
            Err(CallError::Ended(why)) => return watch.link.end(why),
            Err(error) => {
                watch.down(&error);
                over = watch.tell_when_over(over);
                watch.link.rest(pace.pause(&error)).await;
            }
        }
    }
}

/// Tells how coderd is.
struct Watch {
    identities: Arc<Identities>,
    link: Link,
    metrics: ClientMetrics,
    /// What was last said about a coderd that has never answered.
    first: Mutex<String>,
}

impl Watch {
    fn up(&self) {
        let Some(before) = self.link.up() else {
            return;
        };
        self.metrics.connected.set((), 1);
        let status = self.link.describe(self.identities.count());
        if matches!(before, Standing::Away { .. }) {
            tracing::info!(status, "coderd is back");
        } else {
            tracing::info!(status, "coderd answers");
        }
    }

    fn down(&self, error: &CallError) {
        self.metrics.connected.set((), 0);
        if self.link.down() {
            let status = self.link.describe(self.identities.count());
            tracing::warn!(status, %error, "coderd is away");
        } else if matches!(self.link.standing(), Standing::Connecting { .. }) {
            self.tell_first(error);
        }
    }

    /// A daemon that cannot reach coderd from the beginning says why: most likely it was told a wrong address.
    fn tell_first(&self, error: &CallError) {
        let mut told = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let text = error.to_string();
        if *told != text {
            tracing::warn!(error = text, hint = FIRST_HINT, "coderd does not answer yet");
            *told = text;
        }
    }

    /// One more line when the grace is over.
    fn tell_when_over(&self, told: bool) -> bool {
        let over = matches!(self.link.standing(), Standing::Away { .. }) && !self.link.can_serve();
        if over && !told {
            tracing::error!(
                status = self.link.describe(self.identities.count()),
                "coderd is away for too long"
            );
        }
        over
    }
}
