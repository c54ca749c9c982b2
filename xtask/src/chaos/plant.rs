//! The whole product as processes, each of which can be killed and started again.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use super::relay::Relay;
use super::schedule::Target;
use crate::child::{Interrupt, Server, TICK, clean};
use crate::control::{Control, DEMO_KEY, free_port, start_provider};
use crate::daemon::{Daemon, ensure_key};
use crate::served::{self, Served};
use crate::tree::output;

/// The provider's pause before each frame of a stream, so that there is something to break.
const FRAME_DELAY_MS: &str = "12";
/// Ports below those from which the system takes the near ends of connections: what was killed must find
/// its port free.
const PORTS: std::ops::Range<u16> = 12_000..30_000;
const GRACE: Duration = Duration::from_secs(45);
/// How often the provider is asked what it served.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Programs to run, out of reach of builds that go on meanwhile.
pub(super) struct Programs {
    pub(super) provider: PathBuf,
    pub(super) coderd: PathBuf,
    /// Absent: clients talk to the gateway in coderd.
    pub(super) daemon: Option<PathBuf>,
}

/// All processes.
pub(super) struct Plant {
    dir: PathBuf,
    programs: Programs,
    /// By what kills them, in the order in which they are stopped.
    running: BTreeMap<Target, Server>,
    provider: Server,
    pub(super) provider_url: String,
    ledger: Ledger,
    pub(super) database_url: String,
    coderd: SocketAddr,
    daemon: SocketAddr,
    /// Where each tells its metrics.
    metrics: BTreeMap<Target, SocketAddr>,
    link: Relay,
}

impl Plant {
    /// Starts provider, database and coderd, and waits until coderd is ready.
    pub(super) fn start(dir: &Path, programs: Programs, interrupt: &Interrupt) -> Result<Self> {
        let args = ["--delay-ms", FRAME_DELAY_MS];
        let (provider, provider_url) = start_provider(dir, &programs.provider, &args, interrupt)?;
        let mut next =
            PORTS.start + u16::try_from(std::process::id() % u32::from(PORTS.end - PORTS.start))?;
        let mut address = || -> Result<SocketAddr> {
            let port = free_port(next)?;
            next = port + 1;
            Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        };
        let coderd = address()?;
        let url =
            output(database(dir, &programs.coderd).args(["postgres-builtin-url", "--raw-url"]))?;
        let mut plant = Self {
            dir: dir.to_path_buf(),
            programs,
            running: BTreeMap::new(),
            provider,
            ledger: Ledger::new(&provider_url),
            provider_url,
            database_url: url.trim().to_owned(),
            link: Relay::start(coderd)?,
            coderd,
            daemon: address()?,
            metrics: BTreeMap::from([(Target::Coderd, address()?), (Target::Daemon, address()?)]),
        };
        plant.run(Target::Postgres)?;
        plant.run(Target::Coderd)?;
        plant.wait(Target::Coderd, interrupt)?;
        Ok(plant)
    }

    /// Starts aibridged, if it is part of the plant, with a key that `owner`'s token makes.
    pub(super) fn start_daemon(&mut self, owner: &str, interrupt: &Interrupt) -> Result<()> {
        ensure_key(&self.control().with_token(owner), &self.key_file(), "chaos")?;
        self.run(Target::Daemon)?;
        self.wait(Target::Daemon, interrupt)
    }

    fn key_file(&self) -> PathBuf {
        self.dir.join("gateway.key")
    }

