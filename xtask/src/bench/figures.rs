//! What was measured, by variant and round.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is measured. The order is the order of the printed table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Rate32,
    Cpu32,
    P50At32,
    P99At32,
    Busy32,
    Rate1,
    Cpu1,
    P50At1,
    P99At1,
    P50Slow,
    FirstByteP50,
    FirstByteP99,
    FrameP50,
    FrameP99,
    StretchP50,
    StretchP99,
    CpuFrame,
    OpenStreams,
    OpenFrameP99,
    Stalls,
    SustainedAnswered,
    SustainedP99,
    SustainedDrain,
    SustainedRate,
    IngestRate,
    IngestFacts,
    IngestCpu,
    RssIdle,
    RssFlight,
    RssPeak,
    RssAfter,
    RssStream,
    RssStreams,
}

impl What {
    /// Its name and unit, and how many digits matter behind the point.
    pub(crate) const fn shown(self) -> (&'static str, &'static str, usize) {
        match self {
            Self::Rate32 => ("32 clients", "requests/s", 0),
            Self::Cpu32 => ("32 clients, CPU of the gateway", "µs/request", 1),
            Self::P50At32 => ("32 clients, p50", "µs", 0),
            Self::P99At32 => ("32 clients, p99", "µs", 0),
            Self::Busy32 => ("32 clients, load generator on a core", "%", 0),
            Self::Rate1 => ("1 client", "requests/s", 0),
            Self::Cpu1 => ("1 client, CPU of the gateway", "µs/request", 1),
            Self::P50At1 => ("1 client, p50", "µs", 1),
            Self::P99At1 => ("1 client, p99", "µs", 1),
            Self::P50Slow => ("1 client, upstream takes 20 ms, p50", "µs", 0),
            Self::FirstByteP50 => ("stream, first byte, p50", "µs", 1),
            Self::FirstByteP99 => ("stream, first byte, p99", "µs", 1),
            Self::FrameP50 => ("8 streams, frame under way, p50", "µs", 1),
            Self::FrameP99 => ("8 streams, frame under way, p99", "µs", 1),
            Self::StretchP50 => ("8 streams, gap of frames widened, p50", "µs", 1),
            Self::StretchP99 => ("8 streams, gap of frames widened, p99", "µs", 1),
            Self::CpuFrame => ("open streams, CPU of the gateway", "µs/frame", 2),
            Self::OpenStreams => ("open streams served whole", "streams", 0),
            Self::OpenFrameP99 => ("open streams, frame under way, p99", "µs", 0),
            Self::Stalls => ("open streams, frames stalled or lost", "frames", 0),
            Self::SustainedAnswered => ("sustained, answered", "requests/s", 0),
            Self::SustainedP99 => ("sustained, p99", "µs", 0),
            Self::SustainedDrain => ("sustained, last record stored after", "s", 1),
            Self::SustainedRate => ("sustained, until the last is stored", "requests/s", 0),
            Self::IngestRate => ("records alone", "rows/s", 0),
            Self::IngestFacts => ("records alone", "facts/s", 0),
            Self::IngestCpu => ("records alone, CPU of coderd and database", "µs/row", 1),
            Self::RssIdle => ("memory idle", "MB", 1),
            Self::RssFlight => ("memory, large requests in flight", "MB", 1),
            Self::RssPeak => ("memory, peak of that", "MB", 1),
            Self::RssAfter => ("memory after", "MB", 1),
            Self::RssStream => ("memory per open stream", "KB", 1),
            Self::RssStreams => ("memory, streams open for that", "streams", 0),
        }
    }
}

/// Values of rounds, in their order.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    values: BTreeMap<What, BTreeMap<&'static str, Vec<f64>>>,
    /// Variants in the order in which they are shown.
    variants: Vec<&'static str>,
    /// What the disk took to keep a block, at several times, in microseconds.
    sync_us: Vec<f64>,
}

