//! The only way to a store: connect, migrate, check the keys, and hand out the full stack.

use std::sync::Arc;
use std::time::Duration;

use crypt::Keyring;
use diesel::sql_types::Integer;
use diesel::{ConnectionError, ConnectionResult, QueryableByName};
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use futures_util::FutureExt as _;
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt as _;
use stdx::{Backoff, Secret, SharedClock, SharedRng};
use telemetry::Registry;
use tokio::time::Instant;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::Source;
use crate::metrics::Metrics;
use crate::patience::{self, outlast};
use crate::stack::postgres::STATEMENT_DEADLINE;
use crate::stack::{Authz, Crypt, Full, Judge, Postgres};
use crate::{Error, audit_chain, dbcrypt, migrate};

/// How long a request waits for a free connection before it is answered 503.
const WAIT_DEADLINE: Duration = Duration::from_secs(10);
/// The oldest server that will do.
const SERVER_VERSION_MIN: i32 = 140_000;

/// Where the database is and how it is used.
#[derive(Debug)]
pub struct ConnectOptions {
    /// `postgres://…`. `sslmode=disable` turns TLS off, `prefer` and `require` verify the server against
    /// the platform's roots.
    pub url: Secret<String>,
    /// Most connections held at once.
    pub connections_max: usize,
    /// Keys of sealed columns; empty = encryption off.
    pub keyring: Keyring,
    /// Source of nonces.
    pub rng: SharedRng,
    /// Source of times.
    pub clock: SharedClock,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is not one.
    #[error("the PostgreSQL connection URL is not valid (special characters must be URL-encoded)")]
    Url(#[source] tokio_postgres::Error),
    /// No answer within half a minute.
    #[error("unable to connect to PostgreSQL after {tries} tries")]
    Unreachable {
        /// How often it was tried.
        tries: u32,
        /// The last failure.
        #[source]
        source: Source,
    },
    /// Too old a server.
    #[error("PostgreSQL version must be 14 or higher, this server says {0}")]
    TooOld(i32),
    /// A migration failed; it was rolled back.
    #[error("could not bring the schema up to date")]
    Migrate(#[source] Source),
    /// Someone ran a newer program here.
    #[error(
        "the database has migration {version}, which this program does not know: run a newer program"
    )]
    NewerSchema {
        /// The unknown version.
        version: String,
    },
    /// The configured encryption keys do not fit the database.
    #[error("the encryption keys do not fit this database")]
    Keys(#[source] dbcrypt::KeyCheckError),
    /// Anything else.
    #[error("could not set up the connection pool")]
    Setup(#[source] Source),
}

impl Full {
    /// Connects, migrates, checks the keys. Starts over if the database goes away meanwhile.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(
        options: ConnectOptions,
        registry: &mut Registry,
    ) -> Result<Self, ConnectError> {
        let config: Config = options.url.expose().parse().map_err(ConnectError::Url)?;
        let pool = pool(&config, options.connections_max)?;
        let ring = Arc::new(options.keyring);
        outlast(async || {
            let ran = migrate::run(first_connection(&config).await?).await?;
            if !ran.is_empty() {
                tracing::info!(count = ran.len(), "migrated the database");
            }
            dbcrypt::check(&pool, &ring, &options.rng, &options.clock)
                .await
                .map_err(ConnectError::Keys)?;
            audit_chain::adopt(&pool, &options.clock)
                .await
                .map_err(|error| ConnectError::Setup(Box::new(error)))
        })
        .await?;
        let postgres = Postgres {
            pool,
            metrics: Metrics::new(registry)
                .map_err(|source| ConnectError::Setup(Box::new(source)))?,
            no_keys: Arc::new(Keyring::empty()),
            rng: Arc::clone(&options.rng),
            deadline: STATEMENT_DEADLINE,
        };
        let judge = Judge::new(registry).map_err(|source| ConnectError::Setup(Box::new(source)))?;
        Ok(Authz { inner: Crypt { inner: postgres, ring, rng: options.rng }, judge })
    }

    /// With another deadline of statements than 30 seconds. The server gives a statement up after 30 seconds in
    /// any case; a shorter deadline is about servers that cannot be reached any more.
    #[must_use]
    pub fn with_statement_deadline(mut self, deadline: Duration) -> Self {
        self.inner.inner.deadline = deadline;
        self
    }

    /// Whether the database answers, and how fast.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it does not answer within five seconds.
    pub async fn ping(&self) -> Result<Duration, Error> {
        let started = Instant::now();
        let answer = tokio::time::timeout(Duration::from_secs(5), async {
            let mut conn = self.inner.inner.pool.get().await.map_err(Error::unavailable)?;
            crate::stack::postgres::ping(&mut conn).await
        });
        let answer = answer.await.map_err(Error::unavailable).flatten();
        if answer.is_err() {
            self.inner.inner.forget_idle();
        }
        answer.map(|()| started.elapsed())
    }
}

/// Whether a database takes connections at this address.
pub async fn answers(url: &Secret<String>) -> bool {
    let Ok(config) = url.expose().parse::<Config>() else { return false };
    matches!(tokio::time::timeout(Duration::from_secs(5), dial(&config)).await, Ok(Ok(_)))
}

#[derive(QueryableByName)]
struct ServerVersion {
    #[diesel(sql_type = Integer)]
    version: i32,
}

async fn first_connection(config: &Config) -> Result<AsyncPgConnection, ConnectError> {
    let deadline = Instant::now() + patience::DEADLINE;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
    let mut tries = 0;
    let mut conn = loop {
        tries += 1;
        match tokio::time::timeout(Duration::from_secs(5), dial(config)).await {
            Ok(Ok(conn)) => break conn,
            Ok(Err(source)) if Instant::now() >= deadline => {
                return Err(ConnectError::Unreachable { tries, source: Box::new(source) });
            }
            Err(source) if Instant::now() >= deadline => {
                return Err(ConnectError::Unreachable { tries, source: Box::new(source) });
            }
            Ok(Err(_)) | Err(_) => tokio::time::sleep(backoff.pause()).await,
        }
    };
    let server: ServerVersion =
        diesel::sql_query("SELECT current_setting('server_version_num')::int AS version")
            .get_result(&mut conn)
            .await
            .map_err(|source| ConnectError::Setup(Box::new(Error::from(source))))?;
    if server.version < SERVER_VERSION_MIN {
        return Err(ConnectError::TooOld(server.version / 10_000));
    }
    if let Err(error) = conn.batch_execute(ENGLISH).await {
        tracing::warn!(
            error = %stdx::chain(&error),
            "the server's messages are not in English: what it says of values that it cannot hold is not \
             understood; set lc_messages = 'C' for this database"
        );
    }
    Ok(conn)
}

fn pool(config: &Config, connections_max: usize) -> Result<Pool<AsyncPgConnection>, ConnectError> {
    let mut manager = ManagerConfig::default();
    // A broken connection shows at its next statement; asking first would cost a round trip each time.
    manager.recycling_method = RecyclingMethod::Fast;
    let config = config.clone();
    manager.custom_setup = Box::new(move |_| {
        let config = config.clone();
        async move {
            let mut conn = dial(&config).await?;
            conn.batch_execute(&session())
                .await
                .map_err(|error| ConnectionError::BadConnection(stdx::chain(&error).to_string()))?;
            // Whether it may be asked for was told when the program started.
            let _ = conn.batch_execute(ENGLISH).await;
            Ok(conn)
        }
        .boxed()
    });
    // The address went into the closure: the manager would show it in its errors.
    let manager = AsyncDieselConnectionManager::new_with_config("", manager);
    Pool::builder(manager)
        .max_size(connections_max.max(2))
        .runtime(deadpool::Runtime::Tokio1)
        .wait_timeout(Some(WAIT_DEADLINE))
        .create_timeout(Some(WAIT_DEADLINE))
        .build()
        .map_err(|source| ConnectError::Setup(Box::new(source)))
}

/// Some errors are told apart by their texts. To choose their language takes a right that is seldom given, and
/// that is asked for only where the language is another one.
const ENGLISH: &str = "SELECT set_config('lc_messages', 'C', false)
    WHERE current_setting('lc_messages') !~* '^((c|posix)(\\.|$)|en)'";

/// What the server itself puts an end to: a statement that nobody waits for any more, also inside of
/// transactions, and a transaction whose program went away with its locks. And no compilation of plans: it takes
/// seconds for a plan of many partitions, also when what is found are a few rows.
fn session() -> String {
    let millis = STATEMENT_DEADLINE.as_millis();
    format!(
        "SET statement_timeout = {millis}; SET idle_in_transaction_session_timeout = {}; SET jit = off",
        2 * millis
    )
}

/// Dials with or without TLS, as the address asks.
pub(crate) async fn dial(config: &Config) -> ConnectionResult<AsyncPgConnection> {
    let bad = |error: tokio_postgres::Error| {
        ConnectionError::BadConnection(stdx::chain(&error).to_string())
    };
    if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await.map_err(bad)?;
        return AsyncPgConnection::try_from_client_and_connection(client, connection).await;
    }
    let (client, connection) = config.connect(tls()?).await.map_err(bad)?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}

/// TLS 1.2 or newer, verified against the platform's roots.
pub(crate) fn tls() -> ConnectionResult<MakeRustlsConnect> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(rustls::ConfigBuilder::with_platform_verifier)
        .map_err(|error| ConnectionError::BadConnection(error.to_string()))?
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
