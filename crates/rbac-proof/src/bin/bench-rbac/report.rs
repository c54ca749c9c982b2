//! Figures and their bars, as a table.

use std::fmt::Write as _;

/// How a figure is held against its bar, in the unit of the figure; times are in nanoseconds.
#[derive(Clone, Copy)]
pub(crate) enum Held {
    AtMost(f64),
    AtLeast(f64),
    /// No bar.
    Shown,
}

#[derive(Clone, Copy)]
enum Unit {
    Ns,
    Times,
    Count,
}

struct Line {
    what: String,
    value: f64,
    unit: Unit,
    held: Held,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Ns if value >= 1e6 => format!("{:.2} ms", value / 1e6),
            Self::Ns if value >= 1e3 => format!("{:.*} µs", digits(value / 1e3), value / 1e3),
            Self::Ns => format!("{value:.*} ns", digits(value)),
            Self::Times => format!("{value:.0}×"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

fn digits(value: f64) -> usize {
    usize::from(value < 100.0 && value.fract() != 0.0)
}

impl Line {
    fn met(&self) -> Option<bool> {
        match self.held {
            Held::AtMost(bar) => Some(self.value <= bar),
            Held::AtLeast(bar) => Some(self.value >= bar),
            Held::Shown => None,
        }
    }

    /// How many times better than the bar; below one if it is missed.
    fn ratio(&self) -> Option<f64> {
        match self.held {
            Held::AtMost(bar) if self.value > 0.0 => Some(bar / self.value),
            Held::AtLeast(bar) => Some(self.value / bar),
            Held::AtMost(_) | Held::Shown => None,
        }
    }
}

#[derive(Default)]
pub(crate) struct Report(Vec<Line>);

impl Report {
    /// A time in nanoseconds.
    pub(crate) fn ns(&mut self, what: &str, orgs: usize, value: f64, held: Held) {
        self.add(what, orgs, value, Unit::Ns, held);
    }

    /// How many times as much.
    pub(crate) fn times(&mut self, what: &str, orgs: usize, value: f64, held: Held) {
        self.add(what, orgs, value, Unit::Times, held);
    }

    /// A number of things.
    pub(crate) fn count(&mut self, what: &str, orgs: usize, value: f64, held: Held) {
        self.add(what, orgs, value, Unit::Count, held);
    }

    fn add(&mut self, what: &str, orgs: usize, value: f64, unit: Unit, held: Held) {
        let plural = if orgs == 1 { "" } else { "s" };
        let what = format!("{what}, {orgs} organization{plural}");
        self.0.push(Line { what, value, unit, held });
    }

    pub(crate) fn bars(&self) -> usize {
        self.0.iter().filter(|line| line.met().is_some()).count()
    }

    pub(crate) fn missed(&self) -> usize {
        self.0.iter().filter(|line| line.met() == Some(false)).count()
    }

    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| what | measured | bar | times better than the bar | |\n| --- | ---: | ---: | ---: | --- |\n",
        );
        for line in &self.0 {
            let bar = match line.held {
                Held::AtMost(bar) => format!("≤ {}", line.unit.show(bar)),
                Held::AtLeast(bar) => format!("≥ {}", line.unit.show(bar)),
                Held::Shown => String::new(),
            };
            let result = match line.met() {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "",
            };
            let ratio = line.ratio().map_or_else(String::new, |ratio| format!("{ratio:.1}"));
            let value = line.unit.show(line.value);
            // Writing to a String cannot fail.
            let _ = writeln!(text, "| {} | {value} | {bar} | {ratio} | {result} |", line.what);
        }
        text
    }
}