impl Figures {
    /// Nothing is measured yet. Variants are shown in the order of `variants`.
    pub(crate) fn new(variants: impl Iterator<Item = &'static str>) -> Self {
        Self { values: BTreeMap::new(), variants: variants.collect(), sync_us: Vec::new() }
    }

    /// Adds what the disk took to keep a block.
    pub(crate) fn add_sync(&mut self, sync_us: f64) {
        self.sync_us.push(sync_us);
    }

    /// What the disk took: the median, the least and the greatest of the rounds.
    pub(crate) fn sync_us(&self) -> Option<(f64, f64, f64)> {
        let (least, most) = bounds(&self.sync_us);
        Some((median(self.sync_us.clone())?, least, most))
    }

    /// Adds the value of one round.
    pub(crate) fn add(&mut self, variant: &'static str, what: What, value: f64) {
        if !self.variants.contains(&variant) {
            self.variants.push(variant);
        }
        self.values.entry(what).or_default().entry(variant).or_default().push(value);
    }

    fn of(&self, variant: &str, what: What) -> Option<&[f64]> {
        self.values.get(&what)?.get(variant).map(Vec::as_slice)
    }

    /// The median of the rounds.
    pub(crate) fn median(&self, variant: &str, what: What) -> Option<f64> {
        median(self.of(variant, what)?.to_vec())
    }

    /// The median of what `combine` makes of both variants' values of one round.
    pub(crate) fn both(
        &self,
        variant: &str,
        base: &str,
        what: What,
        combine: impl Fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let pairs = self.of(variant, what)?.iter().zip(self.of(base, what)?);
        median(pairs.map(|(value, base)| combine(*value, *base)).collect())
    }

    /// Which variants were measured.
    pub(crate) fn variants(&self) -> &[&'static str] {
        &self.variants
    }

    /// Everything as a table in Markdown: medians, with the least and the greatest of the rounds.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("| what | unit |");
        for variant in &self.variants {
            let _ = write!(text, " {variant} |");
        }
        text.push_str("\n| --- | --- |");
        text.push_str(&" ---: |".repeat(self.variants.len()));
        text.push('\n');
        for what in self.values.keys() {
            let (name, unit, digits) = what.shown();
            let _ = write!(text, "| {name} | {unit} |");
            for variant in &self.variants {
                let cell = self.of(variant, *what).map_or_else(String::new, |values| {
                    let (least, most) = bounds(values);
                    let middle = median(values.to_vec()).unwrap_or_default();
                    if values.len() < 2 {
                        format!("{middle:.digits$}")
                    } else {
                        format!("{middle:.digits$} ({least:.digits$}..{most:.digits$})")
                    }
                });
                let _ = write!(text, " {cell} |");
            }
            text.push('\n');
        }
        text
    }
}

fn bounds(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
        (least.min(*value), most.max(*value))
    })
}

/// The middle one; of an even number the mean of both middle ones.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Figures {
        let mut figures = Figures::default();
        for (variant, values) in [("base", [100.0, 50.0, 80.0]), ("ours", [80.0, 45.0, 40.0])] {
            for value in values {
                figures.add(variant, What::Rate32, value);
            }
        }
        figures.add("ours", What::RssIdle, 12.0);
        figures
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let figures = some();
        assert_eq!(figures.median("base", What::Rate32), Some(80.0));
        let ratio = figures.both("ours", "base", What::Rate32, |value, base| value / base);
        // 0.8, 0.9 and 0.5; the medians alone would say 0.56.
        assert_eq!(ratio, Some(0.8));
        assert_eq!(figures.both("ours", "base", What::RssIdle, |a, b| a - b), None);
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn what_was_not_measured_is_blank_in_the_table() {
        let table = some().table();
        assert!(
            table.contains("| 32 clients | requests/s | 80 (50..100) | 45 (40..80) |"),
            "{table}"
        );
        assert!(table.contains("| memory idle | MB |  | 12.0 |"), "{table}");
    }
}
