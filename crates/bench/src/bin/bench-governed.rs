//! Our gateway as `aibridged` puts it together: callers are known by coderd's answers, limits are on, and
//! every request leaves a full record in the spool. Only what comes after is missing: records are
//! acknowledged where they would be sent, so that no PostgreSQL works on the same cores.

use std::future::{Future, ready};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aibridge::{GatewaySettings, LimitSettings};
use anyhow::{Context as _, Result};
use bench::plane::{self, PlaneArgs, Ports};
use clap::{Parser, ValueEnum};
use control::client::{
    ClientMetrics, Coderd, CoderdSettings, Heartbeats, Identities, IdentitySettings, Link, Replica,
};
use control::wire::SpoolDepth;
use ledger::{Batch, FullPolicy, Ledger, LedgerSettings, Receipt, Sink, SinkError, SyncPolicy};
use stdx::{Lifecycle, Rng as _, Secret, SystemClock, SystemRng};
use telemetry::Registry;
use url::Url;

/// Our gateway with limits and records.
#[derive(Debug, Parser)]
#[command(name = "bench-governed")]
struct Args {
    #[command(flatten)]
    plane: PlaneArgs,
    /// Where coderd is, which knows the callers.
    #[arg(long)]
    coderd: Url,
    /// A file with a gateway key.
    #[arg(long)]
    key_file: PathBuf,
    /// Where the spool is kept.
    #[arg(long)]
    spool_dir: PathBuf,
    /// When a record counts as durable.
    #[arg(long, value_enum, default_value_t = Sync::Strict)]
    sync: Sync,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sync {
    /// When the disk has it.
    Strict,
    /// When the operating system has it.
    Os,
}

impl From<Sync> for SyncPolicy {
    fn from(sync: Sync) -> Self {
        match sync {
            Sync::Strict => Self::Strict,
            Sync::Os => Self::Os,
        }
    }
}

/// Acknowledges what it is sent, and counts it.
#[derive(Default)]
struct Acknowledged {
    facts: AtomicU64,
    batches: AtomicU64,
}

impl Sink for Acknowledged {
    fn ingest(&self, batch: &Batch) -> impl Future<Output = Result<Receipt, SinkError>> + Send {
        self.facts.fetch_add(batch.facts.len() as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Receipt::default()))
    }
}

/// How long identities are good without coderd.
const GRACE: Duration = Duration::from_mins(10);
const BUILD: &str = concat!("bench-governed/", env!("CARGO_PKG_VERSION"));

/// The authenticator of a daemon.
fn callers(args: &Args, registry: &mut Registry, lifecycle: &Lifecycle) -> Result<Arc<Identities>> {
    let key = std::fs::read_to_string(&args.key_file)
        .with_context(|| format!("cannot read {}", args.key_file.display()))?;
    let coderd = Coderd::new(CoderdSettings {
        url: args.coderd.clone(),
        key: Secret::new(key.trim().to_owned()),
        ca_file: None,
        build: BUILD,
    })?;
    let link = Link::new(SystemClock::shared(), GRACE);
    let metrics = ClientMetrics::register(registry)?;
    let identities = Identities::start(
        IdentitySettings::default(),
        coderd.clone(),
        link.clone(),
        SystemClock::shared(),
        metrics.clone(),
        lifecycle,
    );
    let heartbeats = Heartbeats {
        coderd,
        replica: Replica { id: SystemRng.uuid_v4(), build: BUILD.to_owned() },
        identities: Arc::clone(&identities),
        link,
        metrics,
        rng: SystemRng::shared(),
    };
    heartbeats.start(SpoolDepth::default, lifecycle);
    Ok(identities)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let lifecycle = Lifecycle::new();
    let mut registry = Registry::new();
    let callers = callers(&args, &mut registry, &lifecycle)?;
    let ledger = Ledger::open(
        LedgerSettings {
            dir: args.spool_dir,
            max_bytes: 1 << 30,
            sync: args.sync.into(),
            full: FullPolicy::Refuse,
            clock: SystemClock::shared(),
            rng: SystemRng::shared(),
        },
        &lifecycle,
        &mut registry,
    )?;
    let sink = Arc::new(Acknowledged::default());
    ledger.ship(Arc::clone(&sink), &lifecycle);
    let settings = GatewaySettings {
        limits: LimitSettings {
            max_concurrency: 100_000,
            rate_per_second: 10_000_000,
            ..LimitSettings::default()
        },
        ..GatewaySettings::new(lifecycle)
    };
    let ports = Ports { callers, recorder: Arc::new(ledger) };
    plane::run("governed", &args.plane, settings, ports).await?;
    println!(
        "{} facts were acknowledged in {} batches",
        sink.facts.load(Ordering::Relaxed),
        sink.batches.load(Ordering::Relaxed)
    );
    Ok(())
}
