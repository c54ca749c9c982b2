//! `cargo xtask fuzz`: runs the targets of `crates/fuzz` under libFuzzer.
//!
//! The coverage that guides libFuzzer is an LLVM pass, which stable Rust can switch on too; a nightly
//! toolchain, if there is one, adds the address sanitizer. What a run learns is kept below the target
//! directory; only what it finds is to be committed, as a seed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::preflight;
use crate::tree::{Tree, output, status};

/// Of the process; what a target keeps of one input is far less.
const MEMORY_MAX_MB: usize = 1024;
/// For one input.
const SECONDS_MAX: usize = 5;
/// Of one input. Longer ones find little more and take their time.
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Memory that the address sanitizer keeps from being used again. Leaks are not looked for: what a thread that
/// just starts has in hand counts as one, and targets have threads. What leaks for real meets the memory limit.
const ASAN_OPTIONS: &str = "quarantine_size_mb=64:allocator_may_return_null=0:detect_leaks=0";

/// As `cargo fuzz` does it: counters at every edge, values of comparisons, and all checks of debug builds.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One target, see docs/fuzzing.md; all of them in turn when it is left out.
    target: Option<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn run(tree: &Tree, args: &Args) -> Result<()> {
    let targets = targets(tree)?;
    if let Some(name) = args.target.as_ref().filter(|name| !targets.contains(*name)) {
        let known: Vec<&str> = targets.iter().map(String::as_str).collect();
        bail!("there is no target `{name}`, but {}", known.join(", "))
    }
    preflight::cxx()?;
    let built = build(tree)?;
    for name in args.target.as_ref().map_or(targets, |name| [name.clone()].into()) {
        fuzz(tree, &built, &name, args.seconds)?;
    }
    Ok(())
}

/// A target has a folder of seeds; a test in `crates/fuzz` sees to it.
fn targets(tree: &Tree) -> Result<BTreeSet<String>> {
    let seeds = tree.path("crates/fuzz/seeds");
    let folders = fs::read_dir(&seeds).with_context(|| format!("no {}", seeds.display()))?;
    folders.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Builds all targets. Returns the folder that they are in.
fn build(tree: &Tree) -> Result<PathBuf> {
    let nightly = ["run", "nightly", "rustc", "--version"];
    let nightly = output(tree.command("rustup").args(nightly)).is_ok();
    let mut command = if nightly {
        let mut command = tree.command("rustup");
        command.args(["run", "nightly", "cargo"]);
        command
    } else {
        println!("no nightly toolchain: without the address sanitizer");
        tree.cargo()
    };
    let mut flags = FLAGS.join(" ");
    if nightly {
        flags.push_str(" -Zsanitizer=address");
    }
    // With a target named, build scripts and macros are built without these flags.
    let host = host(tree)?;
    command.args(["build", "--release", "-p", "fuzz", "--features", "libfuzzer", "--bins"]);
    command.args(["--target", &host]);
    command.arg("--target-dir").arg(home(tree));
    command
        .env("RUSTFLAGS", flags)
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only");
    status(&mut command)?;
    Ok(home(tree).join(host).join("release"))
}

fn host(tree: &Tree) -> Result<String> {
    let said = output(tree.command("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// A target directory of its own, since everything in it is built with other flags.
fn home(tree: &Tree) -> PathBuf {
    tree.target().join("fuzz")
}

fn fuzz(tree: &Tree, built: &Path, name: &str, seconds: u32) -> Result<()> {
    let source = tree.path("crates/fuzz");
    let (learnt, found) =
        (home(tree).join("corpus").join(name), home(tree).join("found").join(name));
    for folder in [&learnt, &found] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let option = |name: &str, path: &Path, end: &str| {
        let mut option = OsString::from(format!("-{name}="));
        option.push(path);
        option.push(end);
        option
    };
    let mut command = Command::new(built.join(format!("fuzz-{name}")));
    command
        .env("ASAN_OPTIONS", ASAN_OPTIONS)
        .args([&learnt, &source.join("seeds").join(name)])
        .arg(option("dict", &source.join("dictionaries").join(format!("{name}.dict")), ""))
        .arg(option("artifact_prefix", &found, "/"))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_MAX_MB}"))
        .arg("-detect_leaks=0")
        .arg(format!("-timeout={SECONDS_MAX}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg("-print_final_stats=1");
    println!("{name}: {seconds} s");
    status(&mut command).with_context(|| {
        format!(
            "the target `{name}` failed; the input is in {}. Mend what it found, then commit the input as \
             crates/fuzz/seeds/{name}/SOME-NAME",
            found.display()
        )
    })
}
