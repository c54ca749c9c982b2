//! `aibridged serve`: builds the parts bottom-up, serves until a signal or until coderd refuses the gateway
//! key, and takes them down in reverse.

use std::sync::{Arc, OnceLock};
use std::thread::available_parallelism;
use std::time::Duration;

use aibridge::{Gateway, GatewaySettings, Timeouts};
use anyhow::{Context as _, Result, anyhow};
use config::Options;
use control::client::{
    ClientMetrics, Coderd, CoderdSettings, ControlSink, Ended, Heartbeats, Identities,
    IdentitySettings, Link, Replica, follow_providers,
};
use control::wire::SpoolDepth;
use httpmw::{Hsts, TrustedProxies};
use ledger::{Ledger, Status};
use stdx::{Lifecycle, SharedClock, SharedRng, SystemClock, SystemRng};
use telemetry::Registry;

use crate::edge::{self, Edge, EdgeMetrics};
use crate::readiness::Ready;

/// How long answers may still take once the process is asked to stop. Then they are cut off.
const ANSWERS: Duration = Duration::from_secs(15);
/// How long the process waits for open requests. Longer than [`ANSWERS`] by what it takes to record an end.
const DRAIN: Duration = Duration::from_secs(25);
/// The same when the gateway key is refused: whoever deleted it wants nothing to go on.
const HURRY: Duration = Duration::from_secs(3);
/// Tells coderd what asks.
const BUILD: &str = concat!("aibridged/", env!("CARGO_PKG_VERSION"));

/// Runs the daemon until a signal.
///
/// # Errors
/// It cannot start, or coderd refuses its key.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let lifecycle = Lifecycle::new();
    let _logs = process::start_logs(&options.introspection)?;
    let ended = Arc::new(OnceLock::new());
    process::run(start(options, &ended, &lifecycle), &lifecycle, DRAIN).await?;
    match ended.get() {
        Some(why) => Err(anyhow!("{why}")),
        None => Ok(()),
    }
}

async fn start(
    options: &Options,
    ended: &Arc<OnceLock<Ended>>,
    lifecycle: &Lifecycle,
) -> Result<()> {
    let (clock, rng) = (SystemClock::shared(), SystemRng::shared());
    let mut registry = Registry::new();
    let descriptors = serve::raise_descriptor_limit();
    // Bound before anything slow, so that a taken address is told at once.
    let address = &options.gateway_daemon.listen_addr;
    let mut listener = process::listen(address, "CODER_AI_GATEWAY_LISTEN_ADDR").await?;
    if let Some(tls) = process::tls(&options.tls)? {
        listener = listener.with_tls(tls);
    }
    let prometheus = if options.introspection.prometheus_enable {
        let address = &options.introspection.prometheus_address;
        Some(process::listen(address, "CODER_PROMETHEUS_ADDRESS").await?)
    } else {
        None
    };
    let coderd = coderd(options)?;
    let ledger = open_ledger(options, &clock, &rng, lifecycle, &mut registry).await?;
    let link = Link::new(Arc::clone(&clock), options.gateway_daemon.identity_grace);
    end_with(&link, ended, lifecycle);

    let metrics = ClientMetrics::register(&mut registry)?;
    let identities = Identities::start(
        IdentitySettings::default(),
        coderd.clone(),
        link.clone(),
        Arc::clone(&clock),
        metrics.clone(),
        lifecycle,
    );
    let gateway = Gateway::new(
        gateway_settings(options, lifecycle),
        Arc::clone(&identities) as _,
        Arc::new(ledger.clone()),
        Arc::clone(&clock),
        Arc::clone(&rng),
        registry.raw_mut(),
    );
    let spool = ledger.clone();
    let heartbeats = Heartbeats {
        coderd: coderd.clone(),
        replica: Replica { id: rng.uuid_v4(), build: BUILD.to_owned() },
        identities: Arc::clone(&identities),
        link: link.clone(),
        metrics,
        rng: Arc::clone(&rng),
    };
    heartbeats.start(move || depth(&spool.status()), lifecycle);
    let (served, asked) = (Arc::clone(&gateway), coderd.clone());
    follow_providers(asked, served, link.clone(), Arc::clone(&rng), lifecycle);
    ledger.ship(ControlSink::new(coderd, link.clone()), lifecycle);

    let ready = Ready { link, identities, ledger, gateway: Arc::clone(&gateway) };
    let metrics = EdgeMetrics::register(&mut registry)?;
    let edge = Arc::new(edge(options, rng, metrics, ready)?);
    if let Some(listener) = prometheus {
        process::serve_metrics(listener, move || registry.encode(), lifecycle);
    }
    let (address, threads) = (listener.address(), threads(options));
    let factory = move |_| edge::make(Arc::clone(&edge), gateway.local());
    serve::start_threads("gateway", listener, threads, factory, lifecycle)
        .context("start the threads of the gateway")?;
    tracing::info!(%address, threads, descriptors, "aibridged serves");
    Ok(())
}

