//! `cargo xtask gen [--check] [name]`: rebuild committed files from their sources.

mod typescript;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::MetadataCommand;

use crate::preflight;
use crate::tree::{Tree, output, write};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail if a file is not what it would be.
    #[arg(long)]
    check: bool,
    /// Names of products; all of them by default.
    names: Vec<String>,
}

/// A committed file that is made from something else.
struct Product {
    name: &'static str,
    /// Stage 1 is what the crates of stage 2 need in order to compile.
    stage: u8,
    out: &'static str,
    source: Source,
}

/// What a product is made by.
enum Source {
    /// A binary of ours that prints it: package, binary, arguments.
    Bin(&'static str, &'static str, &'static [&'static str]),
    /// A function of this tool.
    Own(fn(&Tree) -> Result<String>),
}

const PRODUCTS: &[Product] = &[
    Product {
        name: "schema",
        stage: 1,
        out: "crates/store/src/schema.rs",
        source: Source::Bin("schemagen", "schemagen", &["schema"]),
    },
    Product {
        name: "constraints",
        stage: 1,
        out: "crates/store/src/constraints.rs",
        source: Source::Bin("schemagen", "schemagen", &["constraints"]),
    },
    Product {
        name: "access",
        stage: 2,
        out: "docs/generated/store-access.md",
        source: Source::Bin("store", "store-access", &[]),
    },
    Product {
        name: "rbac",
        stage: 2,
        out: "docs/generated/rbac-matrix.md",
        source: Source::Bin("rbac", "rbac-matrix", &[]),
    },
    Product {
        name: "config",
        stage: 2,
        out: "docs/generated/config.md",
        source: Source::Bin("config", "config-docs", &["markdown"]),
    },
    Product {
        name: "dotenv",
        stage: 2,
        out: ".env.example",
        source: Source::Bin("config", "config-docs", &["dotenv"]),
    },
    Product {
        name: "openapi",
        stage: 2,
        out: "docs/openapi.json",
        source: Source::Bin("api", "api-schema", &[]),
    },
    Product {
        name: "types",
        stage: 3,
        out: "crates/sdk/typescript/types.ts",
        source: Source::Own(typescript::make),
    },
];

/// The files that this command writes; the tidy checks leave their length alone.
pub(crate) fn outputs() -> impl Iterator<Item = &'static str> {
    PRODUCTS.iter().map(|product| product.out)
}

