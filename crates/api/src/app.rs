use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use aibridge::{Gateway, GatewaySettings};
use authn::{Authn, Passwords, Resolver, SessionRules};
use axum::Router;
use httpmw::HttpMetrics;
use ledger::{Ledger, LedgerSettings, OpenError};
use rbac::{Catalog, RoleOptions};
use stdx::{Lifecycle, Secret, SharedClock, SharedRng};
use store::Full;
use store::pubsub::Pubsub;
use telemetry::{DuplicateMetric, Registry};
use url::Url;

use crate::daemon::Daemons;
use crate::gateway::{self, ProviderFeed, StoreSink};
use crate::jobs::{Jobs, Retention};

/// What the deployment was told about itself.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one independent switch each")]
pub struct Settings {
    /// Where people and clients find this deployment.
    pub access_url: Url,
    /// Version of the program.
    pub version: String,
    /// Made once per database.
    pub deployment_id: String,
    /// Sessions made by a login.
    pub session_duration: Duration,
    /// Tokens that ask for no lifetime.
    pub default_token_lifetime: Duration,
    /// Longest lifetime of a token.
    pub max_token_lifetime: Duration,
    /// The same for owners; replaces the other.
    pub max_admin_token_lifetime: Duration,
    /// Whether nobody may log in with a password.
    pub disable_password_auth: bool,
    /// Whether cookies travel over TLS only.
    pub secure_cookies: bool,
    /// `lax` or `none`.
    pub same_site: &'static str,
    /// Whether the gateway answers; otherwise its routes are 404.
    pub gateway_enabled: bool,
    /// Whether requests may ask for the decisions that were taken for them. For development.
    pub record_authz_checks: bool,
}

/// All that handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
#[expect(missing_docs, reason = "named by their types")]
pub struct Parts {
    pub store: Full,
    pub authn: Authn,
    pub resolver: Resolver,
    pub passwords: Passwords,
    pub catalog: Arc<Catalog>,
    pub gateway: Arc<Gateway>,
    pub records: StoreSink,
    pub daemons: Daemons,
    pub pubsub: Pubsub,
    pub clock: SharedClock,
    pub rng: SharedRng,
    pub metrics: Registry,
    pub http_metrics: HttpMetrics,
    pub settings: Settings,
}

/// What an [`App`] is built on.
#[derive(Debug)]
pub struct Base {
    /// The full store over a prepared database.
    pub store: Full,
    /// The same database, for the listening connection.
    pub database_url: Secret<String>,
    /// What the deployment was told about itself.
    pub settings: Settings,
    /// The switches that change built-in roles.
    pub roles: RoleOptions,
    /// Whether use prolongs a key.
    pub sliding_sessions: bool,
    /// How the gateway behaves.
    pub gateway: GatewaySettings,
    /// Where the gateway's facts are until they are stored. Needed when the gateway is enabled.
    pub spool: Option<LedgerSettings>,
    /// How long what is kept.
    pub retention: Retention,
    /// Source of times.
    pub clock: SharedClock,
    /// Source of identifiers and secrets.
    pub rng: SharedRng,
    /// Where everything counts.
    pub registry: Registry,
}

/// Why an [`App`] cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A metric is declared twice.
    #[error(transparent)]
    Metrics(#[from] DuplicateMetric),
    /// The gateway would have no place for its facts.
    #[error("the AI gateway cannot record what it does")]
    Spool(#[from] OpenError),
    /// The same, for want of settings.
    #[error("the AI gateway has no spool")]
    NoSpool,
}

impl App {
    /// Builds everything above the store and starts what runs in the background: notices, the ledger, the
    /// provider feed. All of it ends with `lifecycle`.
    ///
    /// # Errors
    /// If the spool cannot be opened and the gateway is enabled, or a metric is declared twice.
    pub async fn start(base: Base, lifecycle: &Lifecycle) -> Result<Self, StartError> {
        let Base {
            store,
            database_url,
            settings,
            roles,
            sliding_sessions,
            gateway,
            spool,
            retention,
            clock,
            rng,
            mut registry,
        } = base;
        let pubsub = Pubsub::start(database_url, lifecycle);
        let catalog = Arc::new(Catalog::new(roles));
        let rules = SessionRules { duration: settings.session_duration, sliding: sliding_sessions };
        let authn = Authn::new(
            store.clone(),
            Arc::clone(&catalog),
            Arc::clone(&clock),
            Arc::clone(&rng),
            rules,
        );
        let resolver = Resolver::start(authn.clone(), &pubsub, lifecycle);
        let records = StoreSink::new(store.clone(), Arc::clone(&clock), &mut registry)?;
        let jobs =
            Jobs { store: &store, records: &records, roles, retention, clock: &clock, rng: &rng };
        jobs.start(&mut registry, lifecycle)?;
        let opened = spool.map(|spool| Ledger::open(spool, lifecycle, &mut registry));
        let recorder = gateway::recorder(opened, &records, settings.gateway_enabled, lifecycle)?;
        let gateway = Gateway::new(
            gateway,
            gateway::authenticator(resolver.clone()),
            recorder,
            Arc::clone(&clock),
            Arc::clone(&rng),
            registry.raw_mut(),
        );
        let feed = ProviderFeed::new(store.clone(), Arc::clone(&gateway), &pubsub);
        let base = (&store, &clock, &rng);
        let daemons = Daemons::start(base, &pubsub, feed.daemons(), &mut registry, lifecycle)?;
        feed.start(lifecycle).await;
        let http_metrics = HttpMetrics::register(&mut registry)?;
        let passwords = Passwords::new(Arc::clone(&rng));
        Ok(Self(Arc::new(Parts {
            store,
            authn,
            resolver,
            passwords,
            catalog,
            gateway,
            records,
            daemons,
            pubsub,
            clock,
            rng,
            metrics: registry,
            http_metrics,
            settings,
        })))
    }

    /// The metrics of the process as they are now, in the text format.
    #[must_use]
    pub fn measured(&self) -> String {
        self.daemons.measure();
        self.metrics.encode()
    }

    /// The whole server: every route with every layer around it.
    pub fn serve(&self, http: HttpSettings) -> Router {
        let settings = httpmw::Settings {
            rng: Arc::clone(&self.rng),
            clock: Arc::clone(&self.clock),
            metrics: self.http_metrics.clone(),
            trusted_proxies: http.trusted_proxies,
            build_version: http.build_version,
            hsts: http.hsts,
            body_bytes_max: httpmw::BODY_BYTES_MAX,
            in_flight_max: 0,
        };
        httpmw::apply(crate::routes::router(self), settings)
    }
}

/// What the HTTP layers are told by configuration.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Who may tell us the client's address.
    pub trusted_proxies: httpmw::TrustedProxies,
    /// Value of `X-Coder-Build-Version`.
    pub build_version: http::HeaderValue,
    /// Strict-Transport-Security.
    pub hsts: Option<httpmw::Hsts>,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("settings", &self.settings).finish_non_exhaustive()
    }
}
