//! Streams: time to first byte, delay per frame, and many open at once.

use std::time::Duration;

use anyhow::Result;

use super::Args;
use super::figures::{Figures, What};
use super::load::{self, Load, Span};
use super::parts::{Bench, Upstream, Variant};

/// How many streams are held open at once.
const OPEN: usize = 1024;
/// The pause between frames of one of them: about as fast as people see models write.
const OPEN_EVERY: Duration = Duration::from_millis(40);

pub(crate) fn measure(
    bench: &mut Bench,
    args: &Args,
    upstream: &Upstream,
    variants: &[Variant],
    figures: &mut Figures,
) -> Result<()> {
    let (rounds, seconds, frames) = if args.short { (1, 0.4, 20) } else { (3, 2.0, 200) };
    for round in 1..=args.rounds.unwrap_or(rounds) {
        first_byte(bench, upstream, variants, seconds, figures)?;
        few(bench, upstream, variants, frames, figures)?;
        for variant in variants {
            many(bench, upstream, variant, frames, figures)?;
        }
        println!("streams {round}: done");
    }
    upstream.mode("")
}

/// Short streams, one after the other.
fn first_byte(
    bench: &Bench,
    upstream: &Upstream,
    variants: &[Variant],
    seconds: f64,
    figures: &mut Figures,
) -> Result<()> {
    upstream.mode("frames=20")?;
    let stream = Some((20, Duration::ZERO));
    let load = Load { stream, ..Load::blocking(1, seconds) };
    for variant in variants {
        let report = load::run(bench, variant, &load)?;
        figures.add(variant.name, What::FirstByteP50, report.first_byte_us.p50);
        figures.add(variant.name, What::FirstByteP99, report.first_byte_us.p99);
    }
    Ok(())
}

/// Eight streams at a time, a frame every ten milliseconds: nothing has to queue.
fn few(
    bench: &Bench,
    upstream: &Upstream,
    variants: &[Variant],
    frames: u32,
    figures: &mut Figures,
) -> Result<()> {
    let every = Duration::from_millis(10);
    upstream.mode(&format!("frames={frames}&every_us={}", every.as_micros()))?;
    let load = Load {
        connections: 8,
        span: Span::Each(1),
        body_bytes: 256,
        stream: Some((frames, every)),
    };
    for variant in variants {
        let report = load::run(bench, variant, &load)?;
        figures.add(variant.name, What::FrameP50, report.frame_delay_us.p50);
        figures.add(variant.name, What::FrameP99, report.frame_delay_us.p99);
        figures.add(variant.name, What::StretchP99, report.frame_stretch_us.p99);
    }
    Ok(())
}

/// As many as a busy gateway has open.
fn many(
    bench: &Bench,
    upstream: &Upstream,
    variant: &Variant,
    frames: u32,
    figures: &mut Figures,
) -> Result<()> {
    upstream.mode(&format!("frames={frames}&every_us={}", OPEN_EVERY.as_micros()))?;
    let load = Load {
        connections: OPEN,
        span: Span::Each(1),
        body_bytes: 256,
        stream: Some((frames, OPEN_EVERY)),
    };
    let report = load::run(bench, variant, &load)?;
    figures.add(variant.name, What::OpenStreams, report.requests);
    figures.add(variant.name, What::OpenFrameP99, report.frame_delay_us.p99);
    figures.add(variant.name, What::Stalls, report.stalls + report.frames_lost);
    if let Some(cpu) = report.cpu_us() {
        figures.add(variant.name, What::CpuFrame, cpu / report.frames.max(1.0));
    }
    Ok(())
}
