//! A database of its own for each test, on a real PostgreSQL server.
//!
//! The first test of a process starts a scratch server and migrates one template database; every test then
//! gets a copy of it, which takes some tens of milliseconds. A copy is dropped after success and kept, with
//! its address printed, after a failure. The server ends with the process, however that ends.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;

use anyhow::{Context as _, Result};
use crypt::Keyring;
use pgcluster::{Cluster, Settings};
use stdx::{Secret, SharedClock, SharedRng, SystemClock, SystemRng};
use store::{ConnectOptions, Full};
use telemetry::Registry;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use crate::Relay;

const TEMPLATE: &str = "template_migrated";
/// Where a server is kept that had to be downloaded.
const CACHE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/postgres");
/// Space in memory for some dozens of databases at once.
const MEMORY_MIN_KIB: u64 = 2 * 1024 * 1024;

/// The server of this process.
struct Server {
    /// Address of the database `coder`, for administration.
    url: Secret<String>,
    /// What `CREATE DATABASE` ends with.
    strategy: &'static str,
    /// Databases to be dropped.
    finished: mpsc::Sender<String>,
}

static SERVER: OnceLock<Server> = OnceLock::new();
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A migrated database that one test may do anything to.
#[derive(Debug)]
pub struct TestDb {
    name: String,
    url: Secret<String>,
}

impl TestDb {
    /// A fresh copy of the template.
    ///
    /// # Panics
    /// If no PostgreSQL server can be had; the message says what to install.
    #[expect(clippy::panic, reason = "a test without its database has failed")]
    pub async fn new() -> Self {
        let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await;
        let made = match server {
            Ok(server) => Self::copy(server, TEMPLATE).await,
            Err(error) => Err(error.into()),
        };
        made.unwrap_or_else(|error| panic!("no test database: {error:#}"))
    }

    /// A database without any table.
    ///
    /// # Panics
    /// As [`TestDb::new`].
    #[expect(clippy::panic, reason = "a test without its database has failed")]
    pub async fn empty() -> Self {
        let server = tokio::task::spawn_blocking(|| SERVER.get_or_init(start)).await;
        let made = match server {
            Ok(server) => Self::copy(server, "template1").await,
            Err(error) => Err(error.into()),
        };
        made.unwrap_or_else(|error| panic!("no test database: {error:#}"))
    }

    async fn copy(server: &Server, template: &str) -> Result<Self> {
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let strategy = server.strategy;
        execute(&server.url, &format!("CREATE DATABASE {name} TEMPLATE {template} {strategy}"))
            .await?;
        Ok(Self { url: with_database(&server.url, &name), name })
    }

    /// Address of this database.
    #[must_use]
    pub const fn url(&self) -> &Secret<String> {
        &self.url
    }

    /// The same database through a [`Relay`], for those who want to cut it off.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn relayed(&self) -> Result<(Relay, Secret<String>)> {
        let config: Config = self.url.expose().parse()?;
        let port = *config.get_ports().first().context("the address has no port")?;
        let relay = Relay::to(SocketAddr::from(([127, 0, 0, 1], port))).await?;
        let url =
            self.url.expose().replace(&format!(":{port}/"), &format!(":{}/", relay.addr().port()));
        Ok((relay, Secret::new(url)))
    }

    /// The full store over the database of that address, such as that of [`TestDb::relayed`].
    ///
    /// # Errors
    /// As [`Full::connect`].
    pub async fn store_at(url: &Secret<String>) -> Result<Full> {
        connect(url, Keyring::empty(), SystemRng::shared(), SystemClock::shared()).await
    }

    /// The full store over this database, without encryption keys.
    ///
    /// # Errors
    /// As [`Full::connect`].
    pub async fn store(&self) -> Result<Full> {
        self.store_with(Keyring::empty()).await
    }

    /// The full store over this database.
    ///
    /// # Errors
    /// As [`Full::connect`].
    pub async fn store_with(&self, keyring: Keyring) -> Result<Full> {
        connect(&self.url, keyring, SystemRng::shared(), SystemClock::shared()).await
    }

    /// Runs SQL past all layers and returns the rows as text, NULL as `None`. For looking at what is really
    /// stored.
    ///
    /// # Errors
    /// If the statement fails.
    pub async fn sql(&self, statement: &str) -> Result<Vec<Vec<Option<String>>>> {
        execute(&self.url, statement).await
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        if thread::panicking() {
            // The server ends with the process, so the database can be looked at only under a debugger.
            eprintln!("the test's database was {}", self.name);
        } else if let Some(server) = SERVER.get() {
            let _ = server.finished.send(self.name.clone());
        }
    }
}

