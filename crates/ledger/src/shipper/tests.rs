//! What holds the shipper up, and what it says of that.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;
use std::sync::{LazyLock, Mutex};
use std::thread::{self, ThreadId};

use aibridge::facts::{End, Fact};
use aibridge::ports::Recorder as _;
use stdx::ids::{FactId, InterceptionId};
use stdx::{Lifecycle, ManualClock, SystemRng};
use telemetry::Registry;
use time::macros::datetime;
use tracing::field::{Field, Visit};
use tracing::span;
use uuid::Uuid;

use super::*;
use crate::spool::faults::Bad;
use crate::{FullPolicy, Ledger, LedgerSettings, SyncPolicy};

const NOW: time::OffsetDateTime = datetime!(2026-03-01 12:00 UTC);

fn open(dir: &Path) -> (Ledger, Lifecycle, Registry) {
    let (lifecycle, mut registry) = (Lifecycle::new(), Registry::new());
    let settings = LedgerSettings {
        dir: dir.to_owned(),
        max_bytes: 4 << 20,
        sync: SyncPolicy::Os,
        full: FullPolicy::Refuse,
        clock: ManualClock::new(NOW),
        rng: SystemRng::shared(),
    };
    let ledger = Ledger::open(settings, &lifecycle, &mut registry).unwrap();
    (ledger, lifecycle, registry)
}

fn end(number: u128) -> Fact {
    Fact::End(End {
        id: FactId::new(Uuid::from_u128(number)),
        interception: InterceptionId::new(Uuid::from_u128(number)),
        ended_at: NOW,
        credential_hint: String::new(),
        error_type: None,
        error_message: None,
    })
}

/// A place of record that gives these answers in turn, then takes everything.
#[derive(Default)]
struct Scripted {
    errors: Mutex<Vec<SinkError>>,
    facts: Mutex<Vec<Fact>>,
}

impl Sink for Scripted {
    async fn ingest(&self, batch: &Batch) -> Result<Receipt, SinkError> {
        if let Some(error) = self.errors.lock().unwrap().pop() {
            return Err(error);
        }
        self.facts.lock().unwrap().extend(batch.facts.clone());
        Ok(Receipt::default())
    }
}

async fn eventually(mut done: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it took too long");
}

/// Value of a line of the metrics, as far as it has one.
fn metric(registry: &Registry, name: &str) -> Option<u64> {
    let text = registry.encode();
    let line =
        text.lines().find(|line| line.strip_prefix(name).is_some_and(|l| l.starts_with(' ')));
    line?.rsplit(' ').next()?.parse().ok()
}

/// Collects the messages of the shipper with their errors, by thread: a test has all its tasks on its own. It
/// is there for the whole process, because what is enabled is remembered for all threads.
#[derive(Default)]
struct Log(Mutex<Vec<(ThreadId, String)>>);

static LOG: LazyLock<Arc<Log>> = LazyLock::new(|| {
    let log = Arc::new(Log::default());
    tracing::subscriber::set_global_default(Arc::clone(&log)).unwrap();
    log
});

/// The messages of this thread from the one at `from` on.
fn logged(from: usize) -> Vec<String> {
    let log = LOG.0.lock().unwrap();
    let own = log.iter().filter(|(of, _)| *of == thread::current().id());
    own.skip(from).map(|(_, line)| line.clone()).collect()
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("ledger::shipper")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push((thread::current().id(), line.0));
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if matches!(field.name(), "message" | "error") {
            write!(self.0, "[{value:?}]").unwrap();
        }
    }
}

#[tokio::test]
async fn each_reason_of_an_outage_is_logged_once() {
    LazyLock::force(&LOG);
    let dir = tempfile::tempdir().unwrap();
    let (ledger, lifecycle, _registry) = open(dir.path());
    let away =
        |reason: &str| SinkError::Unavailable { reason: reason.to_owned(), retry_after: None };
    let newer = SinkError::NotUnderstood { reason: "too new".to_owned() };
    let errors = vec![away("c"), newer, away("b"), away("a"), away("a")];
    let sink = Arc::new(Scripted { errors: Mutex::new(errors), ..Scripted::default() });
    ledger.ship(Arc::clone(&sink), &lifecycle);
    ledger.append(vec![end(1)]).unwrap().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), ledger.drained()).await.unwrap();
    let cannot = "facts cannot be shipped; they stay on disk";
    let want = ["a", "b", "too new", "c"].map(|error| format!("[{cannot}][{error}]"));
    assert_eq!(logged(0)[..4], want);
    assert_eq!(logged(4), ["[facts are shipped again]"]);

    // Another outage tells its reason anew.
    sink.errors.lock().unwrap().push(away("a"));
    ledger.append(vec![end(2)]).unwrap().await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), ledger.drained()).await.unwrap();
    assert_eq!(logged(5), [want[0].as_str(), "[facts are shipped again]"]);
    lifecycle.stop(Duration::from_secs(20)).await;
}

