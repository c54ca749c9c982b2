//! `cargo xtask bench rbac`: a decision of the engine against the same in a Rego and in a Cedar policy.
//!
//! The work is done by programs of `crates/rbac-proof`. They are built by themselves: the engines that are
//! compared with are large, and nothing else wants them.

use anyhow::{Result, bail};

use super::machine;
use crate::tree::{Tree, status};

const PACKAGE: &str = "rbac-proof";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure nothing: ask the engine and the Rego policy random questions and compare their answers.
    #[arg(long)]
    differential: bool,
    /// How many random questions; 1,000,000 with --differential, 2,000 before measuring.
    #[arg(long, value_name = "N")]
    questions: Option<u64>,
    /// Which random questions.
    #[arg(long, value_name = "SEED", requires = "differential")]
    seed: Option<u64>,
}

pub(crate) fn run(tree: &Tree, args: &Args) -> Result<()> {
    if args.questions == Some(0) {
        bail!("--questions must be at least 1");
    }
    println!("{}", machine::describe(tree)?);
    let cargo = |words: &[&str], rest: &[String]| {
        let mut command = tree.cargo();
        // Backtraces of what regorus takes for errors on its way would slow it down by a quarter.
        command.args(words).args(rest).env("RUST_LIB_BACKTRACE", "0");
        status(&mut command)
    };
    if args.differential {
        let mut rest =
            vec!["--questions".to_owned(), args.questions.unwrap_or(1_000_000).to_string()];
        rest.extend(args.seed.into_iter().flat_map(|seed| ["--seed".to_owned(), seed.to_string()]));
        return cargo(
            &["run", "-q", "--release", "-p", PACKAGE, "--bin", "prove-rbac", "--"],
            &rest,
        );
    }
    let features = ["--release", "-p", PACKAGE, "--features", "cedar"];
    cargo(&[&["build", "-q", "--bin", "count-rbac"][..], &features].concat(), &[])?;
    let agree = ["--agree".to_owned(), args.questions.unwrap_or(2_000).to_string()];
    cargo(&[&["run", "-q", "--bin", "bench-rbac"][..], &features, &["--"]].concat(), &agree)
}
