//! What the project has promised itself, and whether it is so.

use std::fmt::Write as _;

use super::figures::{Figures, What};
use super::parts::{BARE, DIRECT, RELAY};

/// The fsync of the disk on which the bars were set, in microseconds.
const FSYNC_US: f64 = 136.0;

/// How a figure is held against its bar.
#[derive(Clone, Copy)]
enum Held {
    AtMost(f64),
    AtLeast(f64),
}

struct Bar {
    what: &'static str,
    unit: &'static str,
    held: Held,
    value: fn(&Figures, &str) -> Option<f64>,
}

const BARS: &[Bar] = &[
    Bar {
        what: "requests/s at 32 clients, of the bare proxy's",
        unit: "%",
        held: Held::AtLeast(50.0),
        value: |figures, name| {
            figures.both(name, BARE, What::Rate32, |ours, base| ours / base * 100.0)
        },
    },
    Bar {
        what: "requests/s at 32 clients lost against our relay",
        unit: "%",
        held: Held::AtMost(15.0),
        value: |figures, name| {
            figures.both(name, RELAY, What::Rate32, |ours, base| 100.0 - ours / base * 100.0)
        },
    },
    Bar {
        what: "added latency at 1 client, p50",
        unit: "µs",
        held: Held::AtMost(60.0),
        value: |figures, name| added(figures, name, What::P50At1),
    },
    Bar {
        what: "added latency at 1 client, p99",
        unit: "µs",
        held: Held::AtMost(250.0),
        value: |figures, name| added(figures, name, What::P99At1),
    },
    Bar {
        what: "added latency at 1 client, upstream takes 20 ms, p50",
        unit: "µs",
        held: Held::AtMost(60.0 + FSYNC_US),
        value: |figures, name| added(figures, name, What::P50Slow),
    },
    Bar {
        what: "added time to first byte, p50",
        unit: "µs",
        held: Held::AtMost(100.0 + FSYNC_US),
        value: |figures, name| added(figures, name, What::FirstByteP50),
    },
    Bar {
        what: "added per frame (gap widened), p99",
        unit: "µs",
        held: Held::AtMost(5.0),
        value: |figures, name| added(figures, name, What::StretchP99),
    },
    Bar {
        what: "open streams served whole",
        unit: "streams",
        held: Held::AtLeast(1024.0),
        value: |figures, name| figures.median(name, What::OpenStreams),
    },
    Bar {
        what: "frames stalled or lost",
        unit: "frames",
        held: Held::AtMost(0.0),
        value: |figures, name| figures.median(name, What::Stalls),
    },
    Bar {
        what: "memory idle",
        unit: "MB",
        held: Held::AtMost(15.0),
        value: |figures, name| figures.median(name, What::RssIdle),
    },
    Bar {
        what: "memory with 1,500 requests of 150 KB in flight",
        unit: "MB",
        held: Held::AtMost(250.0),
        value: |figures, name| figures.median(name, What::RssFlight),
    },
    Bar {
        what: "memory after that",
        unit: "MB",
        held: Held::AtMost(40.0),
        value: |figures, name| figures.median(name, What::RssAfter),
    },
    Bar {
        what: "memory per open stream",
        unit: "KB",
        held: Held::AtMost(40.0),
        value: |figures, name| figures.median(name, What::RssStream),
    },
];

fn added(figures: &Figures, name: &str, what: What) -> Option<f64> {
    figures.both(name, DIRECT, what, |ours, direct| ours - direct)
}

/// Every bar with what was measured, for each of our gateways.
pub(crate) fn table(figures: &Figures) -> String {
    let mut text = String::from(
        "| variant | what | measured | bar | ratio | |\n| --- | --- | ---: | ---: | ---: | --- |\n",
    );
    for name in figures.variants().iter().filter(|name| ![DIRECT, BARE].contains(name)) {
        for bar in BARS {
            if *name == RELAY && bar.what.ends_with("our relay") {
                continue;
            }
            if let Some(value) = (bar.value)(figures, name) {
                let _ = writeln!(text, "{}", row(name, bar, value));
            }
        }
    }
    text
}

fn row(name: &str, bar: &Bar, value: f64) -> String {
    let (sign, limit, met) = match bar.held {
        Held::AtMost(limit) => ("≤", limit, value <= limit),
        Held::AtLeast(limit) => ("≥", limit, value >= limit),
    };
    let ratio = if limit == 0.0 { String::new() } else { format!("{:.2}", value / limit) };
    let verdict = if met { "met" } else { "**not met**" };
    format!(
        "| {name} | {} | {value:.1} {} | {sign} {limit:.0} {} | {ratio} | {verdict} |",
        bar.what, bar.unit, bar.unit
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_or_not_and_says_by_how_much() {
        let mut figures = Figures::default();
        for (name, rate, idle) in [(BARE, 1000.0, 5.0), (RELAY, 800.0, 9.0), ("ours", 400.0, 12.0)]
        {
            figures.add(name, What::Rate32, rate);
            figures.add(name, What::RssIdle, idle);
        }
        let table = table(&figures);
        for line in [
            "| ours | requests/s at 32 clients, of the bare proxy's | 40.0 % | ≥ 50 % | 0.80 | **not met** |",
            "| ours | requests/s at 32 clients lost against our relay | 50.0 % | ≤ 15 % | 3.33 | **not met** |",
            "| ours | memory idle | 12.0 MB | ≤ 15 MB | 0.80 | met |",
            "| our relay | requests/s at 32 clients, of the bare proxy's | 80.0 % | ≥ 50 % | 1.60 | met |",
        ] {
            assert!(table.lines().any(|have| have == line), "{line}\n{table}");
        }
        assert!(!table.contains("| bare hyper |"), "{table}");
    }
}
