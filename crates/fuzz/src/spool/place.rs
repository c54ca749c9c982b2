//! A directory with a spool in it, and a ledger that uses it for a moment.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aibridge::facts::Fact;
use aibridge::ports::Recorder as _;
use ledger::{
    Batch, FullPolicy, Ledger, LedgerSettings, MAX_BYTES_MIN, OpenError, Receipt, Sink, SinkError,
    SyncPolicy,
};
use stdx::{Lifecycle, ManualClock, SeededRng};
use telemetry::Registry;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::runtime::{Builder, Runtime};

/// What is recorded of an interception that a crash has ended.
pub(super) const STOPPED: &str = "the gateway stopped before the request ended";

/// The end of a ledger takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(4);

/// What came out of a spool.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shipped {
    pub(super) facts: Vec<Fact>,
    /// The new facts were taken.
    pub(super) taken: bool,
    /// Facts that are said to be lost.
    pub(super) lost: u64,
}

/// A file of a spool.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// A directory of its own, in memory where there is such a thing.
pub(super) struct Place(TempDir);

impl Place {
    /// A directory with these files.
    pub(super) fn new(files: &[File]) -> Self {
        let made = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let Ok(dir) = made else { unreachable!("no directory: {made:?}") };
        for file in files {
            let written = fs::write(dir.path().join(&file.name), &file.bytes);
            assert!(written.is_ok(), "{written:?}");
        }
        Self(dir)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// All files, in the order of their names, without the lock.
    pub(super) fn files(&self) -> Vec<File> {
        let entries = fs::read_dir(self.path()).into_iter().flatten().flatten();
        let mut files: Vec<File> = entries
            .map(|entry| File {
                name: entry.file_name().to_string_lossy().into_owned(),
                bytes: fs::read(entry.path()).unwrap_or_default(),
            })
            .filter(|file| file.name != "lock")
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files
    }

    /// Has a ledger record these batches, and ship all of them if `ships`.
    pub(super) fn fill(&self, batches: Vec<Vec<Fact>>, ships: bool) {
        let opened = self.open();
        let Ok((ledger, lifecycle)) = opened else { unreachable!("{opened:?}") };
        runtime().block_on(async {
            if ships {
                ledger.ship(Arc::new(Store::default()), &lifecycle);
            }
            for facts in batches {
                let taken = ledger.append(facts);
                assert!(taken.is_ok(), "{taken:?}");
                // Files are used again once what is in them was shipped.
                if ships && ledger.status().waiting_bytes > 100_000 {
                    ledger.drained().await;
                }
            }
            lifecycle.stop(PATIENCE).await;
        });
    }

    /// Opens the ledger and ends it as a process ends, so many times, while nothing can be shipped.
    pub(super) fn wait(&self, times: usize) {
        for _ in 0..times {
            if let Ok((_, lifecycle)) = self.open() {
                runtime().block_on(lifecycle.stop(PATIENCE));
            }
        }
    }

    /// Opens the ledger, has it record `new` if anything, and ends it as a process ends. Nothing comes back
    /// when the spool is of another format.
    pub(super) fn ship(&self, new: Option<&[Fact]>) -> Option<Shipped> {
        let (ledger, lifecycle) = match self.open() {
            Ok(opened) => opened,
            Err(OpenError::Format { .. }) => return None,
            Err(error) => unreachable!("{error:?}"),
        };
        let found = ledger.status().disk_bytes;
        let store = Arc::new(Store::default());
        let taken = runtime().block_on(async {
            ledger.ship(Arc::clone(&store), &lifecycle);
            let taken = new.is_some_and(|new| ledger.append(new.to_vec()).is_ok());
            lifecycle.stop(PATIENCE).await;
            taken
        });
        let status = ledger.status();
        let waiting = (status.waiting_facts, status.waiting_bytes);
        assert_eq!(waiting, (0, 0), "not everything was shipped");
        assert_eq!(status.oldest_age, None, "the age of nothing");
        assert!(
            status.disk_bytes <= MAX_BYTES_MIN || status.disk_bytes <= found,
            "grown too large"
        );
        let facts = std::mem::take(&mut *store.facts());
        let last = facts.last();
        assert_eq!(taken, new.is_some_and(|new| last.is_some() && last == new.last()));
        Some(Shipped { facts, taken, lost: status.lost_facts })
    }

    fn open(&self) -> Result<(Ledger, Lifecycle), OpenError> {
        let lifecycle = Lifecycle::new();
        let settings = LedgerSettings {
            dir: self.path().to_owned(),
            max_bytes: MAX_BYTES_MIN,
            sync: SyncPolicy::Os,
            full: FullPolicy::Refuse,
            clock: ManualClock::new(OffsetDateTime::UNIX_EPOCH),
            rng: SeededRng::shared(7),
        };
        let ledger = Ledger::open(settings, &lifecycle, &mut Registry::new())?;
        Ok((ledger, lifecycle))
    }
}

/// One for all: threads that wait for work are kept.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => unreachable!("no runtime: {error}"),
    })
}

/// A place of record.
#[derive(Default)]
struct Store(Mutex<Vec<Fact>>);

impl Store {
    fn facts(&self) -> MutexGuard<'_, Vec<Fact>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Store {
    async fn ingest(&self, batch: &Batch) -> Result<Receipt, SinkError> {
        self.facts().extend(batch.facts.iter().cloned());
        Ok(Receipt::default())
    }
}

/// Facts by what they are about, for a message that can be read.
pub(super) fn ids<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Vec<String> {
    let name = |fact: &Fact| {
        let kind = match fact {
            Fact::Start(_) => "start",
            Fact::End(_) => "end",
            Fact::Prompt(_) => "prompt",
            Fact::Tokens(_) => "tokens",
            Fact::Tool(_) => "tool",
            Fact::Thought(_) => "thought",
        };
        format!("{kind} {:x}", fact.interception().uuid().as_u128())
    };
    facts.into_iter().map(name).collect()
}