    /// coderd's API.
    pub(super) fn control(&self) -> Control {
        Control::new(format!("http://{}", self.coderd))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where clients find the gateway.
    pub(super) const fn gateway(&self) -> SocketAddr {
        if self.programs.daemon.is_some() { self.daemon } else { self.coderd }
    }

    /// What goes wrong begins.
    pub(super) fn begin(&mut self, target: Target) -> Result<()> {
        match target {
            Target::LinkCut => self.link.cut(),
            Target::LinkSilent => self.link.silence(),
            Target::Daemon | Target::Coderd | Target::Postgres => {
                let Some(mut server) = self.running.remove(&target) else { return Ok(()) };
                let below = descendants(server.id());
                // First the one that would start the others again.
                server.kill()?;
                kill_all(&below)?;
            }
        }
        Ok(())
    }

    /// What goes wrong ends.
    pub(super) fn end(&mut self, target: Target) -> Result<()> {
        match target {
            Target::LinkCut | Target::LinkSilent => {
                self.link.mend();
                Ok(())
            }
            Target::Postgres | Target::Coderd | Target::Daemon => self.run(target),
        }
    }

    fn run(&mut self, target: Target) -> Result<()> {
        let coderd = self.coderd.to_string();
        let (name, mut command) = match target {
            Target::LinkCut | Target::LinkSilent => return Ok(()),
            Target::Postgres => {
                let mut command = database(&self.dir, &self.programs.coderd);
                command.arg("postgres-builtin-serve");
                ("postgres", command)
            }
            Target::Coderd => {
                let mut command = clean(&self.programs.coderd);
                command
                    .arg("server")
                    .env("CODER_HTTP_ADDRESS", &coderd)
                    .env("CODER_ACCESS_URL", format!("http://{coderd}"))
                    .env("CODER_PG_CONNECTION_URL", &self.database_url)
                    .env("CODER_AI_GATEWAY_SPOOL_DIR", self.dir.join("coderd-spool"));
                ("coderd", command)
            }
            Target::Daemon => {
                let Some(command) = self.daemon_command() else { return Ok(()) };
                ("aibridged", command)
            }
        };
        if let Some(address) = self.metrics.get(&target) {
            command.env("CODER_PROMETHEUS_ENABLE", "true");
            command.env("CODER_PROMETHEUS_ADDRESS", address.to_string());
        }
        let log = self.dir.join(format!("{name}.log"));
        self.running.insert(target, Server::start(name, &mut command, &log, GRACE)?);
        Ok(())
    }

    /// aibridged with its options, if it is part of the plant.
    fn daemon_command(&self) -> Option<Command> {
        let mut command = clean(self.programs.daemon.as_ref()?);
        let daemon = Daemon {
            coderd: &format!("http://{}", self.link.addr),
            key_file: &self.key_file(),
            address: &self.daemon.to_string(),
            spool: &self.dir.join("aibridged-spool"),
        };
        daemon.configure(&mut command);
        Some(command)
    }

    /// Facts that gateways have on disk and coderd has not stored; nothing while a gateway does not say.
    pub(super) fn waiting(&self) -> Result<Option<u64>> {
        self.sum("coder_ai_gateway_spool_waiting_facts")
    }

    /// Facts that gateways say they have lost since their last start.
    pub(super) fn lost(&self) -> Result<u64> {
        let name = "coder_ai_gateway_spool_lost_facts_total";
        self.sum(name)?.with_context(|| format!("a gateway has no metric {name}"))
    }

    /// Facts that were put aside because they could not be stored, ever since the first start.
    pub(super) fn put_aside(&self) -> Result<u64> {
        let mut lines = 0;
        for spool in ["aibridged-spool", "coderd-spool"] {
            let path = self.dir.join(spool).join("refused.jsonl");
            match fs::read_to_string(&path) {
                Ok(text) => lines += text.lines().count() as u64,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => bail!("cannot read {}: {error}", path.display()),
            }
        }
        Ok(lines)
    }

    /// What must be in no log.
    pub(super) fn secrets(&self) -> Result<Vec<String>> {
        let mut secrets = vec![DEMO_KEY.to_owned()];
        if self.programs.daemon.is_some() {
            let key = fs::read_to_string(self.key_file()).context("cannot read the gateway key")?;
            secrets.push(key.trim().to_owned());
        }
        Ok(secrets)
    }

    /// The sum of a metric over all gateways and labels; nothing if one of them does not have it.
    fn sum(&self, name: &str) -> Result<Option<u64>> {
        let mut sum = 0;
        for (target, address) in &self.metrics {
            if self.running.contains_key(target) {
                let page = Control::new(format!("http://{address}")).get("/metrics")?;
                let page = page.expect("asking for metrics", &[200])?;
                let Some(total) = total(page.as_str().unwrap_or_default(), name) else {
                    return Ok(None);
                };
                sum += total;
            }
        }
        Ok(Some(sum))
    }

    /// What `aibridged ledger verify` says, and whether it is content.
    pub(super) fn verify(&self) -> Result<Option<(bool, String)>> {
        let Some(mut command) = self.daemon_command() else { return Ok(None) };
        let told = command.args(["ledger", "verify"]).output().context("cannot run aibridged")?;
        let text =
            [told.stdout, told.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Some((told.status.success(), text.concat())))
    }

    /// An error if something that should run does not; and asks the provider what it served.
    pub(super) fn look(&mut self) -> Result<()> {
        self.provider.check()?;
        for server in self.running.values_mut() {
            server.check()?;
        }
        self.ledger.look(false)
    }

    /// Waits until everything serves.
    pub(super) fn ready(&mut self, interrupt: &Interrupt) -> Result<()> {
        self.wait(Target::Coderd, interrupt)?;
        if self.programs.daemon.is_some() {
            self.wait(Target::Daemon, interrupt)?;
        }
        Ok(())
    }

    fn wait(&mut self, target: Target, interrupt: &Interrupt) -> Result<()> {
        let addr = if target == Target::Daemon { self.daemon } else { self.coderd };
        let server = self.running.get_mut(&target).context("it was not started again")?;
        Control::new(format!("http://{addr}")).ready(server, interrupt, |_| {})
    }

    /// All exchanges of the provider so far.
    pub(super) fn served(&mut self) -> Result<Vec<Served>> {
        self.ledger.look(true)?;
        Ok(self.ledger.rows.values().cloned().collect())
    }

    /// Stops everything, the database after those that use it and the provider last.
    pub(super) fn stop(&mut self, hurry: impl Fn() -> bool) -> Result<()> {
        let mut stopped = Ok(());
        for server in self.running.values_mut().chain([&mut self.provider]) {
            stopped = stopped.and(server.stop(&hurry));
        }
        stopped
    }

    /// The ends of all logs.
    pub(super) fn tails(&self) -> Vec<String> {
        self.running.values().map(Server::tail).collect()
    }
}

/// The program that keeps a PostgreSQL of its own, without coderd.
fn database(dir: &Path, coderd: &Path) -> Command {
    let mut command = clean(coderd);
    command.arg("server").env("CODER_PG_DATA_DIR", dir.join("postgres"));
    command
}

/// Kills processes; some may have ended by themselves, as PostgreSQL's do when the first of them is gone.
fn kill_all(pids: &[i32]) -> Result<()> {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        match kill_process(pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error).context("cannot kill a process"),
        }
    }
    Ok(())
}