#[test]
fn reasons_that_never_repeat_do_not_fill_the_log() {
    let mut outage = Outage::default();
    let told = (0..100).filter(|number| outage.is_news(number)).count();
    assert_eq!(told, 16);
    assert!(outage.end());
    assert!(!outage.end(), "it is over");
    assert!(outage.is_news(&0));
}

#[tokio::test]
async fn a_place_of_record_that_is_too_old_is_waited_for_and_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, lifecycle, registry) = open(dir.path());
    let errors = (0..4).map(|_| SinkError::NotUnderstood { reason: "too new".to_owned() });
    let sink = Arc::new(Scripted { errors: Mutex::new(errors.collect()), ..Scripted::default() });
    ledger.ship(Arc::clone(&sink), &lifecycle);
    ledger.append(vec![end(1)]).unwrap().await.unwrap();
    eventually(|| ledger.status().shipping == Shipping::NotUnderstood).await;
    let remedy = ledger.status().shipping.remedy().unwrap();
    assert!(remedy.contains("upgrade coderd first"), "{remedy}");
    tokio::time::timeout(Duration::from_secs(20), ledger.drained()).await.unwrap();
    eventually(|| ledger.status().shipping == Shipping::Idle).await;
    assert_eq!(ledger.status().shipping.remedy(), None);
    assert_eq!(*sink.facts.lock().unwrap(), [end(1)]);
    lifecycle.stop(Duration::from_secs(20)).await;
    assert_eq!(metric(&registry, "coder_ai_gateway_spool_shipping{state=\"stopped\"}"), Some(1));
    assert_eq!(metric(&registry, "coder_ai_gateway_spool_shipping{state=\"idle\"}"), Some(0));
}

/// Lets no segment be read as long as this lives. Which file is written to first is up to two threads.
fn unreadable(dir: &Path) -> Vec<Bad> {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let segments = files.filter(|path| path.extension().is_some_and(|ext| ext == "spool"));
    segments.map(|path| Bad::range(&path, 64..1 << 30)).collect()
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_is_tried_again_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, lifecycle, _registry) = open(dir.path());
    for number in 0..3 {
        ledger.append(vec![end(number)]).unwrap().await.unwrap();
    }
    lifecycle.stop(Duration::from_secs(20)).await;
    drop(ledger);

    // What is in memory no more is read from the disk.
    let (ledger, lifecycle, registry) = open(dir.path());
    let fault = unreadable(dir.path());
    let sink = Arc::new(Scripted::default());
    ledger.ship(Arc::clone(&sink), &lifecycle);
    let errors = || metric(&registry, "coder_ai_gateway_spool_read_errors_total").unwrap_or(0);
    eventually(|| ledger.status().shipping == Shipping::Unreadable && errors() >= 3).await;
    assert_eq!(ledger.status().waiting_facts, 3);
    drop(fault);
    tokio::time::timeout(Duration::from_secs(20), ledger.drained()).await.unwrap();
    assert_eq!(*sink.facts.lock().unwrap(), [0, 1, 2].map(end));
    eventually(|| ledger.status().shipping == Shipping::Idle).await;
    assert_eq!(ledger.status().lost_facts, 0);
    lifecycle.stop(Duration::from_secs(20)).await;
    assert_eq!(metric(&registry, "coder_ai_gateway_spool_damaged_bytes_total"), Some(0));
    let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    assert!(names.into_iter().all(|path| path.extension().is_none_or(|ext| ext != "damaged")));

    drop(ledger);

    // Who stops meanwhile does not wait for the disk.
    let (ledger, lifecycle, _registry) = open(dir.path());
    ledger.append(vec![end(9)]).unwrap().await.unwrap();
    lifecycle.stop(Duration::from_secs(20)).await;
    drop(ledger);
    let (ledger, lifecycle, _registry) = open(dir.path());
    let _fault = unreadable(dir.path());
    ledger.ship(Arc::clone(&sink), &lifecycle);
    eventually(|| ledger.status().shipping == Shipping::Unreadable).await;
    tokio::time::timeout(Duration::from_secs(5), lifecycle.stop(Duration::from_secs(20)))
        .await
        .unwrap();
    assert_eq!(ledger.status().shipping, Shipping::Stopped);
    assert_eq!(ledger.status().waiting_facts, 1);
}
