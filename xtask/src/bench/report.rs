//! What is told at the end, on the terminal and in `docs/bench.md`.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::bars;
use super::figures::{Figures, What};
use crate::tree::{Tree, write};

/// Where the last whole run is told.
const FILE: &str = "docs/bench.md";
/// Everything in the file that does not change from run to run.
const READING: &str = include_str!("reading.md");

/// One run.
pub(crate) struct Report {
    /// Machine, date and commit, in one line.
    pub(crate) machine: String,
    pub(crate) figures: Figures,
    /// Versions of peers, or why they are absent.
    pub(crate) peers: Vec<String>,
    pub(crate) took: Duration,
}

impl Report {
    /// The bars, then all figures.
    pub(crate) fn tables(&self) -> String {
        let Self { machine, figures, peers, took } = self;
        let mut text = format!("{machine}.\n");
        if let Some((middle, least, most)) = figures.sync_us() {
            let _ = writeln!(
                text,
                "One sync of the disk (4 KiB written, fdatasync): {middle:.0} µs, {least:.0} to {most:.0} in the \
                 course of the run. Measured in {took:?}."
            );
        }
        let table = bars::table(figures);
        let missed = table.lines().filter(|line| line.ends_with("| **missed** |")).count();
        let met = table.lines().filter(|line| line.ends_with("| met |")).count();
        let _ = write!(text, "\n## Bars\n\n{met} met, {missed} missed.\n\n{table}");
        let _ = write!(
            text,
            "\n## Figures\n\nMedians of the rounds; in brackets the least and the greatest.\n\n{}",
            figures.table()
        );
        let limited: Vec<&str> = figures
            .variants()
            .iter()
            .copied()
            .filter(|name| figures.median(name, What::Busy32).is_some_and(|busy| busy >= 90.0))
            .collect();
        if !limited.is_empty() {
            let _ = writeln!(
                text,
                "\nAt 32 clients the load generator was the limit of: {}. They could do more.",
                limited.join(", ")
            );
        }
        if !peers.is_empty() {
            let _ = write!(text, "\nPeers:\n\n- {}\n", peers.join("\n- "));
        }
        text
    }

    /// Puts the run in place of the one before.
    pub(crate) fn write(&self, tree: &Tree) -> Result<()> {
        let text = READING.replace("@tables@", self.tables().trim_end());
        write(&tree.path(Path::new(FILE)), &text, 0o644)?;
        println!("written to {FILE}");
        Ok(())
    }
}
