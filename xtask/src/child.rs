//! Servers that run as long as the command that started them.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How often states are looked at that nobody tells about.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// How much of a log is shown when its process fails.
const TAIL_BYTES: u64 = 4_096;
/// A log that is longer when a server starts is put aside.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// Whether the user asked the command to end.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over Ctrl-C, SIGTERM and SIGHUP: from now on they only set a flag.
    pub(crate) fn install() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in
            [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .context("cannot take over the signals")?;
        }
        Ok(Self(flag))
    }

    /// Whether a signal came since the last [`Interrupt::rearm`].
    pub(crate) fn came(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits for the next signal anew.
    pub(crate) fn rearm(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// An error if a signal came.
    pub(crate) fn check(&self) -> Result<()> {
        if self.came() {
            bail!("interrupted");
        }
        Ok(())
    }
}

/// One server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    child: Child,
    log: PathBuf,
    /// Where in the log this run begins.
    from: u64,
    grace: Duration,
    ended: bool,
}

impl Server {
    /// Starts a server in a process group of its own, so that the terminal's Ctrl-C reaches it only through
    /// us. What it prints is appended to `log`.
    pub(crate) fn start(
        name: &'static str,
        command: &mut Command,
        log: &Path,
        grace: Duration,
    ) -> Result<Self> {
        turn_over(log)?;
        let file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(log)
            .with_context(|| format!("cannot open {}", log.display()))?;
        let from = file.metadata().map_or(0, |meta| meta.len());
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log: log.to_path_buf(), from, grace, ended: false })
    }

    /// How the server ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait().context("cannot look after a child")?;
        self.ended |= status.is_some();
        Ok(status)
    }

    /// An error with the end of its log if the server has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} ended by itself ({status})\n{}", self.name, self.tail());
        }
        Ok(())
    }

    /// What this run printed, or the end of it.
    pub(crate) fn tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = fs::File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.from.max(length.saturating_sub(TAIL_BYTES))))?;
            let mut bytes = Vec::new();
            file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        match read() {
            Ok(text) => format!("the end of {}:\n{}", self.log.display(), text.trim_end()),
            Err(error) => format!("cannot read {}: {error}", self.log.display()),
        }
    }

    /// Waits for a file that the server writes when it is ready, and returns its text.
    pub(crate) fn ready_file(&mut self, file: &Path, interrupt: &Interrupt) -> Result<String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(text) = fs::read_to_string(file)
                && !text.is_empty()
            {
                return Ok(text.trim().to_owned());
            }
            self.check()?;
            interrupt.check()?;
            if Instant::now() > deadline {
                bail!("{} did not become ready\n{}", self.name, self.tail());
            }
            sleep(TICK);
        }
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the server as a crash would, whatever it is doing.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL);
        self.child.wait().context("cannot wait for a child")?;
        self.ended = true;
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Ok(raw) = i32::try_from(self.child.id())
            && let Some(pid) = Pid::from_raw(raw)
        {
            // It may have ended meanwhile, which is what is wanted.
            let _ = kill_process(pid, signal);
        }
    }

    /// Asks the server to end, waits, and kills it if it takes longer than its grace or `hurry` says so.
    pub(crate) fn stop(&mut self, hurry: impl Fn() -> bool) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        self.signal(Signal::INT);
        let deadline = Instant::now() + self.grace;
        while self.ended()?.is_none() {
            if Instant::now() > deadline || hurry() {
                self.kill()?;
                bail!("{} had to be killed", self.name);
            }
            sleep(TICK);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.ended
            && let Err(error) = self.stop(|| false)
        {
            eprintln!("{error:#}");
        }
    }
}

/// A command without options of ours from the environment, which would change what a check is about.
pub(crate) fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CODER_") {
            command.env_remove(name);
        }
    }
    command
}

/// Keeps a log of many runs from growing for ever: a long one is put aside, in place of the one before.
fn turn_over(log: &Path) -> Result<()> {
    if fs::metadata(log).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX) {
        fs::rename(log, log.with_extension("log.old"))
            .with_context(|| format!("cannot rename {}", log.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("xtask-{}-{name}.log", std::process::id()))
    }

    #[test]
    fn a_server_that_ends_by_itself_is_named_with_the_end_of_its_log() {
        let log = log("ends");
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such port; exit 3"]);
        let mut server = Server::start("demo", &mut command, &log, Duration::from_secs(5)).unwrap();
        let error = loop {
            if let Err(error) = server.check() {
                break error.to_string();
            }
            sleep(TICK);
        };
        assert!(
            error.contains("demo ended by itself") && error.contains("no such port"),
            "{error}"
        );
        fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_server_that_does_not_listen_is_killed() {
        let log = log("deaf");
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' INT; echo up; while :; do sleep 1; done"]);
        let mut server =
            Server::start("demo", &mut command, &log, Duration::from_millis(10)).unwrap();
        while fs::read_to_string(&log).unwrap().is_empty() {
            sleep(TICK);
        }
        let error = server.stop(|| false).unwrap_err();
        assert_eq!(error.to_string(), "demo had to be killed");
        fs::remove_file(log).unwrap();
    }
}
