//! `cargo xtask bench store`: lists, point queries, records and rotation on a PostgreSQL server of its own.
//!
//! The work is done by `bench-store` of `crates/bench`.

use std::env;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use super::machine;
use crate::preflight;
use crate::tree::{Tree, status, write};
use crate::up::random_word;

/// Where the last run is told.
const FILE: &str = "docs/bench-store.md";
/// Everything in the file that does not change from run to run.
const READING: &str = include_str!("store.md");

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rows of the audit log, and of the interceptions; 10 million take ten minutes and 15 GB of disk.
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(10_000..))]
    rows: u32,
    /// How often each is measured.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(5..))]
    rounds: u32,
    /// Where the server keeps its data meanwhile; the directory for temporary files if absent.
    #[arg(long, value_name = "DIR")]
    dir: Option<std::path::PathBuf>,
    /// Write the result to docs/bench-store.md.
    #[arg(long, conflicts_with_all = ["rows", "rounds"])]
    write: bool,
}

pub(crate) fn run(tree: &Tree, args: &Args) -> Result<()> {
    preflight::postgres()?;
    status(tree.cargo().args(["build", "-q", "--release", "-p", "bench", "--bin", "bench-store"]))?;
    let parent = args.dir.clone().unwrap_or_else(env::temp_dir);
    let dir = parent.join(format!("coder-bench-store-{}", random_word(8)?));
    // PostgreSQL's account must be able to pass through it.
    fs::DirBuilder::new()
        .mode(0o711)
        .create(&dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    let machine = format!("{}, {}", machine::describe(tree)?, machine::file_system(&dir)?);
    println!("{machine}\n");
    let table = measure(tree, args, &dir);
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    let table = table?;
    println!("{table}");
    if args.write {
        let text = READING.replace("@machine@", &machine).replace("@table@", table.trim());
        write(&tree.path(Path::new(FILE)), &text, 0o644)?;
        println!("written to {FILE}");
    }
    Ok(())
}

fn measure(tree: &Tree, args: &Args, dir: &Path) -> Result<String> {
    let output = tree
        .command(tree.target().join("release").join("bench-store"))
        .arg("--dir")
        .arg(dir)
        .args(["--rows", &args.rows.to_string(), "--rounds", &args.rounds.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run bench-store")?;
    if !output.status.success() {
        bail!("bench-store failed ({})", output.status);
    }
    String::from_utf8(output.stdout).context("no text was printed")
}
