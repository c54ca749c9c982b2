//! Requests per second, latency and CPU time: variants take turns in several rounds.

use anyhow::Result;

use super::figures::{Figures, What};
use super::load::{self, Load};
use super::machine;
use super::parts::{Bench, Kind, Parts, Upstream, Variant};
use super::scale::Scale;

/// Variants that are loaded as much as they bear. Those that store records are loaded so when that is
/// measured for longer: after a turn here, their records would be stored in the turns of others.
const MANY: [Kind; 5] = [Kind::Direct, Kind::Bare, Kind::Relay, Kind::Spool, Kind::Peer];
const ONE: [Kind; 6] =
    [Kind::Direct, Kind::Bare, Kind::Relay, Kind::Spool, Kind::Daemon, Kind::Peer];
/// Variants whose latency is measured behind a slow upstream.
const SLOW: [Kind; 3] = [Kind::Direct, Kind::Spool, Kind::Daemon];

pub(crate) fn measure(
    bench: &mut Bench,
    scale: &Scale,
    parts: &Parts,
    figures: &mut Figures,
) -> Result<()> {
    let upstream = &parts.upstream;
    let (mut many, mut one, mut slow) = (parts.of(&MANY), parts.of(&ONE), parts.of(&SLOW));
    let (rounds, seconds) = (scale.request_rounds, scale.turn);
    let busy = Load::blocking(32, seconds, upstream);
    let calm = Load::blocking(1, seconds, upstream);
    for round in 1..=rounds {
        upstream.mode("")?;
        turns(&mut many, round, |variant| at_32(bench, variant, &busy, figures))?;
        turns(&mut one, round, |variant| at_1(bench, variant, &calm, figures))?;
        behind_slow(bench, &mut slow, upstream, (round, seconds), figures)?;
        figures.add_sync(machine::sync_us(&bench.dir)?);
        println!("requests {round}/{rounds}: done");
    }
    upstream.mode("")
}

/// An upstream that takes its time: what a request costs hides behind it.
fn behind_slow(
    bench: &Bench,
    variants: &mut Vec<Variant>,
    upstream: &Upstream,
    (round, seconds): (usize, f64),
    figures: &mut Figures,
) -> Result<()> {
    upstream.mode("delay_ms=20")?;
    let load = Load::blocking(1, seconds, upstream);
    turns(variants, round, |variant| {
        let report = load::run(bench, variant, &load)?;
        figures.add(variant.name, What::P50Slow, report.latency_us.p50);
        Ok(())
    })
}

/// Gives each variant its turn, in the other direction every other round, so that none is always measured
/// when the machine is warmest. A peer that fails is left out from then on.
fn turns(
    variants: &mut Vec<Variant>,
    round: usize,
    mut measure: impl FnMut(&Variant) -> Result<()>,
) -> Result<()> {
    let mut failed = Vec::new();
    let mut turn = |variant: &Variant| match measure(variant) {
        Err(error) if variant.kind == Kind::Peer => {
            println!("{error:#}");
            failed.push(variant.name);
            Ok(())
        }
        done => done,
    };
    if round.is_multiple_of(2) {
        variants.iter().rev().try_for_each(&mut turn)?;
    } else {
        variants.iter().try_for_each(&mut turn)?;
    }
    variants.retain(|variant| !failed.contains(&variant.name));
    Ok(())
}

fn at_32(bench: &Bench, variant: &Variant, load: &Load, figures: &mut Figures) -> Result<()> {
    let report = load::run(bench, variant, load)?;
    let mut add = |what, value| figures.add(variant.name, what, value);
    add(What::Rate32, report.per_second);
    add(What::P50At32, report.latency_us.p50);
    add(What::P99At32, report.latency_us.p99);
    add(What::Busy32, report.busy * 100.0);
    if let Some(cpu) = report.cpu_us() {
        add(What::Cpu32, cpu / report.requests.max(1.0));
    }
    println!("  {}: {:.0} requests/s at 32 clients", variant.name, report.per_second);
    Ok(())
}

fn at_1(bench: &Bench, variant: &Variant, load: &Load, figures: &mut Figures) -> Result<()> {
    let report = load::run(bench, variant, load)?;
    let mut add = |what, value| figures.add(variant.name, what, value);
    add(What::Rate1, report.per_second);
    add(What::P50At1, report.latency_us.p50);
    add(What::P99At1, report.latency_us.p99);
    if let Some(cpu) = report.cpu_us() {
        add(What::Cpu1, cpu / report.requests.max(1.0));
    }
    println!("  {}: p50 {:.1} µs at one client", variant.name, report.latency_us.p50);
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::super::parts::Api;
    use super::*;

    fn variant(name: &'static str, kind: Kind) -> Variant {
        let (target, path) = (String::new(), String::new());
        Variant { name, target, path, headers: Vec::new(), pid: None, api: Api::Messages, kind }
    }

    #[test]
    fn turns_alternate_and_only_peers_may_fail() {
        let mut all = vec![variant("a", Kind::Bare), variant("b", Kind::Peer)];
        let mut seen = Vec::new();
        for round in 1..=2 {
            let note = |variant: &Variant| {
                seen.push(variant.name);
                Ok(())
            };
            turns(&mut all, round, note).unwrap();
        }
        assert_eq!(seen, ["a", "b", "b", "a"]);
        turns(&mut all, 1, |variant| if variant.name == "b" { bail!("gone") } else { Ok(()) })
            .unwrap();
        assert_eq!(all.len(), 1);
        assert!(turns(&mut all, 1, |_| bail!("gone")).is_err());
    }
}
