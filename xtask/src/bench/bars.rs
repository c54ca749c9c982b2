//! What the project has promised itself, and whether it is so.

use std::fmt::Write as _;

use super::figures::{Figures, What};
use super::governed::{DAEMON, IN_PROCESS, SPOOL};
use super::parts::{BARE, DIRECT, RELAY};

/// How a figure is held against its bar.
#[derive(Clone, Copy)]
enum Held {
    AtMost(f64),
    /// The same, wider by one sync of the disk.
    AtMostAndSync(f64),
    AtLeast(f64),
    /// No bar; it explains the others.
    Shown,
}
use Held::{AtLeast, AtMost, AtMostAndSync, Shown};

/// Of which variants something is promised.
#[derive(Clone, Copy)]
enum Whose {
    /// Governed, with records acknowledged where they would be sent.
    Spool,
    /// Governed, with a spool that leaves the disk to the operating system.
    Os,
    /// Governed, with a spool that waits for the disk.
    Strict,
    /// Governed, apart from coderd.
    Apart,
    Daemon,
    Storing,
    Coderd,
}
use Whose::{Apart, Coderd, Daemon, Os, Spool, Storing, Strict};

/// What a figure is compared with.
#[derive(Clone, Copy)]
enum Base {
    /// Nothing: the figure itself is held against the bar.
    Alone,
    /// Another variant, of which the figure is so many percent.
    Share(&'static str),
    /// Another variant, of which so many percent are lost.
    Loss(&'static str),
    /// Another variant, to which so much is added.
    Added(&'static str),
    /// The same gateway with the other policy, to which so much is added.
    AddedToOs,
}
use Base::{Added, AddedToOs, Alone, Loss, Share};

struct Bar {
    whose: Whose,
    name: &'static str,
    what: What,
    base: Base,
    held: Held,
}

const fn bar(whose: Whose, name: &'static str, what: What, base: Base, held: Held) -> Bar {
    Bar { whose, name, what, base, held }
}

const BARS: &[Bar] = &[
    bar(Spool, "requests/s, 32 clients", What::Rate32, Share(BARE), AtLeast(50.0)),
    bar(Spool, "requests/s lost by governing, 32 clients", What::Rate32, Loss(RELAY), AtMost(15.0)),
    bar(Spool, "CPU of the gateway per request, 32 clients", What::Cpu32, Share(BARE), Shown),
    bar(Spool, "CPU of the gateway per request, 32 clients", What::Cpu32, Share(RELAY), Shown),
    bar(Storing, "requests/s sustained, all stored", What::SustainedRate, Alone, AtLeast(5_000.0)),
    bar(Os, "latency added, 1 client, p50", What::P50At1, Added(DIRECT), AtMost(60.0)),
    bar(Os, "latency added, 1 client, p99", What::P99At1, Added(DIRECT), AtMost(250.0)),
    bar(Strict, "latency added, 1 client, p50", What::P50At1, Added(DIRECT), AtMostAndSync(60.0)),
    bar(Apart, "latency beyond the bare proxy's, 1 client, p50", What::P50At1, Added(BARE), Shown),
    // Equal, as far as two medians of 20 ms can be: one in a hundred.
    bar(
        Strict,
        "latency behind an upstream of 20 ms, p50",
        What::P50Slow,
        AddedToOs,
        AtMost(200.0),
    ),
    bar(Os, "time to first byte added, p50", What::FirstByteP50, Added(DIRECT), AtMost(100.0)),
    bar(
        Strict,
        "time to first byte added, p50",
        What::FirstByteP50,
        Added(DIRECT),
        AtMostAndSync(100.0),
    ),
    bar(Apart, "gap of frames widened, p99", What::StretchP99, Added(DIRECT), AtMost(5.0)),
    bar(Apart, "frame under way, p99", What::FrameP99, Added(BARE), Shown),
    bar(Apart, "open streams served whole", What::OpenStreams, Alone, AtLeast(1024.0)),
    bar(Apart, "frames of them stalled or lost", What::Stalls, Alone, AtMost(0.0)),
    bar(Daemon, "memory idle", What::RssIdle, Alone, AtMost(15.0)),
    bar(Daemon, "memory, 1,500 × 150 KB in flight, peak", What::RssPeak, Alone, AtMost(250.0)),
    bar(Daemon, "memory after that", What::RssAfter, Alone, AtMost(40.0)),
    bar(Daemon, "memory per open stream", What::RssStream, Alone, AtMost(40.0)),
    bar(Coderd, "records stored", What::IngestRate, Alone, AtLeast(20_000.0)),
];

impl Whose {
    fn includes(self, name: &str) -> bool {
        let among = |pairs: &[(&str, &str); 2]| pairs.iter().any(|(have, _)| *have == name);
        let (spool, daemon, coderd) = (among(&SPOOL), among(&DAEMON), name == IN_PROCESS);
        match self {
            Self::Spool => spool,
            Self::Os => (spool || daemon) && name.ends_with("os"),
            Self::Strict => (spool || daemon) && name.ends_with("strict"),
            Self::Apart => spool || daemon,
            Self::Daemon => daemon,
            Self::Storing => daemon || coderd,
            Self::Coderd => coderd,
        }
    }
}

/// Every bar with what was measured, for each of our gateways.
pub(crate) fn table(figures: &Figures) -> String {
    let mut text = String::from(
        "| what | gateway | measured | baseline | compared | bar | |\n\
         | --- | --- | ---: | ---: | ---: | ---: | --- |\n",
    );
    for bar in BARS {
        for name in figures.variants().iter().filter(|name| bar.whose.includes(name)) {
            if let Some(row) = row(figures, name, bar) {
                let _ = writeln!(text, "{row}");
            }
        }
    }
    text
}

/// A figure in its unit.
fn shown(what: What, value: f64) -> String {
    let (_, unit, digits) = what.shown();
    format!("{value:.digits$} {unit}")
}

fn row(figures: &Figures, name: &str, bar: &Bar) -> Option<String> {
    let Bar { what, held, .. } = *bar;
    let measured = figures.median(name, what)?;
    let sibling = || name.strip_suffix("strict").map(|begin| format!("{begin}os"));
    let base = match bar.base {
        Alone => None,
        Share(base) | Loss(base) | Added(base) => Some(base.to_owned()),
        AddedToOs => Some(sibling()?),
    };
    let both = |combine: fn(f64, f64) -> f64| figures.both(name, base.as_deref()?, what, combine);
    let (value, unit, compared) = match bar.base {
        Alone => (measured, what.shown().1, String::new()),
        Share(_) => {
            let share = both(|ours, base| ours / base * 100.0)?;
            (share, "%", format!("{share:.1} %"))
        }
        Loss(_) => {
            let loss = both(|ours, base| 100.0 - ours / base * 100.0)?;
            (loss, "%", format!("{loss:.1} % less"))
        }
        Added(_) | AddedToOs => {
            let added = both(|ours, base| ours - base)?;
            (added, what.shown().1, format!("{added:+.1} {}", what.shown().1))
        }
    };
    let baseline = match &base {
        Some(base) => format!("{} ({base})", shown(what, figures.median(base, what)?)),
        None => String::new(),
    };
    let (limit, met) = match held {
        AtMost(limit) => (format!("≤ {limit:.0} {unit}"), Some(value <= limit)),
        AtMostAndSync(limit) => {
            let (sync, ..) = figures.sync_us()?;
            let whole = limit + sync;
            (format!("≤ {sync:.0} + {limit:.0} {unit}"), Some(value <= whole))
        }
        AtLeast(limit) => (format!("≥ {limit:.0} {unit}"), Some(value >= limit)),
        Shown => (String::new(), None),
    };
    let verdict = match met {
        Some(true) => "met |",
        Some(false) => "**missed** |",
        None => "|",
    };
    let measured = shown(what, measured);
    Some(format!(
        "| {} | {name} | {measured} | {baseline} | {compared} | {limit} | {verdict}",
        bar.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_or_missed_and_says_by_how_much() {
        let [(os, _), (strict, _)] = SPOOL;
        let [(daemon, _), _] = DAEMON;
        let mut figures = Figures::default();
        figures.add_sync(300.0);
        for (name, rate, p50, idle) in [
            (DIRECT, 2000.0, 20.0, 0.0),
            (BARE, 1000.0, 40.0, 5.0),
            (RELAY, 800.0, 50.0, 9.0),
            (os, 400.0, 70.0, 12.0),
            (strict, 720.0, 420.0, 30.0),
            (daemon, 700.0, 81.0, 30.0),
        ] {
            figures.add(name, What::Rate32, rate);
            figures.add(name, What::P50At1, p50);
            figures.add(name, What::P50Slow, 20_000.0 + p50);
            figures.add(name, What::RssIdle, idle);
        }
        let table = table(&figures);
        for line in [
            "| requests/s, 32 clients | spool os | 400 requests/s | 1000 requests/s (bare hyper) | 40.0 % | ≥ 50 % | **missed** |",
            "| requests/s, 32 clients | spool strict | 720 requests/s | 1000 requests/s (bare hyper) | 72.0 % | ≥ 50 % | met |",
            "| requests/s lost by governing, 32 clients | spool os | 400 requests/s | 800 requests/s (our relay) | 50.0 % less | ≤ 15 % | **missed** |",
            "| requests/s lost by governing, 32 clients | spool strict | 720 requests/s | 800 requests/s (our relay) | 10.0 % less | ≤ 15 % | met |",
            "| latency added, 1 client, p50 | spool os | 70.0 µs | 20.0 µs (direct) | +50.0 µs | ≤ 60 µs | met |",
            "| latency added, 1 client, p50 | spool strict | 420.0 µs | 20.0 µs (direct) | +400.0 µs | ≤ 300 + 60 µs | **missed** |",
            "| latency added, 1 client, p50 | aibridged os | 81.0 µs | 20.0 µs (direct) | +61.0 µs | ≤ 60 µs | **missed** |",
            "| latency behind an upstream of 20 ms, p50 | spool strict | 20420 µs | 20070 µs (spool os) | +350.0 µs | ≤ 200 µs | **missed** |",
            "| memory idle | aibridged os | 30.0 MB |  |  | ≤ 15 MB | **missed** |",
        ] {
            assert!(table.lines().any(|have| have == line), "{line}\n{table}");
        }
        assert!(!table.contains("| memory idle | spool os |"), "{table}");
    }

    #[test]
    fn every_bar_is_about_some_variant() {
        let names: Vec<&str> =
            SPOOL.iter().chain(&DAEMON).map(|(name, _)| *name).chain([IN_PROCESS]).collect();
        for bar in BARS {
            assert!(names.iter().any(|name| bar.whose.includes(name)), "{}", bar.name);
        }
        assert!(BARS.iter().all(|bar| !bar.whose.includes(BARE) && !bar.whose.includes(RELAY)));
    }
}
