use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aibridge::facts::{End, ErrorType, Fact};
use stdx::ids::{FactId, InterceptionId};
use stdx::{Lifecycle, SharedClock, SharedRng};
use telemetry::Registry;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::metrics::{Doing, Lost, Metrics, State, Use};
use crate::recorder::Intake;
use crate::settings::{LedgerSettings, MAX_BYTES_MIN, OpenError};
use crate::shipper::Shipper;
use crate::sink::Sink;
use crate::spool::{Class, Core, Observer, Plan, Spool};
use crate::status::{Shipping, Status};

/// How long the end of the process waits for what is left to be shipped.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the last sync may take.
const CLOSE: Duration = Duration::from_secs(10);
/// Interceptions ended in one batch after a crash.
const ENDS_PER_BATCH: usize = 1_000;
/// What is recorded of an interception that a crash has ended.
const STOPPED: &str = "the gateway stopped before the request ended";

/// Facts on disk until they are stored. Cheap to clone; the spool is closed when the last clone is dropped
/// or the lifecycle ends.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    spool: Spool<Vec<Fact>>,
    desk: Arc<Desk>,
    shipping: AtomicBool,
}

/// What the ledger's threads and tasks share with it.
pub(crate) struct Desk {
    pub(crate) core: Arc<Core<Vec<Fact>>>,
    pub(crate) intake: Intake,
    pub(crate) metrics: Metrics,
    pub(crate) clock: SharedClock,
    pub(crate) rng: SharedRng,
    pub(crate) dir: Box<Path>,
    /// Told to ship again after a denial.
    pub(crate) resume: Notify,
    state: AtomicU8,
    /// When the oldest fact in the shipper's hands was appended; zero if it has none.
    oldest: AtomicI64,
    /// Interceptions that a crash has ended and that are not recorded as such yet.
    orphans: Mutex<Vec<u128>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("dir", &self.0.desk.dir).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Opens the spool, brings it back to where it was and ends the interceptions that were open. Blocks on
    /// the disk, for about as long as reading one segment takes.
    ///
    /// # Errors
    /// See [`OpenError`]. A disk that is full is none: the ledger waits for room and refuses meanwhile.
    pub fn open(
        settings: LedgerSettings,
        lifecycle: &Lifecycle,
        registry: &mut Registry,
    ) -> Result<Self, OpenError> {
        let LedgerSettings { dir, max_bytes, sync, full, clock, rng } = settings;
        if max_bytes < MAX_BYTES_MIN {
            return Err(OpenError::TooSmall { max_bytes });
        }
        let metrics = Metrics::register(registry)?;
        let (spool, findings) = Spool::open(&dir, Plan::new(max_bytes), sync)?;
        if findings.torn {
            metrics.torn.inc(());
        }
        let core = Arc::clone(spool.core());
        let desk = Arc::new(Desk {
            intake: Intake::new(Arc::clone(&core), full, Arc::clone(&clock)),
            orphans: Mutex::new(core.open_keys()),
            core,
            metrics,
            clock,
            rng,
            dir: dir.into(),
            resume: Notify::new(),
            state: AtomicU8::new(Shipping::Detached as u8),
            oldest: AtomicI64::new(0),
        });
        if findings.missing_facts > 0 {
            tracing::error!(dir = %desk.dir.display(), facts = findings.missing_facts, "segments of the spool are gone");
            desk.intake.losses.add(Lost::Corrupt, findings.missing_facts);
        }
        desk.end_orphans();
        desk.publish();
        spool.start(Arc::clone(&desk) as Arc<dyn Observer>)?;
        let ledger = Self(Arc::new(Inner { spool, desk, shipping: AtomicBool::new(false) }));
        let last = ledger.clone();
        lifecycle.on_stop("ledger", CLOSE, move || async move {
            // The final sync and the end of the threads block.
            let closed = tokio::task::spawn_blocking(move || last.0.spool.close()).await;
            if closed.is_err() {
                tracing::error!("closing the spool panicked");
            }
        });
        Ok(ledger)
    }

    /// Ships facts to their place of record from now on: those left from before first, all in order, one
    /// batch at a time. At the end of the process the ledger takes no more, ships what is left as far as
    /// that goes within ten seconds and leaves the rest on disk.
    ///
    /// Only the first call counts.
    pub fn ship<S: Sink>(&self, sink: S, lifecycle: &Lifecycle) {
        if self.0.shipping.swap(true, Ordering::SeqCst) {
            tracing::error!("the ledger has a place to ship to already; another one is ignored");
            return;
        }
        // Not a task among others: it must outlive those that still append.
        let own = Lifecycle::new();
        let shipper = Shipper::new(Arc::clone(&self.0.desk), sink);
        own.spawn("ledger-shipper", shipper.run(own.stopping()));
        let core = Arc::clone(&self.0.desk.core);
        lifecycle.on_stop("ledger-shipper", DRAIN + Duration::from_secs(1), move || async move {
            core.close();
            own.stop(DRAIN).await;
        });
    }

    /// Tries again after the place of record had denied this gateway, for instance with a new key. Does
    /// nothing otherwise.
    pub fn resume_shipping(&self) {
        self.0.desk.resume.notify_waiters();
    }

