use std::fmt;
use std::path::Path;
use std::time::Duration;

use stdx::{Lifecycle, Secret};
use tokio::sync::watch;

use crate::account::Account;
use crate::discover::{self, Server};
use crate::launch::Launch;
use crate::layout::Layout;
use crate::supervisor::{Status, Supervisor};
use crate::{Connection, Error, Phase, Settings, download, initdb, orphan};

/// How often another port is chosen when one is lost between our look and the server's.
const PORT_TRIES: usize = 5;
/// Longer than all the deadlines of one stop.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// A PostgreSQL server that belongs to this process.
///
/// Dropping it stops the server in the background; [`Cluster::stop`] also waits for that.
pub struct Cluster {
    connection: Connection,
    major: u32,
    status: watch::Receiver<Status>,
    lifecycle: Lifecycle,
}

impl Cluster {
    /// Starts the server of `settings.data_dir`, with all that this takes: finding or downloading the
    /// programs, making the cluster, ending a server that a killed owner left behind, crash recovery.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let progress = settings.progress.as_ref();
        let rng = settings.rng.as_ref();
        let data_dir = settings.data_dir.clone();
        let (layout, account, lock) =
            blocking(&settings.data_dir, move || Layout::take(&data_dir)).await?;

        progress.phase(Phase::Locating);
        let had = layout.major()?;
        let server = locate(&settings, &layout, &account, had).await?;
        // Before the port is looked at: the server that was left behind may sit on it.
        orphan::settle(&layout.pg(), progress).await?;
        let (password, is_new) = layout.password(rng)?;
        if had.is_none() {
            progress.phase(Phase::Initialising);
            initdb::initialise(&layout, &server, &account, &password, settings.durable, rng)
                .await?;
        } else if is_new {
            tracing::warn!("the password file of the database was lost: setting a new password");
            initdb::set_password(&layout, &server, &account, &password).await?;
        }

        let mut launch = Launch {
            pg: layout.pg(),
            start_log: layout.start_log(),
            port: layout.port(settings.port, rng)?,
            durable: settings.durable,
            server,
            account,
        };
        let mut tries = 1;
        let running = loop {
            match launch.start(progress).await {
                Err(Error::PortTaken { port }) if settings.port.is_none() && tries < PORT_TRIES => {
                    tries += 1;
                    launch.port = layout.new_port(rng)?;
                    tracing::warn!(
                        taken = port,
                        port = launch.port,
                        "the port of the database is taken: chose another"
                    );
                }
                result => break result?,
            }
        };

        let (sender, status) = watch::channel(Status::Up { starts: 1 });
        let lifecycle = Lifecycle::new();
        let cluster = Self {
            connection: Connection::new(launch.port, password),
            major: launch.server.major,
            status,
            lifecycle: lifecycle.clone(),
        };
        let supervisor =
            Supervisor { launch, status: sender, stopping: lifecycle.stopping(), lock };
        lifecycle.spawn("postgres", supervisor.run(running));
        Ok(cluster)
    }

    /// How to reach the server of a data directory that another process runs, or that will be started
    /// later: password and port are chosen now if they were not yet.
    pub async fn connection_of(settings: Settings) -> Result<Connection, Error> {
        let data_dir = settings.data_dir.clone();
        blocking(&data_dir, move || {
            let (layout, _) = Layout::open(&settings.data_dir)?;
            layout.connection(&settings)
        })
        .await
    }

    /// How to reach the server. Stays true across its restarts.
    #[must_use]
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// See [`Connection::url`].
    #[must_use]
    pub fn url(&self) -> Secret<String> {
        self.connection.url()
    }

    /// See [`Connection::psql_line`].
    #[must_use]
    pub fn psql_line(&self) -> Secret<String> {
        self.connection.psql_line()
    }

    /// Major version of the server.
    #[must_use]
    pub const fn major(&self) -> u32 {
        self.major
    }

    /// Tells how the server is, now and at each change.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Stops the server: open transactions are rolled back, data is written out, connections are closed.
    /// Takes 50 seconds at the very most; then it is killed, and recovers at its next start. Stopping
    /// twice is harmless.
    pub async fn stop(&self) {
        self.lifecycle.stop(STOP_LIMIT).await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.lifecycle.begin_stop();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("connection", &self.connection)
            .field("major", &self.major)
            .field("status", &*self.status.borrow())
            .finish_non_exhaustive()
    }
}

/// An installed server that fits the data, else a downloaded one.
async fn locate(
    settings: &Settings,
    layout: &Layout,
    account: &Account,
    wanted: Option<u32>,
) -> Result<Server, Error> {
    let downloaded = [download::cached(&settings.cache_dir), layout.servers()];
    let refused = match discover::find(&settings.search, &downloaded, account, wanted).await {
        Ok(server) => return Ok(server),
        Err(refused) => refused,
    };
    let source = if settings.download {
        let place = download::place(&settings.cache_dir, layout.servers(), account);
        let (rng, progress) = (settings.rng.as_ref(), settings.progress.as_ref());
        match download::download(&place, wanted, account, rng, progress).await {
            Ok(server) => return Ok(server),
            Err(error) => Some(error),
        }
    } else {
        None
    };
    Err(Error::NoServer { wanted, refused, download: settings.download, source })
}

/// Runs file work where it holds nobody up.
async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::io("prepare", path)(std::io::Error::other(error))),
    }
}
