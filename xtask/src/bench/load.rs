//! Runs the load generator.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::parts::{Api, Bench, Kind, Upstream, Variant};
use crate::child::TICK;

/// What one run asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) span: Span,
    pub(crate) body_bytes: usize,
    /// Frames of each stream, and the upstream's pause between them.
    pub(crate) stream: Option<(u32, Duration)>,
    /// Length of an answer that is no stream.
    pub(crate) answer_bytes: Option<usize>,
}

/// How long a run goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Span {
    /// So many seconds after a short warm-up.
    Seconds(f64),
    /// So many requests on each connection.
    Each(u32),
}

impl Load {
    /// Small requests, one after the other on each connection, answered in one piece.
    pub(crate) const fn blocking(connections: usize, seconds: f64, upstream: &Upstream) -> Self {
        Self {
            connections,
            span: Span::Seconds(seconds),
            body_bytes: BODY_BYTES,
            stream: None,
            answer_bytes: Some(upstream.answer_bytes),
        }
    }

    /// Streams of so many frames, one on each connection.
    pub(crate) const fn streams(connections: usize, frames: u32, every: Duration) -> Self {
        Self {
            connections,
            span: Span::Each(1),
            body_bytes: BODY_BYTES,
            stream: Some((frames, every)),
            answer_bytes: None,
        }
    }
}

/// Size of a small request's body.
const BODY_BYTES: usize = 256;

/// Asked without measuring, before each run: connections are made, code and caches are warm.
const WARM_UP: f64 = 0.3;

/// Quantiles in microseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Summary {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Watched {
    cpu_us: f64,
}

/// What the load generator prints.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) requests: f64,
    /// Before and after the measured span, too.
    pub(crate) answered: u64,
    errors: u64,
    error_samples: Vec<String>,
    reconnects: u64,
    /// Which part of the measured span the load generator was on a core.
    pub(crate) busy: f64,
    pub(crate) per_second: f64,
    pub(crate) latency_us: Summary,
    pub(crate) first_byte_us: Summary,
    pub(crate) frame_delay_us: Summary,
    pub(crate) frame_stretch_us: Summary,
    pub(crate) frames: f64,
    pub(crate) frames_lost: f64,
    pub(crate) stalls: f64,
    watched: Vec<Watched>,
}

impl Report {
    /// CPU time of the gateway within the measured span, in microseconds.
    pub(crate) fn cpu_us(&self) -> Option<f64> {
        self.watched.first().map(|watched| watched.cpu_us)
    }
}

/// A load generator at work.
pub(crate) struct Running {
    child: Child,
    what: &'static str,
    kind: Kind,
}

/// Starts the load generator against a variant.
pub(crate) fn start(bench: &Bench, variant: &Variant, load: &Load) -> Result<Running> {
    let mut command = Command::new(&bench.programs.load);
    command.args(["--target", &variant.target]);
    command.args(["--path", &variant.path]);
    if variant.api == Api::Chat {
        command.args(["--api", "chat", "--model", "gpt-bench-1"]);
    }
    for header in &variant.headers {
        command.args(["--header", header]);
    }
    command.args(["--connections", &load.connections.to_string()]);
    command.args(["--body-bytes", &load.body_bytes.to_string()]);
    match load.span {
        Span::Each(count) => command.args(["--each", &count.to_string()]),
        Span::Seconds(seconds) => {
            command.args(["--seconds", &seconds.to_string(), "--warmup", &WARM_UP.to_string()])
        }
    };
    // Gateways that write answers anew may write them longer.
    if let Some(bytes) = load.answer_bytes.filter(|_| variant.api == Api::Messages) {
        command.args(["--answer-bytes", &bytes.to_string()]);
    }
    if let Some((frames, every)) = load.stream {
        command.args(["--frames", &frames.to_string()]);
        command.args(["--frame-every-us", &every.as_micros().to_string()]);
        let patience = every.as_secs_f64() * f64::from(frames) + 30.0;
        command.args(["--patience", &patience.to_string()]);
    }
    if let Some(pid) = variant.pid {
        command.args(["--watch", &pid.to_string()]);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start bench-load")?;
    Ok(Running { child, what: variant.name, kind: variant.kind })
}

impl Running {
    /// Whether it still asks.
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end. An error of any request makes the measurement void.
    pub(crate) fn end(self) -> Result<Report> {
        let what = self.what;
        let output = self.child.wait_with_output().context("cannot wait for bench-load")?;
        let report: Report = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("{what}: bench-load printed no report ({})", output.status))?;
        if report.errors > 0 {
            bail!(
                "{what}: {} requests failed, so nothing was measured: {}",
                report.errors,
                report.error_samples.join("; ")
            );
        }
        if report.requests < 1.0 {
            bail!("{what}: nothing was answered within the measured time");
        }
        if report.reconnects > 0 && self.kind != Kind::Peer {
            bail!("{what}: {} connections were not kept open", report.reconnects);
        }
        Ok(report)
    }
}

/// Runs the load generator to its end, when what ran before has calmed down.
pub(crate) fn run(bench: &Bench, variant: &Variant, load: &Load) -> Result<Report> {
    calm(bench)?;
    start(bench, variant, load)?.end()
}

/// Waits until our servers do nothing any more: records of the last run may still be on their way into
/// the database.
pub(crate) fn calm(bench: &Bench) -> Result<()> {
    const LOOK: Duration = Duration::from_millis(100);
    const LIMIT: Duration = Duration::from_mins(2);
    let deadline = Instant::now() + LIMIT;
    let mut before = bench.cpu_us();
    loop {
        bench.interrupt.check()?;
        sleep(LOOK.max(TICK));
        let now = bench.cpu_us();
        // Less than a twentieth of one core is what idle servers use.
        if now.saturating_sub(before) <= 5_000 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the servers were still busy {LIMIT:?} after the load had ended");
        }
        before = now;
    }
}
