//! `cargo xtask bench rbac`: what a decision costs, see [`rbac`].
//!
//! `cargo xtask bench store`: what the store costs, see [`store`].
//!
//! `cargo xtask bench gateway`: what the gateway costs, against what it is compared with, in one run.
//!
//! Every part is a process of its own, built with optimisations: the upstream, the load generator, and each
//! gateway. All share this machine's cores, so figures of one run are compared with each other and never
//! with those of another machine: variants take turns in several rounds, ratios are taken within a round,
//! and the median of the rounds is told. CPU time per request is the figure that depends least on what
//! else the machine does.

mod bars;
mod figures;
mod governed;
mod load;
mod machine;
mod memory;
mod parts;
mod peers;
mod rbac;
mod report;
mod rounds;
mod scale;
mod store;
mod streams;
mod sustained;

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::child::Interrupt;
use crate::preflight;
use crate::tree::Tree;
use crate::up::random_word;
use figures::Figures;
use parts::{Bench, Kind};
use report::Report;
use scale::Scale;

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Part {
    /// The AI gateway: requests, streams, memory.
    Gateway(Args),
    /// Authorization: decisions, subjects and filters, against Rego and Cedar policies of the same rules.
    Rbac(rbac::Args),
    /// The store: lists of millions of rows, point queries against diesel alone, records, rotation of keys.
    Store(store::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Touch everything once, in less than a minute: proves that the bench works, measures little.
    #[arg(long)]
    short: bool,
    /// Only these variants, by a part of their names; what they are compared with always runs.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only these measurements.
    #[arg(long, value_enum, value_name = "WHAT")]
    measure: Vec<Measure>,
    /// Also gateways and proxies of others: LiteLLM, Portkey, nginx, Envoy, as far as they can be installed.
    #[arg(long)]
    peers: bool,
    /// How often each variant has its turn.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Threads that serve, of every gateway that lets itself be told.
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: usize,
    /// Write the result to docs/bench.md.
    #[arg(long, conflicts_with_all = ["short", "only", "measure", "rounds", "threads"])]
    write: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Measure {
    /// Requests per second, latency and CPU time at one client and at 32.
    Requests,
    /// Time to first byte, delay per frame, 1,024 open streams.
    Streams,
    /// Requests for long, with their records stored meanwhile; records alone.
    Sustained,
    /// Memory idle, with large requests in flight, and with ten thousand open streams.
    Memory,
}

impl Args {
    fn wants(&self, measure: Measure) -> bool {
        self.measure.is_empty() || self.measure.contains(&measure)
    }

    /// Whether a variant takes part.
    fn includes(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

pub(crate) fn run(tree: &Tree, part: &Part) -> Result<()> {
    match part {
        Part::Gateway(args) => gateway(tree, args),
        Part::Rbac(args) => rbac::run(tree, args),
        Part::Store(args) => store::run(tree, args),
    }
}

fn gateway(tree: &Tree, args: &Args) -> Result<()> {
    if governed::is_wanted(args) {
        preflight::postgres()?;
    }
    let programs = parts::Programs::build(tree, args)?;
    let interrupt = Interrupt::install()?;
    // PostgreSQL's account must be able to pass through it.
    let dir: PathBuf = env::temp_dir().join(format!("coder-bench-{}", random_word(8)?));
    fs::DirBuilder::new()
        .mode(0o711)
        .create(&dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    let mut bench =
        Bench { programs, interrupt, dir, servers: Vec::new(), peers: Vec::new(), named: 0 };
    let outcome = measure(tree, args, &mut bench);
    let stopped = bench.stop();
    match outcome.and(stopped) {
        Ok(()) => fs::remove_dir_all(&bench.dir)
            .with_context(|| format!("cannot remove {}", bench.dir.display())),
        Err(error) => {
            eprintln!("logs are kept in {}", bench.dir.display());
            Err(error)
        }
    }
}

fn measure(tree: &Tree, args: &Args, bench: &mut Bench) -> Result<()> {
    let began = Instant::now();
    let scale = Scale::of(args);
    let machine = format!("{}, {}", machine::describe(tree)?, machine::file_system(&bench.dir)?);
    println!("{machine}");
    machine::raise_open_files()?;
    let parts = parts::start(bench, tree, args)?;
    let upstream = &parts.upstream;
    let mut figures = Figures::new(parts.variants.iter().map(|variant| variant.name));
    figures.add_sync(machine::sync_us(&bench.dir)?);
    if args.wants(Measure::Memory) {
        memory::measure(bench, &scale, &parts, &mut figures)?;
    }
    if args.wants(Measure::Requests) {
        rounds::measure(bench, &scale, &parts, &mut figures)?;
    }
    if args.wants(Measure::Streams) {
        streams::measure(bench, &scale, &parts, &mut figures)?;
    }
    if let Some(coderd) = &parts.coderd
        && args.wants(Measure::Sustained)
    {
        let recording = parts.of(&[Kind::Daemon, Kind::InProcess]);
        sustained::measure(bench, &scale, upstream, coderd, &recording, &mut figures)?;
        sustained::ingest(bench, &scale, coderd, &mut figures)?;
    }
    for server in &mut bench.servers {
        server.check()?;
    }
    let took = Duration::from_secs(began.elapsed().as_secs());
    let report = Report { machine, figures, peers: parts.peers, took };
    println!("\n{}", report.tables());
    if args.write {
        report.write(tree)?;
    }
    Ok(())
}
