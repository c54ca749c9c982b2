//! `cargo xtask test`: the whole test suite, on a machine with nothing but Rust and a C compiler.

use std::ffi::OsString;

use anyhow::Result;

use crate::preflight;
use crate::tree::Tree;

pub(crate) fn run(tree: &Tree, rest: &[OsString]) -> Result<()> {
    preflight::postgres()?;
    let chosen =
        rest.iter().any(|arg| matches!(arg.to_str(), Some("-p" | "--package" | "--workspace")));
    let workspace = (!chosen).then(|| OsString::from("--workspace"));
    let args = [OsString::from("test")].into_iter();
    tree.cargo_status(args.chain(workspace).chain(rest.iter().cloned()))
}
