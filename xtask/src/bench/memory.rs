//! Memory of the gateway: idle, with large requests in flight, with many open streams.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::figures::{Figures, What};
use super::load::{self, Load, Span};
use super::machine::{memory, open_files_max};
use super::parts::{Bench, Kind, Parts, Upstream, Variant};
use super::scale::Scale;

/// How large a large request is.
const LARGE_BYTES: usize = 150_000;
/// Files that a gateway opens besides.
const OTHER_FILES: u64 = 100;
const LIMIT: Duration = Duration::from_mins(1);
const MEGA: f64 = 1e6;

/// First of all: an idle gateway is one that has not served yet.
pub(crate) fn measure(
    bench: &mut Bench,
    scale: &Scale,
    parts: &Parts,
    figures: &mut Figures,
) -> Result<()> {
    let upstream = &parts.upstream;
    load::calm(bench)?;
    for variant in &parts.variants {
        if let Some(pid) = variant.pid {
            figures.add(variant.name, What::RssIdle, memory(pid)?.0 / MEGA);
        }
    }
    for variant in parts.of(&[Kind::Bare, Kind::Daemon]) {
        // Each with a process of its own: what one left, the other would use.
        for step in [large, open_streams] {
            let fresh = parts.again(bench, &variant)?;
            if let Some(pid) = fresh.pid {
                load::calm(bench)?;
                step(bench, scale, upstream, &fresh, pid, figures)?;
            }
            bench.stop_last()?;
            // What a gateway keeps for later would count among the upstream's open files.
            upstream.mode("hang_up=1")?;
        }
        println!("memory {}: done", variant.name);
    }
    upstream.mode("")
}

fn large(
    bench: &Bench,
    scale: &Scale,
    upstream: &Upstream,
    variant: &Variant,
    pid: u32,
    figures: &mut Figures,
) -> Result<()> {
    let connections = scale.large;
    upstream.mode("hold=1")?;
    let load = Load {
        span: Span::Each(1),
        body_bytes: LARGE_BYTES,
        ..Load::blocking(connections, 0.0, upstream)
    };
    let running = load::start(bench, variant, &load)?;
    upstream.in_flight(connections as u64, LIMIT, || bench.interrupt.check())?;
    let (flight, _) = memory(pid)?;
    upstream.mode("")?;
    running.end()?;
    let (_, peak) = memory(pid)?;
    let mut after = f64::INFINITY;
    let deadline = Instant::now() + scale.after;
    while Instant::now() < deadline {
        after = after.min(memory(pid)?.0);
        bench.interrupt.check()?;
        sleep(Duration::from_millis(200));
    }
    figures.add(variant.name, What::RssFlight, flight / MEGA);
    figures.add(variant.name, What::RssPeak, peak / MEGA);
    figures.add(variant.name, What::RssAfter, after / MEGA);
    Ok(())
}

fn open_streams(
    bench: &Bench,
    scale: &Scale,
    upstream: &Upstream,
    variant: &Variant,
    pid: u32,
    figures: &mut Figures,
) -> Result<()> {
    let wanted = scale.open_for_memory as u64;
    // Two connections for each.
    let count = wanted.min(open_files_max().saturating_sub(OTHER_FILES) / 2);
    if count < wanted {
        println!("memory {}: {count} open streams, as many as this machine allows", variant.name);
    }
    // One frame each per two seconds: the streams are open, and little else happens. They last for as long
    // as it may take to open them all, twice.
    let (frames, every) = (60, Duration::from_secs(2));
    let (before, _) = memory(pid)?;
    upstream.mode(&format!("frames={frames}&every_us={}", every.as_micros()))?;
    let load = Load::streams(usize::try_from(count)?, frames, every);
    let mut running = load::start(bench, variant, &load)?;
    upstream.in_flight(count, LIMIT, || bench.interrupt.check())?;
    // Every stream has had a frame since.
    sleep(every);
    let (now, _) = memory(pid)?;
    // What is left of the streams comes at once.
    upstream.mode(&format!("frames={frames}"))?;
    while running.is_running()? {
        bench.interrupt.check()?;
        sleep(Duration::from_millis(100));
    }
    running.end()?;
    #[expect(clippy::cast_precision_loss, reason = "a count of connections")]
    let each = (now - before) / count as f64;
    figures.add(variant.name, What::RssStream, each / 1e3);
    #[expect(clippy::cast_precision_loss, reason = "a count of connections")]
    figures.add(variant.name, What::RssStreams, count as f64);
    Ok(())
}
