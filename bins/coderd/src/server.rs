//! `coderd server`: builds the parts bottom-up, serves until a signal, and takes them down in reverse.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use aibridge::{GatewaySettings, Timeouts};
use anyhow::{Context as _, Result, anyhow, bail};
use api::{App, Base, HttpSettings};
use config::{Environment, Options};
use crypt::Keyring;
use http::HeaderValue;
use httpmw::{Hsts, TrustedProxies};
use stdx::{Lifecycle, SharedClock, SharedRng, SystemClock, SystemRng};
use store::{ConnectOptions, Full};
use telemetry::{Output, Registry};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::{database, serve};

/// How long answers of the gateway may still take once the process is asked to stop. Then they are cut off.
const ANSWERS: Duration = Duration::from_secs(15);
/// How long the process waits for open requests. Longer than [`ANSWERS`] by what it takes to record an end:
/// afterwards the recorder closes, and what it is told then is lost.
const DRAIN: Duration = Duration::from_secs(25);
/// A new month needs its partitions before it begins; three are kept ahead.
const PARTITIONS_EVERY: Duration = Duration::from_hours(12);

/// Runs the server until a signal.
pub(crate) async fn run(options: &Options, environment: &Environment) -> Result<()> {
    let lifecycle = Lifecycle::new();
    let _logs = telemetry::init(log_settings(options)?).context("start logging")?;
    watch_signals(&lifecycle)?;
    let started = tokio::select! {
        started = start(options, environment, &lifecycle) => started,
        () = wait(&lifecycle) => Ok(()),
    };
    if started.is_ok() {
        wait(&lifecycle).await;
    }
    // After half a start, too: whatever was built is taken down.
    lifecycle.stop(DRAIN).await;
    started
}

async fn wait(lifecycle: &Lifecycle) {
    lifecycle.stopping().wait().await;
}

/// The first signal drains, the second ends at once.
fn watch_signals(lifecycle: &Lifecycle) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let signals = lifecycle.clone();
    // A life cycle of its own: the process ends without waiting for signals.
    Lifecycle::new().spawn("signals", async move {
        for round in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if round > 0 {
                std::process::exit(1);
            }
            tracing::info!("stopping; a second signal ends at once");
            signals.begin_stop();
        }
    });
    Ok(())
}

async fn start(options: &Options, environment: &Environment, lifecycle: &Lifecycle) -> Result<()> {
    let (clock, rng) = (SystemClock::shared(), SystemRng::shared());
    let mut registry = Registry::new();
    if options.tls.enable {
        bail!(
            "this build serves plain HTTP only: unset CODER_TLS_ENABLE and end TLS in a proxy \
             before it"
        );
    }
    let address = options
        .networking
        .http_address
        .as_ref()
        .context("no listener: set CODER_HTTP_ADDRESS, say 127.0.0.1:3000")?;
    // Bound before anything slow, so that a taken address is told at once.
    let listener = serve::bind(address, "CODER_HTTP_ADDRESS").await?;
    let access_url = access_url(options, &listener)?;

    let url = database::open(options, environment, lifecycle).await?;
    let keyring = Keyring::from_base64(&options.security.external_token_encryption_keys)
        .map_err(|error| anyhow!("CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS: {error}"))?;
    let store = Full::connect(
        ConnectOptions {
            url: url.clone(),
            connections_max: usize::try_from(options.database.max_open).unwrap_or(usize::MAX),
            keyring,
            rng: Arc::clone(&rng),
            clock: Arc::clone(&clock),
        },
        &mut registry,
    )
    .await
    .map_err(|error| anyhow!("{}", stdx::chain(&error)))?;
    let deployment_id =
        api::setup::prepare(&store, &clock, &rng).await.map_err(|error| chained(&error))?;
    seed(options, environment, &store, &clock, &rng).await?;
    let settings = settings(options, &access_url, deployment_id);
    keep_partitions(store.clone(), Arc::clone(&clock), lifecycle);
    let base = Base {
        store,
        database_url: url,
        settings,
        sliding_sessions: !options.sessions.disable_expiry_refresh,
        gateway: GatewaySettings {
            allow_byok: options.gateway.allow_byok,
            send_actor_headers: options.gateway.send_actor_headers,
            timeouts: Timeouts { shutdown: ANSWERS, ..Timeouts::default() },
            ..GatewaySettings::new(lifecycle.clone())
        },
        clock,
        rng,
        registry,
    };
    let app = App::start(base, lifecycle).await?;
    if options.introspection.prometheus_enable {
        let address = &options.introspection.prometheus_address;
        let listener = serve::bind(address, "CODER_PROMETHEUS_ADDRESS").await?;
        serve::start("prometheus", listener, api::metrics_router(app.clone()), lifecycle);
    }
    let router = app.serve(http_settings(options)?);
    let bound = listener.local_addr().context("read the address that was bound")?;
    serve::start("http", listener, router, lifecycle);
    tracing::info!(address = %bound, access_url = %access_url, "coderd is ready");
    Ok(())
}

