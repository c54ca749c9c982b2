//! Streams: time to first byte, delay per frame, and many open at once.

use std::time::Duration;

use anyhow::Result;

use super::figures::{Figures, What};
use super::load::{self, Load};
use super::machine;
use super::parts::{Bench, Kind, Parts, Upstream, Variant};
use super::scale::Scale;

/// The pause between frames of one of many streams: about as fast as people see models write.
const OPEN_EVERY: Duration = Duration::from_millis(40);
/// Peers are asked for requests only: some of them break streams.
const KINDS: [Kind; 5] = [Kind::Direct, Kind::Bare, Kind::Relay, Kind::Spool, Kind::Daemon];

pub(crate) fn measure(
    bench: &mut Bench,
    scale: &Scale,
    parts: &Parts,
    figures: &mut Figures,
) -> Result<()> {
    let upstream = &parts.upstream;
    let mut variants = parts.of(&KINDS);
    for round in 1..=scale.stream_rounds {
        first_byte(bench, upstream, &variants, scale, figures)?;
        few(bench, upstream, &variants, scale, figures)?;
        for variant in &variants {
            many(bench, upstream, variant, scale, figures)?;
        }
        figures.add_sync(machine::sync_us(&bench.dir)?);
        variants.reverse();
        println!("streams {round}/{}: done", scale.stream_rounds);
    }
    upstream.mode("")
}

/// Short streams, one after the other.
fn first_byte(
    bench: &Bench,
    upstream: &Upstream,
    variants: &[Variant],
    scale: &Scale,
    figures: &mut Figures,
) -> Result<()> {
    upstream.mode("frames=20")?;
    let stream = Some((20, Duration::ZERO));
    let load = Load { stream, answer_bytes: None, ..Load::blocking(1, scale.turn, upstream) };
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
    scale: &Scale,
    figures: &mut Figures,
) -> Result<()> {
    let every = Duration::from_millis(10);
    upstream.mode(&format!("frames={}&every_us={}", scale.frames, every.as_micros()))?;
    let load = Load::streams(8, scale.frames, every);
    for variant in variants {
        let report = load::run(bench, variant, &load)?;
        figures.add(variant.name, What::FrameP50, report.frame_delay_us.p50);
        figures.add(variant.name, What::FrameP99, report.frame_delay_us.p99);
        figures.add(variant.name, What::StretchP50, report.frame_stretch_us.p50);
        figures.add(variant.name, What::StretchP99, report.frame_stretch_us.p99);
    }
    Ok(())
}

/// As many as a busy gateway has open.
fn many(
    bench: &Bench,
    upstream: &Upstream,
    variant: &Variant,
    scale: &Scale,
    figures: &mut Figures,
) -> Result<()> {
    upstream.mode(&format!("frames={}&every_us={}", scale.frames, OPEN_EVERY.as_micros()))?;
    let load = Load::streams(scale.open, scale.frames, OPEN_EVERY);
    let report = load::run(bench, variant, &load)?;
    figures.add(variant.name, What::OpenStreams, report.requests);
    figures.add(variant.name, What::OpenFrameP99, report.frame_delay_us.p99);
    figures.add(variant.name, What::Stalls, report.stalls + report.frames_lost);
    if let Some(cpu) = report.cpu_us() {
        figures.add(variant.name, What::CpuFrame, cpu / report.frames.max(1.0));
    }
    Ok(())
}
