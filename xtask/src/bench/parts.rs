//! The programs, and the servers that take part.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{Args, governed, machine, peers};
use crate::child::{Interrupt, Server, TICK};
use crate::control::Control;
use crate::tree::Tree;

/// Names of the variants that others are compared with.
pub(crate) const DIRECT: &str = "direct";
pub(crate) const BARE: &str = "bare hyper";
pub(crate) const RELAY: &str = "our relay";

/// Servers of the bench have nothing to finish.
const GRACE: Duration = Duration::from_secs(5);

/// Where the built programs lie.
#[derive(Debug)]
pub(crate) struct Programs {
    upstream: PathBuf,
    pub(crate) load: PathBuf,
    proxy: PathBuf,
    relay: PathBuf,
    pub(crate) governed: PathBuf,
    pub(crate) ingest: PathBuf,
    /// Built only if they take part: they take longer than all others together.
    pub(crate) coderd: Option<PathBuf>,
    pub(crate) daemon: Option<PathBuf>,
}

impl Programs {
    pub(crate) fn build(tree: &Tree, args: &Args) -> Result<Self> {
        let mut bins = vec![
            ("bench", "bench-upstream"),
            ("bench", "bench-load"),
            ("bench", "bench-proxy"),
            ("bench", "bench-relay"),
            ("bench", "bench-governed"),
            ("bench", "bench-ingest"),
        ];
        if governed::is_wanted(args) {
            bins.extend([("coderd", "coderd"), ("aibridged", "aibridged")]);
        }
        let mut built = tree.build(&bins, true)?.into_iter();
        let mut next = || built.next().context("cargo built less than it was asked for");
        Ok(Self {
            upstream: next()?,
            load: next()?,
            proxy: next()?,
            relay: next()?,
            governed: next()?,
            ingest: next()?,
            coderd: next().ok(),
            daemon: next().ok(),
        })
    }
}

/// Everything that runs.
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    pub(crate) interrupt: Interrupt,
    pub(crate) dir: PathBuf,
    pub(crate) servers: Vec<Server>,
    /// Of others: nothing depends on how they are.
    pub(crate) peers: Vec<Server>,
    /// How many names were given.
    pub(crate) named: usize,
}

impl Bench {
    /// CPU time of all servers of ours so far.
    pub(crate) fn cpu_us(&self) -> u64 {
        let pids: Vec<u32> = self.servers.iter().map(Server::id).collect();
        machine::cpu_us(&pids)
    }

    /// A name for files, which no server had before.
    pub(crate) fn file_name(&mut self, name: &str) -> String {
        self.named += 1;
        format!("{}-{}", name.replace(' ', "-"), self.named)
    }

    /// Ends the server that was started last.
    pub(crate) fn stop_last(&mut self) -> Result<()> {
        self.servers.pop().map_or(Ok(()), |mut server| server.stop(|| false))
    }

    /// Ends all servers, the last one first.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let mut stopped = Ok(());
        while let Some(mut peer) = self.peers.pop() {
            // How others end is no concern of ours.
            if let Err(error) = peer.stop(|| false) {
                println!("{error:#}");
            }
        }
        while let Some(mut server) = self.servers.pop() {
            stopped = stopped.and(server.stop(|| false));
        }
        stopped
    }

    /// Starts a program of the bench and waits until it tells its URL.
    pub(crate) fn start(
        &mut self,
        name: &'static str,
        program: &Path,
        args: &[&str],
    ) -> Result<(u32, String)> {
        let called = self.file_name(name);
        let ready = self.dir.join(format!("{called}.url"));
        let mut command = Command::new(program);
        command.args(args).arg("--ready-file").arg(&ready);
        let log = self.dir.join(format!("{called}.log"));
        let mut server = Server::start(name, &mut command, &log, GRACE)?;
        let url = server.ready_file(&ready, &self.interrupt)?;
        let pid = server.id();
        self.servers.push(server);
        Ok((pid, url))
    }

    /// Starts a gateway of the bench.
    pub(crate) fn variant(
        &mut self,
        (kind, name): (Kind, &'static str),
        program: &Path,
        args: &[&str],
        path: &str,
    ) -> Result<Variant> {
        let (pid, url) = self.start(name, program, args)?;
        Ok(Variant {
            name,
            target: url.strip_prefix("http://").unwrap_or_default().to_owned(),
            path: path.to_owned(),
            headers: vec!["x-api-key: bench".to_owned()],
            pid: Some(pid),
            api: Api::Messages,
            kind,
        })
    }
}

/// Which API a gateway is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// Anthropic Messages.
    Messages,
    /// OpenAI Chat Completions.
    Chat,
}

/// What a variant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No gateway.
    Direct,
    /// hyper and nothing else.
    Bare,
    /// Our gateway as a plain relay.
    Relay,
    /// Our gateway, governed, with records acknowledged where they would be sent.
    Spool,
    /// `aibridged`, with records stored by coderd.
    Daemon,
    /// The gateway within coderd.
    InProcess,
    /// The work of others, whose failure does not make a run invalid.
    Peer,
}

