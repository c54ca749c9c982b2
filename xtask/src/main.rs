//! The project's own tool: `cargo xtask --help`.
//!
//! Depends on none of our crates: what it needs of them it runs as a process, so a crate that does not
//! compile never keeps the tool from being used to repair it. One file per command; [`tree`] knows where
//! things lie and how to run cargo, [`child`] starts and ends servers, [`control`] speaks coderd's API.
//!
//! Invariants: nothing listens or connects beyond loopback, but for package managers asked to install; no
//! process outlives the command that started it; no secret is printed, but the one token that `up` is for.

mod bench;
mod chaos;
mod child;
mod control;
mod daemon;
mod e2e;
mod fuzz;
mod lint;
mod preflight;
mod products;
mod psql;
mod served;
mod test;
mod tree;
mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own tool.")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the control plane on this machine and print how to use it.
    Up(up::Args),
    /// Run the tests, after installing what they need.
    Test {
        /// Passed on to `cargo test`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    },
    /// Check layers, manifests, licences and tidiness.
    Lint,
    /// Rebuild committed files from their sources.
    Gen(products::Args),
    /// Run real clients through the gateway and compare records with what was served.
    E2e(e2e::Args),
    /// Look for inputs that break what reads bytes of strangers.
    Fuzz(fuzz::Args),
    /// Kill parts of the product under load and prove that nothing was lost.
    Chaos(chaos::Args),
    /// Measure a part against what it is compared with, and against its bars.
    Bench {
        #[command(subcommand)]
        part: bench::Part,
    },
    /// Run the fake AI provider.
    FakeProvider {
        /// Passed on: `--listen`, `--key`, `--delay-ms`, `--fault`, `--ready-file`, `--seed`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let done = tree::Tree::find().and_then(|tree| match Args::parse().command {
        Command::Up(args) => up::run(&tree, &args),
        Command::Test { rest } => test::run(&tree, &rest),
        Command::Lint => lint::run(&tree),
        Command::Gen(args) => products::run(&tree, &args),
        Command::E2e(args) => e2e::run(&tree, &args),
        Command::Fuzz(args) => fuzz::run(&tree, &args),
        Command::Chaos(args) => chaos::run(&tree, &args),
        Command::Bench { part } => bench::run(&tree, &part),
        Command::FakeProvider { rest } => tree.cargo_status(
            ["run", "-q", "-p", "testkit", "--bin", "fake-provider", "--"]
                .iter()
                .map(OsString::from)
                .chain(rest),
        ),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