/// Starts the server on a thread and runtime of its own: each test has a runtime that ends with it.
#[expect(clippy::panic, reason = "without a server every test of the process fails")]
fn start() -> Server {
    let (ready, started) = mpsc::channel();
    let (finished, dropped) = mpsc::channel::<String>();
    thread::Builder::new()
        .name("testkit-postgres".to_owned())
        .spawn(move || serve(&ready, &dropped))
        .unwrap_or_else(|error| panic!("cannot start a thread: {error}"));
    match started.recv() {
        Ok(Ok((url, major))) => {
            // Copying files is twice as fast as logging pages, and all that older servers do.
            let strategy = if major < 15 { "" } else { "STRATEGY file_copy" };
            Server { url, strategy, finished }
        }
        Ok(Err(error)) => panic!("no PostgreSQL server for tests: {error:#}"),
        Err(gone) => panic!("the thread of the PostgreSQL server died: {gone}"),
    }
}

/// Runs the server until the process ends. Reports its address and major version, or why there is none.
fn serve(ready: &mpsc::Sender<Result<(Secret<String>, u32)>>, dropped: &mpsc::Receiver<String>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error.into()));
            return;
        }
    };
    let dir = match tempfile::Builder::new().prefix("testkit-").tempdir_in(folder()) {
        Ok(dir) => dir.keep(),
        Err(error) => {
            let _ = ready.send(Err(error.into()));
            return;
        }
    };
    // Held to the end of the process: its end is what the watchdog waits for.
    let _watchdog = watchdog(&dir);
    let started = runtime.block_on(async {
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        let cluster = Cluster::start(Settings::scratch(dir.join("postgres"), CACHE))
            .await
            .context("start PostgreSQL")?;
        let url = cluster.url();
        execute(&url, &format!("CREATE DATABASE {TEMPLATE}")).await?;
        let template = with_database(&url, TEMPLATE);
        drop(
            connect(&template, Keyring::empty(), SystemRng::shared(), SystemClock::shared())
                .await
                .context("migrate the template")?,
        );
        // A template with open connections cannot be copied.
        execute(
            &url,
            &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{TEMPLATE}'"),
        )
        .await?;
        anyhow::Ok((cluster, url))
    });
    match started {
        Ok((cluster, url)) => {
            let _ = ready.send(Ok((url.clone(), cluster.major())));
            while let Ok(name) = dropped.recv() {
                let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                if let Err(error) = runtime.block_on(execute(&url, &drop)) {
                    eprintln!("cannot drop {name}: {error:#}");
                }
            }
        }
        Err(error) => {
            let _ = ready.send(Err(error));
        }
    }
}

/// Where the data goes: into memory when there is room, which is five times as fast as a disk.
fn folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free = Command::new("df").arg("-Pk").arg(memory).output().ok().and_then(|df| {
        let text = String::from_utf8(df.stdout).ok()?;
        text.lines().nth(1)?.split_whitespace().nth(3)?.parse::<u64>().ok()
    });
    match free {
        Some(free) if free >= MEMORY_MIN_KIB => memory.to_owned(),
        _ => std::env::temp_dir(),
    }
}

/// A shell that outlives this process by a moment: when its input ends, it ends the server and removes the
/// directory.
fn watchdog(dir: &Path) -> Option<Child> {
    // Ctrl-C reaches the whole group; this one has to outlive it.
    let script = r#"trap '' INT TERM HUP
        read -r _
        [ -f "$1/postgres/pg/postmaster.pid" ] && kill -QUIT "$(head -n 1 "$1/postgres/pg/postmaster.pid")" 2>/dev/null
        for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" 2>/dev/null && exit 0; sleep 0.2; done"#;
    Command::new("sh")
        .arg("-c")
        .arg(script)
        .arg("testkit-watchdog")
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()
}

async fn connect(
    url: &Secret<String>,
    keyring: Keyring,
    rng: SharedRng,
    clock: SharedClock,
) -> Result<Full> {
    let options = ConnectOptions { url: url.clone(), connections_max: 8, keyring, rng, clock };
    Ok(Full::connect(options, &mut Registry::new()).await?)
}

async fn execute(url: &Secret<String>, statement: &str) -> Result<Vec<Vec<Option<String>>>> {
    let (client, connection) = tokio_postgres::connect(url.expose(), NoTls).await?;
    let (outcome, _) = tokio::join!(
        async {
            let outcome = client.simple_query(statement).await;
            drop(client);
            outcome
        },
        connection
    );
    let rows = outcome.with_context(|| format!("run {statement}"))?;
    Ok(rows
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
            }
            _ => None,
        })
        .collect())
}

fn with_database(url: &Secret<String>, name: &str) -> Secret<String> {
    let url = url.expose();
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let base = before.rsplit_once('/').map_or(before, |(base, _)| base);
    Secret::new(format!("{base}/{name}?{query}"))
}
