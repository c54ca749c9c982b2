//! Asks the engine and the policy as many random questions as wanted.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::thread;

use anyhow::Result;
use clap::Parser as _;
use rbac_proof::differ;

#[derive(clap::Parser)]
struct Args {
    /// How many.
    #[arg(long, default_value_t = 1_000_000)]
    questions: u64,
    /// The first stream of questions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also what the questions turned on.
    #[arg(long)]
    coverage: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let tally = differ::run_all(args.seed, args.questions, threads, |done| {
        // Progress is for watching; a closed terminal does not end the run.
        let _ = write!(std::io::stderr(), "\r{done} questions");
    })?;
    let mut out = std::io::stdout();
    writeln!(std::io::stderr())?;
    writeln!(
        out,
        "{} random questions (seed {}), {} of them also asked through a row filter, {} allowed: no difference \
         between the engine and the policy in Rego.\n\nWhat decided:\n\n{}",
        tally.questions,
        args.seed,
        tally.filtered,
        tally.allowed,
        counted(&tally.reasons)
    )?;
    if args.coverage {
        for (what, counts) in [("granted", &tally.granted_by), ("forbade", &tally.forbidden_by)] {
            writeln!(out, "Roles that {what}:\n\n{}", counted(counts))?;
        }
        writeln!(out, "Questions by feature:\n\n{}", counted(&tally.features))?;
        writeln!(out, "{} declared actions asked about.", tally.actions.len())?;
    }
    Ok(())
}

fn counted<K: Display>(counts: &BTreeMap<K, u64>) -> String {
    let mut text = String::new();
    for (what, times) in counts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {times:>9}  {what}");
    }
    text
}