    /// How the ledger is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.desk.status()
    }

    /// Resolves when nothing is unacknowledged. Waits for ever if nothing is shipped.
    pub async fn drained(&self) {
        let core = &self.0.desk.core;
        loop {
            let acknowledged = core.acknowledged.notified();
            tokio::pin!(acknowledged);
            acknowledged.as_mut().enable();
            if core.figures().waiting_facts == 0 {
                return;
            }
            acknowledged.await;
        }
    }

    pub(crate) fn intake(&self) -> &Intake {
        &self.0.desk.intake
    }
}

impl Desk {
    pub(crate) fn set_shipping(&self, state: Shipping) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// Tells when the oldest fact in the shipper's hands was appended.
    pub(crate) fn set_oldest(&self, at_micros: Option<i64>) {
        self.oldest.store(at_micros.unwrap_or(0), Ordering::Relaxed);
    }

    /// Time since an instant; zero when the clock went back.
    pub(crate) fn age(&self, at_micros: i64) -> Duration {
        let now = self.clock.now();
        let now = now.unix_timestamp() * 1_000_000 + i64::from(now.microsecond());
        Duration::from_micros(u64::try_from(now.saturating_sub(at_micros)).unwrap_or(0))
    }

    fn shipping(&self) -> Shipping {
        const ALL: [Shipping; 8] = [
            Shipping::Detached,
            Shipping::Idle,
            Shipping::Sending,
            Shipping::Waiting,
            Shipping::NotUnderstood,
            Shipping::Unreadable,
            Shipping::Denied,
            Shipping::Stopped,
        ];
        let state = self.state.load(Ordering::Relaxed);
        ALL.get(usize::from(state)).copied().unwrap_or_default()
    }

    fn status(&self) -> Status {
        let figures = self.core.figures();
        let oldest = match self.oldest.load(Ordering::Relaxed) {
            _ if figures.waiting_facts == 0 => None,
            0 => self.core.oldest_micros(),
            at => Some(at),
        };
        Status {
            health: figures.health,
            shipping: self.shipping(),
            waiting_facts: figures.waiting_facts,
            waiting_bytes: figures.waiting_bytes,
            oldest_age: oldest.map(|at| self.age(at)),
            disk_bytes: figures.disk_bytes,
            open_interceptions: figures.open,
            lost_facts: self.intake.losses.all(),
        }
    }

    /// Records the end of what a crash has ended. What there is no room for is tried again later.
    fn end_orphans(&self) {
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        if orphans.is_empty() {
            return;
        }
        let count = orphans.len();
        let now = self.clock.now();
        while !orphans.is_empty() {
            let from = orphans.len().saturating_sub(ENDS_PER_BATCH);
            let some = orphans.split_off(from);
            let ends = some.iter().map(|key| {
                Fact::End(End {
                    id: FactId::new(self.rng.uuid_v7(now)),
                    interception: InterceptionId::new(Uuid::from_u128(*key)),
                    ended_at: now,
                    credential_hint: String::new(),
                    error_type: Some(ErrorType::Unknown),
                    error_message: Some(STOPPED.to_owned()),
                })
            });
            if self.intake.write(ends.collect(), Class::Reserved).is_err() {
                orphans.extend(some);
                return;
            }
        }
        tracing::warn!(
            interceptions = count,
            "ended the interceptions that were open when the gateway stopped"
        );
    }

    /// Brings the gauges up to date.
    fn publish(&self) {
        let (figures, status, metrics) = (self.core.figures(), self.status(), &self.metrics);
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let count = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        metrics.waiting_facts.set((), gauge(status.waiting_facts));
        metrics.waiting_bytes.set((), gauge(status.waiting_bytes));
        metrics.oldest.set((), gauge(status.oldest_age.unwrap_or_default().as_secs()));
        metrics.disk_bytes.set((), gauge(status.disk_bytes));
        metrics.open.set((), count(status.open_interceptions));
        metrics.segments.set(Use::Active, i64::from(figures.active));
        metrics.segments.set(Use::Waiting, count(figures.waiting_segments));
        metrics.segments.set(Use::Kept, count(figures.kept_segments));
        metrics.segments.set(Use::Blank, count(figures.blank_segments));
        for state in State::ALL {
            metrics.state.set(*state, i64::from(*state == State::from(status.health)));
        }
        for doing in Doing::ALL {
            metrics.shipping.set(*doing, i64::from(*doing == Doing::from(status.shipping)));
        }
        let upto = |counter: &telemetry::Counter<()>, value: u64| {
            counter.inc_by((), value.saturating_sub(counter.get(&())));
        };
        upto(&metrics.appends, self.core.counts.appends.load(Ordering::Relaxed));
        upto(&metrics.damaged, self.core.counts.damaged_bytes.load(Ordering::Relaxed));
        upto(&metrics.refusals, self.intake.refusals.load(Ordering::Relaxed));
        for reason in Lost::ALL {
            let lost = self.intake.losses.get(*reason);
            metrics.lost.inc_by(*reason, lost.saturating_sub(metrics.lost.get(reason)));
        }
    }
}

impl Observer for Desk {
    fn synced(&self, took: Duration, failed: bool) {
        self.metrics.syncs.inc(failed);
        self.metrics.sync_seconds.observe_duration((), took);
    }

    fn tick(&self) {
        self.end_orphans();
        self.intake.write_late();
        self.publish();
    }
}
