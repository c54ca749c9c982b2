//! `coderd server`: builds the parts bottom-up, serves until a signal, and takes them down in reverse.

use std::sync::Arc;
use std::time::Duration;

use aibridge::{GatewaySettings, Timeouts};
use anyhow::{Context as _, Result, anyhow};
use api::{App, Base, HttpSettings, Retention};
use config::{Environment, Options};
use crypt::Keyring;
use http::HeaderValue;
use httpmw::{Hsts, TrustedProxies};
use rbac::RoleOptions;
use serve::Listener;
use stdx::{Lifecycle, SharedClock, SharedRng, SystemClock, SystemRng};
use store::{ConnectOptions, Full};
use telemetry::Registry;
use url::Url;

use crate::{database, listen};

/// How long answers of the gateway may still take once the process is asked to stop. Then they are cut off.
const ANSWERS: Duration = Duration::from_secs(15);
/// How long the process waits for open requests. Longer than [`ANSWERS`] by what it takes to record an end:
/// afterwards the ledger closes, and what it is told then is lost.
const DRAIN: Duration = Duration::from_secs(25);

/// Runs the server until a signal.
pub(crate) async fn run(options: &Options, environment: &Environment) -> Result<()> {
    let lifecycle = Lifecycle::new();
    let _logs = process::start_logs(&options.introspection)?;
    process::run(start(options, environment, &lifecycle), &lifecycle, DRAIN).await
}

async fn start(options: &Options, environment: &Environment, lifecycle: &Lifecycle) -> Result<()> {
    let (clock, rng) = (SystemClock::shared(), SystemRng::shared());
    let mut registry = Registry::new();
    // Bound before anything slow, so that a taken address is told at once.
    let listeners = listen::bind(options).await?;
    let access_url = access_url(options, &listeners)?;

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
    let roles = role_options(options);
    let prepare = async || api::setup::prepare(&store, &clock, &rng, roles).await;
    let deployment_id = store::outlast(prepare).await.map_err(|error| chained(&error))?;
    seed(options, environment, &store, &clock, &rng).await?;
    let settings = settings(options, &access_url, deployment_id);
    let spool = match process::spool(&options.gateway_daemon, Arc::clone(&clock), Arc::clone(&rng))
    {
        Err(_) if !options.gateway.enabled => None,
        spool => Some(spool?),
    };
    let base = Base {
        store,
        database_url: url,
        settings,
        roles,
        sliding_sessions: !options.sessions.disable_expiry_refresh,
        gateway: gateway_settings(options, lifecycle),
        spool,
        retention: retention(options),
        clock,
        rng,
        registry,
    };
    let app =
        App::start(base, lifecycle).await.map_err(|error| anyhow!("{}", stdx::chain(&error)))?;
    if options.introspection.prometheus_enable {
        let address = &options.introspection.prometheus_address;
        let listener = process::listen(address, "CODER_PROMETHEUS_ADDRESS").await?;
        let app = app.clone();
        process::serve_metrics(listener, move || app.measured(), lifecycle);
    }
    let router = app.serve(http_settings(options)?);
    for (name, listener) in listeners {
        tracing::info!(address = %listener.address(), name, "listening");
        listen::serve(name, listener, router.clone(), lifecycle);
    }
    tracing::info!(access_url = %access_url, "coderd is ready");
    Ok(())
}

/// The switches that change built-in roles.
const fn role_options(options: &Options) -> RoleOptions {
    RoleOptions {
        disable_owner_workspace_access: options.security.disable_owner_workspace_access,
        disable_workspace_sharing: options.security.disable_workspace_sharing,
        disable_chat_sharing: options.security.disable_chat_sharing,
    }
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
    let report = store::outlast(async || api::seeding::seed(store, &providers, clock, rng).await)
        .await
        .map_err(|error| anyhow!("{}", stdx::chain(&error)))?;
    tracing::info!(?report, "AI providers of the environment");
    Ok(())
}

/// 0 keeps for ever.
fn retention(options: &Options) -> Retention {
    let kept = |kept: Duration| (!kept.is_zero()).then_some(kept);
    Retention {
        ai_gateway: kept(options.gateway.retention),
        audit_logs: kept(options.retention.audit_logs),
        connection_logs: kept(options.retention.connection_logs),
        api_keys: kept(options.retention.api_keys),
    }
}

fn access_url(options: &Options, listeners: &[(&'static str, Listener)]) -> Result<Url> {
    if let Some(url) = &options.networking.access_url {
        return Ok(url.clone());
    }
    let (scheme, listener) = listeners.last().context("there is no listener")?;
    Url::parse(&format!("{scheme}://{}", listener.address())).context("derive the access URL")
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
        record_authz_checks: cfg!(debug_assertions) || options.security.record_authz_checks,
    }
}

fn gateway_settings(options: &Options, lifecycle: &Lifecycle) -> GatewaySettings {
    let settings = GatewaySettings::of(&options.gateway, lifecycle.clone());
    GatewaySettings { timeouts: Timeouts { shutdown: ANSWERS, ..settings.timeouts }, ..settings }
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
