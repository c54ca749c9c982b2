//! What goes on for long: requests whose records are stored at the same time, and records alone.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::figures::{Figures, What};
use super::governed::{Coderd, IN_PROCESS, Stored};
use super::load::{self, Load};
use super::machine;
use super::parts::{Bench, Upstream, Variant};
use super::scale::Scale;

/// How long records may take to arrive after the last request.
const DRAIN_LIMIT: Duration = Duration::from_mins(2);
/// What the upstream says that its answer is long.
const TOKENS_EACH: u64 = 42;

/// Requests, until every record is in the database. What counts is the time until then: a rate that is
/// paid for by a growing spool is none that can be held.
pub(crate) fn measure(
    bench: &Bench,
    scale: &Scale,
    upstream: &Upstream,
    coderd: &Coderd,
    variants: &[Variant],
    figures: &mut Figures,
) -> Result<()> {
    upstream.mode("")?;
    for variant in variants {
        load::calm(bench)?;
        let before = coderd.stored()?;
        let began = Instant::now();
        let load = Load::blocking(32, scale.sustained, upstream);
        let report = load::start(bench, variant, &load)?.end()?;
        let ended = Instant::now();
        let wanted = Stored::of(report.answered, TOKENS_EACH);
        let stored = loop {
            let stored = coderd.stored()?.since(before);
            if stored.ended >= wanted.ended || ended.elapsed() > DRAIN_LIMIT {
                break stored;
            }
            bench.interrupt.check()?;
            sleep(Duration::from_millis(250));
        };
        let (drained, whole) = (ended.elapsed(), began.elapsed());
        let name = variant.name;
        if stored != wanted {
            bail!("{name}: {wanted:?} were to be stored, and {stored:?} are");
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
        let rate = report.answered as f64 / whole.as_secs_f64();
        println!(
            "sustained {name}: {} requests answered = recorded; {:.0}/s answered, {rate:.0}/s until the last was \
             stored, {:.1} s later",
            report.answered,
            report.per_second,
            drained.as_secs_f64()
        );
        figures.add(name, What::SustainedAnswered, report.per_second);
        figures.add(name, What::SustainedP99, report.latency_us.p99);
        figures.add(name, What::SustainedDrain, drained.as_secs_f64());
        figures.add(name, What::SustainedRate, rate);
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Ingested {
    facts: f64,
    /// Of agents, each with one prompt.
    works: u64,
    interceptions: u64,
    seconds: f64,
}

/// Records alone, sent as daemons send them. Rows are counted in the database.
pub(crate) fn ingest(
    bench: &Bench,
    scale: &Scale,
    coderd: &Coderd,
    figures: &mut Figures,
) -> Result<()> {
    let (rounds, seconds) = scale.ingest;
    let key = coderd.key_file(bench, "ingest")?;
    let user = coderd.control.user_id()?;
    for _ in 0..rounds {
        load::calm(bench)?;
        let before = coderd.stored()?;
        let spent = machine::cpu_us(&[coderd.pid]);
        let output = Command::new(&bench.programs.ingest)
            .args(["--coderd", &coderd.control.url, "--user", &user])
            .args(["--seconds", &seconds.to_string()])
            .arg("--key-file")
            .arg(&key)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run bench-ingest")?;
        let spent = machine::cpu_us(&[coderd.pid]).saturating_sub(spent);
        let ingested: Ingested = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("bench-ingest failed ({})", output.status))?;
        let stored = coderd.stored()?.since(before);
        let follow = ingested.interceptions - ingested.works;
        let wanted = Stored {
            prompts: ingested.works,
            tools: follow,
            linked: follow,
            ..Stored::of(ingested.interceptions, TOKENS_EACH)
        };
        if stored != wanted {
            bail!("ingest: {wanted:?} were to be stored, and {stored:?} are");
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds")]
        let (rows, spent) = (stored.rows() as f64, spent as f64);
        let rate = rows / ingested.seconds;
        println!("ingest: {rate:.0} rows/s of {:.0} facts/s", ingested.facts / ingested.seconds);
        figures.add(IN_PROCESS, What::IngestRate, rate);
        figures.add(IN_PROCESS, What::IngestFacts, ingested.facts / ingested.seconds);
        figures.add(IN_PROCESS, What::IngestCpu, spent / rows.max(1.0));
    }
    Ok(())
}
