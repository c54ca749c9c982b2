//! What was measured, and whether that is enough.

use std::fmt::Write as _;
use std::time::Duration;

/// The better side of a bar.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
    /// Told only.
    None,
}

/// Rows of the table, in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

#[derive(Debug)]
struct Row {
    what: String,
    measured: f64,
    unit: &'static str,
    /// What else is to be known, such as the slowest.
    besides: String,
    bar: Bar,
}

impl Table {
    pub(crate) fn add(
        &mut self,
        what: impl Into<String>,
        (measured, unit): (f64, &'static str),
        besides: impl Into<String>,
        bar: Bar,
    ) {
        let row = Row { what: what.into(), measured, unit, besides: besides.into(), bar };
        eprintln!("{}: {:.3} {unit} ({})", row.what, measured, row.besides);
        self.0.push(row);
    }

    /// The bars that were met and missed, and all rows.
    pub(crate) fn into_markdown(self) -> String {
        let verdicts: Vec<Option<bool>> = self.0.iter().map(Row::is_met).collect();
        let count = |wanted| verdicts.iter().filter(|met| **met == Some(wanted)).count();
        let mut text = format!(
            "{} bars met, {} missed.\n\n| what | measured | besides | bar | |\n| --- | ---: | --- | ---: | --- |\n",
            count(true),
            count(false)
        );
        for (row, met) in self.0.iter().zip(&verdicts) {
            let bar = match row.bar {
                Bar::AtMost(most) => format!("≤ {} {}", figure(most), row.unit),
                Bar::AtLeast(least) => format!("≥ {} {}", figure(least), row.unit),
                Bar::None => String::new(),
            };
            let verdict = match met {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "",
            };
            let Row { what, measured, unit, besides, .. } = row;
            let _ = writeln!(
                text,
                "| {what} | {} {unit} | {besides} | {bar} | {verdict} |",
                figure(*measured)
            );
        }
        text
    }
}

impl Row {
    fn is_met(&self) -> Option<bool> {
        match self.bar {
            Bar::AtMost(most) => Some(self.measured <= most),
            Bar::AtLeast(least) => Some(self.measured >= least),
            Bar::None => None,
        }
    }
}

/// Three digits, or a whole number.
fn figure(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The median and the greatest, in milliseconds.
pub(crate) fn millis(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let of = |time: Option<&Duration>| time.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    (of(times.get(times.len() / 2)), of(times.last()))
}
