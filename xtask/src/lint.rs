//! `cargo xtask lint`: the rules of the house that rustc and clippy do not know.

mod database;
mod layers;
mod manifests;
mod supply;
mod tidy;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package};
use serde_json::Value;

use crate::tree::Tree;

/// What is wrong, one line each.
type Faults = Vec<String>;

/// A crate of the workspace.
struct Member<'a> {
    package: &'a Package,
    /// Its folder in the checkout: `crates/store`.
    folder: String,
    layer: u64,
}

/// The members by name, and everything that cargo knows.
struct Workspace<'a> {
    metadata: &'a Metadata,
    members: BTreeMap<String, Member<'a>>,
}

pub(crate) fn run(tree: &Tree) -> Result<()> {
    let mut command = MetadataCommand::new();
    command.manifest_path(tree.path("Cargo.toml"));
    command.other_options(["--filter-platform", supply::target(tree)?.as_str()].map(String::from));
    let metadata = command.exec().context("cargo metadata failed")?;
    let mut faults = Faults::new();
    let workspace = Workspace::read(tree, &metadata, &mut faults)?;
    layers::check(tree, &workspace, &mut faults)?;
    manifests::check(tree, &workspace, &mut faults)?;
    supply::check(tree, &workspace, &mut faults)?;
    tidy::check(tree, &workspace, &mut faults)?;
    database::check(tree, &mut faults)?;
    if faults.is_empty() {
        return Ok(());
    }
    faults.sort();
    faults.dedup();
    for fault in &faults {
        eprintln!("{fault}");
    }
    bail!("{} faults", faults.len())
}

impl<'a> Workspace<'a> {
    fn read(tree: &Tree, metadata: &'a Metadata, faults: &mut Faults) -> Result<Self> {
        let mut members = BTreeMap::new();
        for package in metadata.workspace_packages() {
            let name = package.name.to_string();
            let manifest = PathBuf::from(&package.manifest_path);
            let folder = manifest
                .parent()
                .and_then(|folder| folder.strip_prefix(&tree.root).ok())
                .with_context(|| format!("{name} lies outside the checkout"))?
                .to_string_lossy()
                .into_owned();
            let last = folder.rsplit('/').next();
            if last != Some(name.as_str()) {
                faults.push(format!("{folder}: the package is called `{name}`, not as its folder"));
            }
            let Some(layer) = package.metadata.pointer("/house/layer").and_then(Value::as_u64)
            else {
                faults.push(format!("{folder}/Cargo.toml: no `[package.metadata.house] layer`"));
                continue;
            };
            let member = Member { package, folder, layer };
            members.insert(name, member);
        }
        Ok(Self { metadata, members })
    }
}

/// Whether `name` is `pattern`, which may end in `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}
