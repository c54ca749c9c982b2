//! `cargo xtask test`: the whole test suite, on a machine with nothing but Rust and a C compiler.

use std::ffi::OsString;

use anyhow::Result;

use crate::preflight;
use crate::tree::Tree;

pub(crate) fn run(tree: &Tree, rest: &[OsString]) -> Result<()> {
    preflight::postgres()?;
    let (mut chosen, mut neighbour) = (false, false);
    for arg in rest.iter().filter_map(|arg| arg.to_str()) {
        chosen |= arg == "--workspace" || arg.starts_with("-p") || arg.starts_with("--package");
        neighbour |= arg.ends_with("aibridged");
    }
    if neighbour {
        // Its tests run both daemons. With the whole workspace, coderd's own tests have it built.
        tree.cargo_status(["build", "-p", "coderd", "--bin", "coderd"].map(OsString::from))?;
    }
    let workspace = (!chosen).then(|| OsString::from("--workspace"));
    let args = [OsString::from("test")].into_iter();
    tree.cargo_status(args.chain(workspace).chain(rest.iter().cloned()))
}
