//! The programs, and the servers that take part.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{Args, governed, machine};
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
    /// Built only if it takes part: it takes longer than all others together.
    pub(crate) coderd: Option<PathBuf>,
}

impl Programs {
    pub(crate) fn build(tree: &Tree, args: &Args) -> Result<Self> {
        let mut bins = vec![
            ("bench", "bench-upstream"),
            ("bench", "bench-load"),
            ("bench", "bench-proxy"),
            ("bench", "bench-relay"),
        ];
        if args.includes(governed::IN_PROCESS) {
            bins.push(("coderd", "coderd"));
        }
        let mut built = tree.build(&bins, true)?.into_iter();
        let mut next = || built.next().context("cargo built less than it was asked for");
        Ok(Self {
            upstream: next()?,
            load: next()?,
            proxy: next()?,
            relay: next()?,
            coderd: next().ok(),
        })
    }
}

/// Everything that runs.
pub(crate) struct Bench {
    pub(crate) programs: Programs,
    pub(crate) interrupt: Interrupt,
    pub(crate) dir: PathBuf,
    pub(crate) servers: Vec<Server>,
}

impl Bench {
    /// CPU time of all servers so far.
    pub(crate) fn cpu_us(&self) -> u64 {
        let pids: Vec<u32> = self.servers.iter().map(Server::pid).collect();
        machine::cpu_us(&pids)
    }

    /// Ends all servers, the last one first.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let mut stopped = Ok(());
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
        let ready = self.dir.join(format!("{name}.url"));
        let mut command = Command::new(program);
        command.args(args).arg("--ready-file").arg(&ready);
        let log = self.dir.join(format!("{name}.log"));
        let mut server = Server::start(name, &mut command, &log, GRACE)?;
        let url = server.ready_file(&ready, &self.interrupt)?;
        let pid = server.pid();
        self.servers.push(server);
        Ok((pid, url))
    }
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
}

impl Variant {
    /// The path by which streams are asked for.
    pub(crate) fn stream_path(&self) -> &str {
        &self.path
    }
}

/// The upstream, and how it is told what to do.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) url: String,
    control: Control,
}

/// What the upstream tells of itself.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Stats {
    pub(crate) in_flight: u64,
}

impl Upstream {
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

/// Starts the upstream and every variant that is wanted.
pub(crate) fn start(bench: &mut Bench, args: &Args) -> Result<(Upstream, Vec<Variant>)> {
    let program = bench.programs.upstream.clone();
    let (_, url) = bench.start("bench-upstream", &program, &[])?;
    let address = url.strip_prefix("http://").unwrap_or_default().to_owned();
    let upstream = Upstream { control: Control::new(url.clone()), url };
    let mut variants = vec![Variant {
        name: DIRECT,
        target: address.clone(),
        path: "/v1/messages".to_owned(),
        headers: Vec::new(),
        pid: None,
    }];
    let threads = args.threads.to_string();
    let flags = ["--upstream", &address, "--threads", &threads];
    for (name, server, program, path) in [
        (BARE, "bench-proxy", bench.programs.proxy.clone(), "/v1/messages"),
        (RELAY, "bench-relay", bench.programs.relay.clone(), "/anthropic/v1/messages/count_tokens"),
    ] {
        let (pid, url) = bench.start(server, &program, &flags)?;
        variants.push(Variant {
            name,
            target: url.strip_prefix("http://").unwrap_or_default().to_owned(),
            path: path.to_owned(),
            headers: vec!["x-api-key: bench".to_owned()],
            pid: Some(pid),
        });
    }
    if args.includes(governed::IN_PROCESS) {
        variants.push(governed::in_process(bench, &upstream)?);
    }
    Ok((upstream, variants))
}