/// A way from the client to the upstream.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// Host and port.
    pub(crate) target: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<String>,
    /// The gateway's process; none if there is no gateway.
    pub(crate) pid: Option<u32>,
    pub(crate) api: Api,
    pub(crate) kind: Kind,
}

/// The upstream, and how it is told what to do.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) url: String,
    /// Length of an answer of Anthropic Messages that is no stream.
    pub(crate) answer_bytes: usize,
    control: Control,
}

/// What the upstream tells of itself.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Stats {
    pub(crate) in_flight: u64,
}

impl Upstream {
    /// An upstream at that URL, which is asked once, to know what an answer looks like.
    fn new(url: String) -> Result<Self> {
        let control = Control::new(url.clone());
        let answer = control.post("/v1/messages", &serde_json::json!({}))?;
        let answer = answer.expect("asking the upstream", &[200])?;
        Ok(Self { url, answer_bytes: serde_json::to_vec(&answer)?.len(), control })
    }

    /// Host and port.
    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap_or_default()
    }

    /// Sets how requests are answered from now on; see the upstream's own documentation.
    pub(crate) fn mode(&self, query: &str) -> Result<()> {
        let path = format!("/__mode?{query}");
        self.control.put(&path)?.expect("setting the upstream", &[200])?;
        Ok(())
    }

    pub(crate) fn stats(&self) -> Result<Stats> {
        let body = self.control.get("/__stats")?.expect("asking the upstream", &[200])?;
        serde_json::from_value(body).context("the upstream tells no statistics")
    }

    /// Waits until so many requests wait for their answers.
    pub(crate) fn in_flight(
        &self,
        count: u64,
        limit: Duration,
        mut check: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let now = self.stats()?.in_flight;
            if now == count {
                return Ok(());
            }
            check()?;
            if Instant::now() > deadline {
                bail!("{now} of {count} requests reached the upstream within {limit:?}");
            }
            sleep(TICK);
        }
    }
}

/// Everything that takes part in a run.
pub(crate) struct Parts {
    pub(crate) upstream: Upstream,
    pub(crate) coderd: Option<governed::Coderd>,
    pub(crate) variants: Vec<Variant>,
    /// What is to be said of peers.
    pub(crate) peers: Vec<String>,
    threads: usize,
}

impl Parts {
    /// The variants of these kinds.
    pub(crate) fn of(&self, kinds: &[Kind]) -> Vec<Variant> {
        self.variants.iter().filter(|variant| kinds.contains(&variant.kind)).cloned().collect()
    }

    /// Starts the same once more, as a process that has not served yet: the bare proxy, or a daemon.
    pub(crate) fn again(&self, bench: &mut Bench, variant: &Variant) -> Result<Variant> {
        let daemon = governed::DAEMON.into_iter().find(|(name, _)| *name == variant.name);
        match (daemon, &self.coderd) {
            (Some(daemon), Some(coderd)) => coderd.daemon(bench, daemon, self.threads),
            _ if variant.kind == Kind::Bare => bare(bench, self.upstream.address(), self.threads),
            _ => bail!("{} cannot be started once more", variant.name),
        }
    }
}

/// Starts the upstream and every variant that is wanted.
pub(crate) fn start(bench: &mut Bench, tree: &Tree, args: &Args) -> Result<Parts> {
    let program = bench.programs.upstream.clone();
    let (_, url) = bench.start("bench-upstream", &program, &[])?;
    let upstream = Upstream::new(url)?;
    let address = upstream.address().to_owned();
    let mut variants = vec![Variant {
        name: DIRECT,
        target: address.clone(),
        path: "/v1/messages".to_owned(),
        headers: Vec::new(),
        pid: None,
        api: Api::Messages,
        kind: Kind::Direct,
    }];
    let threads = args.threads.to_string();
    let flags = ["--upstream", &address, "--threads", &threads];
    variants.push(bare(bench, &address, args.threads)?);
    let relay = bench.programs.relay.clone();
    let path = "/anthropic/v1/messages/count_tokens";
    variants.push(bench.variant((Kind::Relay, RELAY), &relay, &flags, path)?);
    let mut coderd = None;
    if governed::is_wanted(args) {
        let started = governed::Coderd::start(bench, &upstream)?;
        for spool in governed::SPOOL.into_iter().filter(|(name, _)| args.includes(name)) {
            variants.push(started.spool(bench, spool, &flags)?);
        }
        for daemon in governed::DAEMON.into_iter().filter(|(name, _)| args.includes(name)) {
            variants.push(started.daemon(bench, daemon, args.threads)?);
        }
        if args.includes(governed::IN_PROCESS) {
            variants.push(started.variant());
        }
        coderd = Some(started);
    }
    let mut peers = Vec::new();
    if args.peers {
        let started = peers::start(bench, tree, &upstream)?;
        variants.extend(started.variants);
        peers = started.notes;
    }
    Ok(Parts { upstream, coderd, variants, peers, threads: args.threads })
}

fn bare(bench: &mut Bench, upstream: &str, threads: usize) -> Result<Variant> {
    let proxy = bench.programs.proxy.clone();
    let flags = ["--upstream", upstream, "--threads", &threads.to_string()];
    bench.variant((Kind::Bare, BARE), &proxy, &flags, "/v1/messages")
}
