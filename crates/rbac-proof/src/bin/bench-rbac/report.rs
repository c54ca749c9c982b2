//! Figures and their bars, as a table.

use std::fmt::Write as _;

/// How a figure is held against its bar.
#[derive(Clone, Copy)]
pub(crate) enum Held {
    AtMost(f64),
    AtLeast(f64),
    /// No bar.
    Shown,
}

pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) held: Held,
}

impl Line {
    fn met(&self) -> Option<bool> {
        match self.held {
            Held::AtMost(bar) => Some(self.value <= bar),
            Held::AtLeast(bar) => Some(self.value >= bar),
            Held::Shown => None,
        }
    }
}

#[derive(Default)]
pub(crate) struct Report(Vec<Line>);

impl Report {
    pub(crate) fn add(&mut self, line: Line) {
        self.0.push(line);
    }

    pub(crate) fn bars(&self) -> usize {
        self.0.iter().filter(|line| line.met().is_some()).count()
    }

    pub(crate) fn missed(&self) -> usize {
        self.0.iter().filter(|line| line.met() == Some(false)).count()
    }

    pub(crate) fn table(&self) -> String {
        let mut text = String::from("| what | figure | bar | |\n| --- | --- | --- | --- |\n");
        for line in &self.0 {
            let bar = match line.held {
                Held::AtMost(bar) => format!("≤ {bar}"),
                Held::AtLeast(bar) => format!("≥ {bar}"),
                Held::Shown => String::new(),
            };
            let result = match line.met() {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "",
            };
            // Writing to a String cannot fail.
            let digits = usize::from(line.value < 100.0 && line.value != 0.0);
            let _ = writeln!(
                text,
                "| {} | {:.digits$} {} | {bar} | {result} |",
                line.what, line.value, line.unit
            );
        }
        text
    }
}
