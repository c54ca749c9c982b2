//! `cargo xtask bench rbac`: a decision of the engine against the same in a Rego and in a Cedar policy.
//!
//! The work is done by programs of `crates/rbac-proof`. They are built by themselves: the engines that are
//! compared with are large, and nothing else wants them.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::machine;
use crate::tree::{Tree, status, write};

const PACKAGE: &str = "rbac-proof";
/// Where the last run is told.
const FILE: &str = "docs/bench-rbac.md";
/// Everything in the file that does not change from run to run.
const READING: &str = include_str!("rbac.md");
/// How many random questions prove that engine and Rego policy agree.
const PROOF: u64 = 1_000_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure nothing: ask the engine and the Rego policy random questions and compare their answers.
    #[arg(long)]
    differential: bool,
    /// How many random questions; 1,000,000 with --differential, 2,000 before measuring.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    questions: Option<u64>,
    /// Which random questions.
    #[arg(long, value_name = "SEED", requires = "differential")]
    seed: Option<u64>,
    /// Ask the million random questions, measure, and write both to docs/bench-rbac.md.
    #[arg(long, conflicts_with_all = ["differential", "questions"])]
    write: bool,
}

pub(crate) fn run(tree: &Tree, args: &Args) -> Result<()> {
    let machine = machine::describe(tree)?;
    println!("{machine}\n");
    if args.differential {
        differ(tree, args.questions.unwrap_or(PROOF), args.seed)?;
        return Ok(());
    }
    if !args.write {
        measure(tree, args.questions.unwrap_or(2_000))?;
        return Ok(());
    }
    let agreement = differ(tree, PROOF, None)?;
    let bars = measure(tree, 20_000)?;
    let text = READING
        .replace("@machine@", &machine)
        .replace("@agreement@", agreement.trim())
        .replace("@bars@", bars.trim());
    write(&tree.path(Path::new(FILE)), &text, 0o644)?;
    println!("written to {FILE}");
    Ok(())
}

fn differ(tree: &Tree, questions: u64, seed: Option<u64>) -> Result<String> {
    build(tree, &["--bin", "prove-rbac"])?;
    let mut command = program(tree, "prove-rbac");
    command.args(["--coverage", "--questions", &questions.to_string()]);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    told(&mut command)
}

fn measure(tree: &Tree, agree: u64) -> Result<String> {
    build(tree, &["--bin", "count-rbac", "--bin", "bench-rbac", "--features", "cedar"])?;
    told(program(tree, "bench-rbac").args(["--agree", &agree.to_string()]))
}

fn build(tree: &Tree, what: &[&str]) -> Result<()> {
    status(tree.cargo().args(["build", "-q", "--release", "-p", PACKAGE]).args(what))
}

fn program(tree: &Tree, name: &str) -> Command {
    let mut command = tree.command(tree.target().join("release").join(name));
    // Backtraces of what regorus takes for errors on its way would slow it down by a quarter.
    command.env("RUST_LIB_BACKTRACE", "0");
    command
}

/// Runs a program, which shows its progress, and shows and returns what it found.
fn told(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let text = String::from_utf8(output.stdout).context("no text was printed")?;
    println!("{text}");
    if !output.status.success() {
        bail!("{} failed ({})", command.get_program().display(), output.status);
    }
    Ok(text)
}