pub(crate) fn run(tree: &Tree, args: &Args) -> Result<()> {
    let names: Vec<&str> = PRODUCTS.iter().map(|product| product.name).collect();
    if let Some(unknown) = args.names.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("there is no product `{unknown}`, only {}", names.join(", "));
    }
    let wanted = |product: &&Product| {
        args.names.is_empty() || args.names.iter().any(|name| name == product.name)
    };
    if PRODUCTS.iter().filter(wanted).any(|product| product.stage == 1) {
        // The schema is read back from a server.
        preflight::postgres()?;
    }
    let bins = bins(tree)?;
    let mut faults = Vec::new();
    for stage in 1..=3 {
        let in_stage = |product: &&Product| product.stage == stage && wanted(product);
        for product in PRODUCTS.iter().filter(in_stage) {
            let settled = make(tree, product, &bins)
                .and_then(|text| settle(tree, product, &text, args.check));
            if let Err(error) = settled {
                faults.push(format!("{}: {error:#}", product.name));
            }
        }
        if !faults.is_empty() && !args.check {
            // Later stages would be built from what failed.
            break;
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    bail!("{}", faults.join("\n"))
}

fn make(tree: &Tree, product: &Product, bins: &[(String, String)]) -> Result<String> {
    let text = match product.source {
        Source::Own(make) => make(tree)?,
        Source::Bin(package, bin, args) => {
            if !bins.iter().any(|(have, name)| have == package && name == bin) {
                bail!("package `{package}` has no binary `{bin}`");
            }
            let program = tree.build(&[(package, bin)], false)?;
            let program = program.first().context("cargo built no executable")?;
            let mut command = tree.command(program);
            command.args(args);
            output(&mut command)?
        }
    };
    if text.trim().is_empty() {
        bail!("the generator printed nothing");
    }
    let is_rust = Path::new(product.out).extension().is_some_and(|extension| extension == "rs");
    if is_rust { formatted(tree, &text) } else { Ok(text) }
}

/// The text as `cargo fmt` wants it: both checks must be content with the same file.
fn formatted(tree: &Tree, text: &str) -> Result<String> {
    let mut command = tree.command("rustfmt");
    command.args(["--edition", "2024", "--quiet", "--config-path"]).arg(tree.path("rustfmt.toml"));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run rustfmt")?;
    let mut stdin = child.stdin.take().context("rustfmt has no standard input")?;
    let source = text.to_owned();
    // On a thread of its own: a long text fills both pipes.
    let writer = thread::spawn(move || stdin.write_all(source.as_bytes()));
    let output = child.wait_with_output().context("cannot run rustfmt")?;
    let written = writer.join();
    if !output.status.success() || !matches!(written, Ok(Ok(()))) {
        bail!("rustfmt does not take what the generator printed");
    }
    String::from_utf8(output.stdout).context("rustfmt printed no UTF-8")
}

/// The binaries of the workspace, with their packages.
fn bins(tree: &Tree) -> Result<Vec<(String, String)>> {
    let mut command = MetadataCommand::new();
    command.manifest_path(tree.path("Cargo.toml")).no_deps();
    let packages = command.exec()?.packages;
    let bins = packages.iter().flat_map(|package| {
        let targets = package.targets.iter().filter(|target| target.is_bin());
        targets.map(|target| (package.name.to_string(), target.name.clone()))
    });
    Ok(bins.collect())
}

fn settle(tree: &Tree, product: &Product, text: &str, check: bool) -> Result<()> {
    let path = tree.path(product.out);
    let now = fs::read_to_string(&path).unwrap_or_default();
    if now == text {
        return Ok(());
    }
    if !check {
        println!("{} is new", product.out);
        return write(&path, text, 0o644);
    }
    let (line, have, want) = first_difference(&now, text);
    bail!(
        "{} is stale at line {line}: it has {have}, its source says {want}; run `cargo xtask gen {}`",
        product.out,
        product.name
    )
}

/// The number of the first line that differs, and both lines.
fn first_difference(now: &str, text: &str) -> (usize, String, String) {
    let (mut have, mut want) = (now.lines(), text.lines());
    let shown = |line: Option<&str>| match line {
        Some(line) => format!("`{line}`"),
        None => "no such line".to_owned(),
    };
    for number in 1.. {
        let pair = (have.next(), want.next());
        if pair.0 != pair.1 {
            return (number, shown(pair.0), shown(pair.1));
        }
        if pair == (None, None) {
            return (number, "another line ending".to_owned(), "this one".to_owned());
        }
    }
    (0, String::new(), String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told_with_both_lines() {
        let cases = [
            ("a\nb\n", "a\nc\n", (2, "`b`", "`c`")),
            ("", "a\n", (1, "no such line", "`a`")),
            ("a\nb\n", "a\n", (2, "`b`", "no such line")),
            ("a", "a\n", (2, "another line ending", "this one")),
        ];
        for (now, text, (line, have, want)) in cases {
            assert_eq!(first_difference(now, text), (line, have.to_owned(), want.to_owned()));
        }
    }

    #[test]
    fn no_name_and_no_file_is_listed_twice() {
        for (at, product) in PRODUCTS.iter().enumerate() {
            let rest = PRODUCTS.get(at + 1..).unwrap();
            assert!(rest.iter().all(|p| p.name != product.name && p.out != product.out));
        }
    }
}
