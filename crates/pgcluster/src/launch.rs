use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use postgresql_commands::CommandBuilder as _;
use postgresql_commands::postgres::PostgresBuilder;
use rustix::process::Signal;
use tokio::process::Child;
use tokio::time::Instant;

use crate::account::Account;
use crate::child::as_account;
use crate::discover::Server;
use crate::orphan::{self, FAST_LIMIT, IMMEDIATE_LIMIT};
use crate::pidfile::PidFile;
use crate::probe::{Answer, probe};
use crate::server_log::LogMark;
use crate::{Error, Phase, Progress};

/// How long a server may take that has nothing to recover.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// How long a server may take that replays its log, up to 1 GB of it at the default `max_wal_size`.
const RECOVERY_LIMIT: Duration = Duration::from_mins(10);
/// How long processes of a killed server may hold on to its shared memory.
const HANDOVER_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
const HANDOVER_POLL: Duration = Duration::from_millis(100);

/// Settings of every run, given on the command line so that they hold for clusters of any age.
const PARAMETERS: [(&str, &str); 18] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("ssl", "off"),
    ("password_encryption", "scram-sha-256"),
    ("max_connections", "200"),
    ("shared_buffers", "128MB"),
    ("restart_after_crash", "on"),
    ("timezone", "UTC"),
    ("lc_messages", "C"),
    ("cluster_name", "coder"),
    // One file a weekday, begun anew each week.
    ("logging_collector", "on"),
    ("log_destination", "stderr"),
    ("log_directory", "log"),
    ("log_filename", "postgresql-%a.log"),
    ("log_truncate_on_rotation", "on"),
    ("log_rotation_age", "1d"),
    ("log_timezone", "UTC"),
    // Leaves out the details of violated constraints, which quote values.
    ("log_error_verbosity", "terse"),
];

/// For data that may be lost.
const FAST_PARAMETERS: [(&str, &str); 3] =
    [("fsync", "off"), ("full_page_writes", "off"), ("synchronous_commit", "off")];

/// All that is needed to start the server, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) server: Server,
    pub(crate) account: Account,
    pub(crate) pg: PathBuf,
    pub(crate) start_log: PathBuf,
    pub(crate) port: u16,
    pub(crate) durable: bool,
}

/// A server that takes connections. Dropped without [`Running::stop`], it is told to stop, and not waited
/// for.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
}

impl Launch {
    /// Starts the server and waits until it takes connections.
    pub(crate) async fn start(&self, progress: &dyn Progress) -> Result<Running, Error> {
        let began = Instant::now();
        loop {
            orphan::settle(&self.pg, progress).await?;
            match self.try_start(progress).await {
                Err(Error::Exited { log, .. })
                    if began.elapsed() < HANDOVER_LIMIT && is_handover(&log) =>
                {
                    tokio::time::sleep(HANDOVER_POLL).await;
                }
                Err(Error::Exited { log, .. }) if is_port_taken(&log) => {
                    return Err(Error::PortTaken { port: self.port });
                }
                result => return result,
            }
        }
    }

    async fn try_start(&self, progress: &dyn Progress) -> Result<Running, Error> {
        progress.phase(Phase::Starting);
        let mark = LogMark::now(&self.pg, &self.start_log);
        let mut running = self.spawn()?;
        let began = Instant::now();
        let mut recovering = false;
        loop {
            if let Some(status) = running.child.try_wait().map_err(self.waiting())? {
                return Err(Error::Exited { status: status.to_string(), log: mark.tail() });
            }
            // The file tells that it is our server; the port, that clients can reach it.
            let ready = PidFile::read(&self.pg).is_some_and(|file| {
                file.ready && u32::try_from(file.pid).ok() == running.child.id()
            });
            if ready && probe(self.port).await == Answer::Ready {
                progress.phase(Phase::Ready);
                return Ok(running);
            }
            if !recovering && mark.recovering() {
                recovering = true;
                progress.phase(Phase::Recovering);
            }
            let limit = if recovering { RECOVERY_LIMIT } else { READY_LIMIT };
            if began.elapsed() > limit {
                let log = mark.tail();
                running.stop().await;
                return Err(Error::NotReady { after: limit, log });
            }
            // Whichever comes first: the next look, or its end.
            let _ = tokio::time::timeout(POLL, running.child.wait()).await;
        }
    }

    fn spawn(&self) -> Result<Running, Error> {
        let mut builder =
            PostgresBuilder::new().program_dir(&self.server.bin).data_dir(&self.pg).port(self.port);
        let fast = if self.durable { &[][..] } else { &FAST_PARAMETERS };
        for (name, value) in PARAMETERS.iter().chain(fast) {
            builder = builder.runtime_param(name, value);
        }
        let log = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.start_log)
            .map_err(Error::io("write", &self.start_log))?;
        let again = log.try_clone().map_err(Error::io("write", &self.start_log))?;
        let mut command = as_account(builder.build(), &self.account);
        command.stdout(Stdio::from(log)).stderr(Stdio::from(again));
        let child = command.spawn().map_err(Error::io("run", self.server.bin.join("postgres")))?;
        Ok(Running { child })
    }

    fn waiting(&self) -> impl FnOnce(std::io::Error) -> Error {
        Error::io("wait for", self.server.bin.join("postgres"))
    }
}

impl Running {
    /// Resolves when the server has ended, however that came.
    pub(crate) async fn ended(&mut self) -> String {
        match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Ends the server: first in an orderly way, then at once, at last by force.
    pub(crate) async fn stop(mut self) {
        for (signal, limit) in [
            (Signal::INT, FAST_LIMIT),
            (Signal::QUIT, IMMEDIATE_LIMIT),
            (Signal::KILL, IMMEDIATE_LIMIT),
        ] {
            self.signal(signal);
            if let Ok(status) = tokio::time::timeout(limit, self.child.wait()).await {
                let clean = status.as_ref().is_ok_and(ExitStatus::success);
                tracing::debug!(clean, "the database server has stopped");
                return;
            }
            tracing::warn!(?signal, "the database server does not stop");
        }
    }

    fn signal(&self, signal: Signal) {
        // No number once the child has been waited for: nobody else can be hit.
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            orphan::kill(pid, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::INT);
    }
}

/// Processes of the last server are still ending.
fn is_handover(log: &str) -> bool {
    log.contains("pre-existing shared memory block")
        || log.contains("\"postmaster.pid\" already exists")
}

fn is_port_taken(log: &str) -> bool {
    log.contains("could not bind") || log.contains("could not create any TCP/IP sockets")
}
