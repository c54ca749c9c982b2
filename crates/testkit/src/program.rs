//! A program of ours as a process: started with nothing in its environment but what a test says, watched,
//! and ended.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, interval};

/// How long a start or an end may take. A first start initialises a database on a busy machine.
pub const LIMIT: Duration = Duration::from_mins(1);
/// How often a state is looked at.
const STEP: Duration = Duration::from_millis(20);

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `path` with `args` and the variables of `environment`, besides `PATH`. What it prints is added
    /// to `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[expect(clippy::unwrap_used, reason = "a test without its program has failed")]
    #[must_use]
    pub fn start<'a>(
        path: &Path,
        args: &[&str],
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
        log: &Path,
    ) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(path)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log: log.to_owned() }
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file that has what it printed.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// What it printed, with what earlier ones added to the same file.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until something holds while it runs.
    ///
    /// # Panics
    /// If it exits, or if that takes too long.
    #[expect(clippy::panic, reason = "a test that waits in vain has failed")]
    pub async fn until(&mut self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        let mut step = interval(STEP);
        loop {
            step.tick().await;
            if let Some(success) = self.exited() {
                panic!("it exited (success: {success}) before {what}: {}", self.log());
            }
            if holds().await {
                return;
            }
            assert!(Instant::now() < deadline, "waited in vain: {what}: {}", self.log());
        }
    }

    /// Whether it has exited, and then whether it called that a success.
    pub fn exited(&mut self) -> Option<bool> {
        self.child.try_wait().ok().flatten().map(|status| status.success())
    }

    /// Waits for its end; whether it called that a success.
    ///
    /// # Panics
    /// If it goes on running.
    pub async fn ended(&mut self) -> bool {
        let deadline = Instant::now() + LIMIT;
        let mut step = interval(STEP);
        loop {
            step.tick().await;
            if let Some(success) = self.exited() {
                return success;
            }
            assert!(Instant::now() < deadline, "it goes on running: {}", self.log());
        }
    }

    /// Ends it as if by a crash.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        // It may have ended by itself.
        let _ = signal(name, self.id());
    }

    /// Asks it to end and waits for it; whether it called that a success.
    pub async fn interrupt(&mut self) -> bool {
        self.signal("INT");
        self.ended().await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a process a signal by name, such as `KILL`. Whether there is one.
#[must_use = "there may be no such process"]
pub fn signal(name: &str, pid: u32) -> bool {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    status.is_ok_and(|status| status.success())
}

/// A port of loopback that nobody listens on, for a program that cannot tell which one it took.
///
/// # Panics
/// If there is none.
#[expect(clippy::unwrap_used, reason = "a test without a port has failed")]
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