pub(crate) fn coderd(options: &Options) -> Result<Coderd> {
    let daemon = &options.gateway_daemon;
    let settings = CoderdSettings {
        url: daemon.coderd_url.clone().context("set CODER_URL to the URL of coderd")?,
        key: daemon.key.clone().context("set CODER_AI_GATEWAY_KEY to a key made by coderd")?,
        ca_file: daemon.coderd_ca_file.clone(),
        build: BUILD,
    };
    Ok(Coderd::new(settings)?)
}

async fn open_ledger(
    options: &Options,
    clock: &SharedClock,
    rng: &SharedRng,
    lifecycle: &Lifecycle,
    registry: &mut Registry,
) -> Result<Ledger> {
    let settings = process::spool(&options.gateway_daemon, Arc::clone(clock), Arc::clone(rng))?;
    // Recovery reads the disk: on a thread that may wait, with what it needs for as long.
    let mut own = std::mem::take(registry);
    let lifecycle = lifecycle.clone();
    let (opened, own) = tokio::task::spawn_blocking(move || {
        let opened = Ledger::open(settings, &lifecycle, &mut own);
        (opened, own)
    })
    .await
    .context("opening the spool panicked")?;
    *registry = own;
    opened.map_err(|error| anyhow!("{}", stdx::chain(&error)))
}

/// Ends the process when coderd says that there is no more use.
fn end_with(link: &Link, ended: &Arc<OnceLock<Ended>>, lifecycle: &Lifecycle) {
    let (link, ended, process) = (link.clone(), Arc::clone(ended), lifecycle.clone());
    let stopping = lifecycle.stopping();
    lifecycle.spawn("end", async move {
        tokio::select! {
            why = link.ended() => {
                tracing::error!(error = %why, "the daemon ends; what is not shipped stays on disk");
                // Kept for the exit; there is one end only.
                let _ = ended.set(why);
                process.hurry(HURRY);
            }
            () = stopping.wait() => {}
        }
    });
}

fn gateway_settings(options: &Options, lifecycle: &Lifecycle) -> GatewaySettings {
    let settings = GatewaySettings::of(&options.gateway, lifecycle.clone());
    GatewaySettings { timeouts: Timeouts { shutdown: ANSWERS, ..settings.timeouts }, ..settings }
}

fn edge(options: &Options, rng: SharedRng, metrics: EdgeMetrics, ready: Ready) -> Result<Edge> {
    let networking = &options.networking;
    let origins: Vec<String> =
        networking.proxy_trusted_origins.iter().map(ToString::to_string).collect();
    Ok(Edge {
        proxies: TrustedProxies::parse(&origins, &networking.proxy_trusted_headers)
            .context("CODER_PROXY_TRUSTED_ORIGINS and CODER_PROXY_TRUSTED_HEADERS")?,
        hsts: Hsts::parse(
            options.tls.strict_transport_security.into(),
            &options.tls.strict_transport_security_options,
        )
        .context("CODER_STRICT_TRANSPORT_SECURITY")?,
        rng,
        metrics,
        ready,
    })
}

fn threads(options: &Options) -> usize {
    match usize::try_from(options.gateway_daemon.threads) {
        Ok(0) | Err(_) => available_parallelism().map_or(1, std::num::NonZero::get),
        Ok(threads) => threads,
    }
}

fn depth(status: &Status) -> SpoolDepth {
    SpoolDepth {
        records: status.waiting_facts,
        bytes: status.waiting_bytes,
        oldest_seconds: status.oldest_age.unwrap_or_default().as_secs(),
        lost: status.lost_facts,
    }
}