fn chained(error: &store::Error) -> anyhow::Error {
    anyhow!("{}", stdx::chain(error))
}

/// Writes the providers that the environment names, before anything reads them.
async fn seed(
    options: &Options,
    environment: &Environment,
    store: &Full,
    clock: &SharedClock,
    rng: &SharedRng,
) -> Result<()> {
    let providers =
        config::ai_providers(environment, options).map_err(|report| anyhow!("{report}"))?;
    if providers.is_empty() {
        return Ok(());
    }
    let report = api::seeding::seed(store, &providers, clock, rng)
        .await
        .map_err(|error| anyhow!("{}", stdx::chain(&error)))?;
    tracing::info!(?report, "AI providers of the environment");
    Ok(())
}

fn keep_partitions(store: Full, clock: SharedClock, lifecycle: &Lifecycle) {
    let stopping = lifecycle.stopping();
    lifecycle.spawn("partitions", async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(PARTITIONS_EVERY) => {}
                () = stopping.wait() => return,
            }
            if let Err(error) = api::setup::ensure_partitions(&store, &clock).await {
                tracing::error!(error = %stdx::chain(&error), "partitions could not be made");
            }
        }
    });
}

fn access_url(options: &Options, listener: &TcpListener) -> Result<Url> {
    if let Some(url) = &options.networking.access_url {
        return Ok(url.clone());
    }
    let bound = listener.local_addr().context("read the address that was bound")?;
    Url::parse(&format!("http://{bound}")).context("derive the access URL")
}

fn settings(options: &Options, access_url: &Url, deployment_id: String) -> api::Settings {
    api::Settings {
        access_url: access_url.clone(),
        version: format!("v{}", env!("CARGO_PKG_VERSION")),
        deployment_id,
        session_duration: options.sessions.duration,
        default_token_lifetime: options.sessions.default_token_lifetime,
        max_token_lifetime: options.sessions.max_token_lifetime,
        max_admin_token_lifetime: options.sessions.max_admin_token_lifetime,
        disable_password_auth: options.sessions.disable_password_auth,
        secure_cookies: options
            .networking
            .secure_auth_cookie
            .unwrap_or_else(|| access_url.scheme() == "https"),
        same_site: match options.networking.samesite_auth_cookie {
            config::SameSite::Lax => "lax",
            config::SameSite::None => "none",
        },
        gateway_enabled: options.gateway.enabled,
    }
}

fn http_settings(options: &Options) -> Result<HttpSettings> {
    let origins: Vec<String> =
        options.networking.proxy_trusted_origins.iter().map(ToString::to_string).collect();
    Ok(HttpSettings {
        trusted_proxies: TrustedProxies::parse(&origins, &options.networking.proxy_trusted_headers)
            .context("CODER_PROXY_TRUSTED_ORIGINS and CODER_PROXY_TRUSTED_HEADERS")?,
        build_version: HeaderValue::from_static(concat!("v", env!("CARGO_PKG_VERSION"))),
        hsts: Hsts::parse(
            options.tls.strict_transport_security.into(),
            &options.tls.strict_transport_security_options,
        )
        .context("CODER_STRICT_TRANSPORT_SECURITY")?,
    })
}

fn log_settings(options: &Options) -> Result<telemetry::Settings> {
    let output = |path: &Option<std::path::PathBuf>| -> Result<Option<Output>> {
        path.as_ref()
            .map(|path| {
                let text = path.to_str().context("a log path is not valid UTF-8")?;
                text.parse().map_err(|error| anyhow!("{error}"))
            })
            .transpose()
    };
    let introspection = &options.introspection;
    let everything =
        introspection.verbose || introspection.log_filter.iter().any(|pattern| pattern == ".*");
    let mut filter = (if everything { "debug" } else { "info" }).to_owned();
    for name in introspection.log_filter.iter().filter(|pattern| *pattern != ".*") {
        let _ = write!(filter, ",{name}=debug");
    }
    Ok(telemetry::Settings {
        human: output(&introspection.log_human)?,
        json: output(&introspection.log_json)?,
        filter,
        clock: SystemClock::shared(),
    })
}