/// All processes below one, parents before children.
fn descendants(of: u32) -> Vec<i32> {
    let all = processes();
    let mut found: Vec<i32> = i32::try_from(of).into_iter().collect();
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, above)| *above == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.drain(..1.min(found.len()));
    found
}

/// Every process of the machine with its parent.
fn processes() -> Vec<(i32, i32)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        let listed =
            output(Command::new("ps").args(["-A", "-o", "pid=,ppid="])).unwrap_or_default();
        let pair = |line: &str| {
            let mut words = line.split_whitespace().map(str::parse);
            Some((words.next()?.ok()?, words.next()?.ok()?))
        };
        return listed.lines().filter_map(pair).collect();
    };
    let entry = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in parentheses may hold anything; state and parent follow it.
        let (_, rest) = stat.rsplit_once(')')?;
        Some((pid, rest.split_whitespace().nth(1)?.parse().ok()?))
    };
    entries.flatten().filter_map(entry).collect()
}

/// What the provider served, collected while it runs: it keeps the latest exchanges only.
struct Ledger {
    control: Control,
    rows: BTreeMap<u64, Served>,
    asked: Instant,
}

impl Ledger {
    fn new(url: &str) -> Self {
        Self { control: Control::new(url.to_owned()), rows: BTreeMap::new(), asked: Instant::now() }
    }

    fn look(&mut self, now: bool) -> Result<()> {
        if !now && self.asked.elapsed() < ASK_EVERY {
            return Ok(());
        }
        self.asked = Instant::now();
        // What was still open is asked for again.
        let open = self.rows.values().find(|row| row.ending == "open").map(|row| row.seq - 1);
        let after = open.or_else(|| self.rows.keys().next_back().copied()).unwrap_or(0);
        let list = self.control.get(&format!("/__served?after={after}"))?;
        let list = list.expect("asking the provider", &[200])?;
        for row in served::parse(&list)? {
            self.rows.insert(row.seq, row);
        }
        Ok(())
    }
}

/// The sum of all lines of a metric in a page of them; what does not count is 0.
fn total(page: &str, name: &str) -> Option<u64> {
    let value = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let own = series.split('{').next() == Some(name);
        own.then(|| value.parse::<u64>().ok()).flatten()
    };
    page.lines().filter_map(value).reduce(|sum, value| sum + value)
}

/// Waits in short steps until `until`.
pub(super) fn pause(until: Instant) {
    std::thread::sleep(until.saturating_duration_since(Instant::now()).min(TICK));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels_and_no_other() {
        let page =
            "# HELP a what\n# TYPE a gauge\na 4\nab 8\nb{x=\"a 1\"} 2\nb{x=\"y\"} 3\n# EOF\n";
        for (name, sum) in [("a", Some(4)), ("b", Some(5)), ("ab", Some(8)), ("c", None)] {
            assert_eq!(total(page, name), sum, "{name}");
        }
    }

    #[test]
    fn children_and_their_children_are_found() {
        let mut shell = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let found = loop {
            let found = descendants(shell.id());
            if !found.is_empty() {
                break found;
            }
            std::thread::sleep(TICK);
        };
        assert_eq!(found.len(), 1);
        assert!(descendants(std::process::id()).contains(&found[0]));
        shell.kill().unwrap();
        shell.wait().unwrap();
        kill_all(&found).unwrap();
    }
}
