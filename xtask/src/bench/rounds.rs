//! Requests per second, latency and CPU time: variants take turns in several rounds.

use anyhow::Result;

use super::Args;
use super::figures::{Figures, What};
use super::load::{self, Load};
use super::parts::{Bench, Upstream, Variant};

pub(crate) fn measure(
    bench: &mut Bench,
    args: &Args,
    upstream: &Upstream,
    variants: &[Variant],
    figures: &mut Figures,
) -> Result<()> {
    let (rounds, seconds) = if args.short { (1, 0.4) } else { (5, 2.0) };
    let rounds = args.rounds.unwrap_or(rounds);
    for round in 1..=rounds {
        upstream.mode("")?;
        for variant in variants {
            let many = load::run(bench, variant, &Load::blocking(32, seconds))?;
            let one = load::run(bench, variant, &Load::blocking(1, seconds))?;
            println!(
                "requests {round}/{rounds} {}: {:.0} requests/s at 32 clients, p50 {:.1} µs at one",
                variant.name, many.per_second, one.latency_us.p50
            );
            let mut add = |what, value| figures.add(variant.name, what, value);
            add(What::Rate32, many.per_second);
            add(What::P50At32, many.latency_us.p50);
            add(What::P99At32, many.latency_us.p99);
            add(What::P50At1, one.latency_us.p50);
            add(What::P99At1, one.latency_us.p99);
            if let (Some(at_32), Some(at_1)) = (many.cpu_us(), one.cpu_us()) {
                add(What::Cpu32, at_32 / many.requests.max(1.0));
                add(What::Cpu1, at_1 / one.requests.max(1.0));
            }
        }
        upstream.mode("delay_ms=20")?;
        for variant in variants {
            let slow = load::run(bench, variant, &Load::blocking(1, seconds))?;
            figures.add(variant.name, What::P50Slow, slow.latency_us.p50);
        }
    }
    upstream.mode("")
}
