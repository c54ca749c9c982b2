//! Asks the engine and the policy as many random questions as wanted.

use std::io::Write as _;

use anyhow::Result;
use clap::Parser as _;
use rbac_proof::differ;

#[derive(clap::Parser)]
struct Args {
    /// How many.
    #[arg(long, default_value_t = 1_000_000)]
    questions: u64,
    /// The stream of questions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let tally = differ::run(args.seed, args.questions, |done| {
        // Progress is for watching; a closed terminal does not end the run.
        let _ = write!(std::io::stderr(), "\r{done} questions");
    })?;
    let mut out = std::io::stdout();
    writeln!(
        out,
        "\n{} questions of seed {}, {} allowed, {} of them also asked through a row filter: no difference.",
        tally.questions, args.seed, tally.allowed, tally.filtered
    )?;
    for (reason, times) in &tally.reasons {
        writeln!(out, "{times:>9}  {reason}")?;
    }
    Ok(())
}
