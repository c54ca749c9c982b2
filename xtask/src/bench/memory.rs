//! Memory of the gateway: idle, with large requests in flight, with many open streams.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Args;
use super::figures::{Figures, What};
use super::load::{self, Load, Span};
use super::machine::{memory, open_files_max};
use super::parts::{Bench, Upstream, Variant};

/// How many large requests are in flight at once, and how large each is.
const LARGE: (usize, usize) = (1500, 150_000);
/// How many streams are open at once, if this machine lets a process have two connections for each.
const STREAMS: u64 = 10_000;
/// Files that a gateway opens besides.
const OTHER_FILES: u64 = 200;
/// How long a gateway may take to give memory back.
const AFTER: Duration = Duration::from_secs(10);
const LIMIT: Duration = Duration::from_mins(1);
const MEGA: f64 = 1e6;

pub(crate) fn measure(
    bench: &mut Bench,
    args: &Args,
    upstream: &Upstream,
    variants: &[Variant],
    figures: &mut Figures,
) -> Result<()> {
    for variant in variants {
        let Some(pid) = variant.pid else {
            continue;
        };
        load::calm(bench)?;
        let (idle, _) = memory(pid)?;
        figures.add(variant.name, What::RssIdle, idle / MEGA);
        large(bench, args, upstream, variant, pid, figures)?;
        open_streams(bench, args, upstream, variant, pid, figures)?;
        println!("memory {}: done", variant.name);
    }
    upstream.mode("")
}

fn large(
    bench: &Bench,
    args: &Args,
    upstream: &Upstream,
    variant: &Variant,
    pid: u32,
    figures: &mut Figures,
) -> Result<()> {
    let (connections, body_bytes) = LARGE;
    let connections = if args.short { connections / 10 } else { connections };
    upstream.mode("hold=1")?;
    let load = Load { connections, span: Span::Each(1), body_bytes, stream: None };
    let running = load::start(bench, variant, &load)?;
    upstream.in_flight(connections as u64, LIMIT, || bench.interrupt.check())?;
    let (flight, _) = memory(pid)?;
    upstream.mode("")?;
    running.end()?;
    let (_, peak) = memory(pid)?;
    let mut after = f64::INFINITY;
    let deadline = Instant::now() + if args.short { Duration::from_secs(1) } else { AFTER };
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
    args: &Args,
    upstream: &Upstream,
    variant: &Variant,
    pid: u32,
    figures: &mut Figures,
) -> Result<()> {
    let wanted = if args.short { STREAMS / 10 } else { STREAMS };
    let count = wanted.min(open_files_max().saturating_sub(OTHER_FILES) / 2);
    if count < wanted {
        println!("memory {}: {count} open streams, as many as this machine allows", variant.name);
    }
    // One frame each per two seconds: the streams are open, and little else happens.
    let (frames, every) = (600, Duration::from_secs(2));
    let (before, _) = memory(pid)?;
    upstream.mode(&format!("frames={frames}&every_us={}", every.as_micros()))?;
    let load = Load {
        connections: usize::try_from(count)?,
        span: Span::Each(1),
        body_bytes: 256,
        stream: Some((frames, every)),
    };
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
    Ok(())
}
