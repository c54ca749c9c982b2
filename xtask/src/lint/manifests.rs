//! What every member's manifest must and must not say.

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use super::{Faults, Workspace};
use crate::tree::Tree;

pub(super) fn check(tree: &Tree, workspace: &Workspace<'_>, faults: &mut Faults) -> Result<()> {
    for member in workspace.members.values() {
        let path = format!("{}/Cargo.toml", member.folder);
        let manifest: Table = tree.read(&path)?.parse().with_context(|| path.clone())?;
        judge(&path, &manifest, faults);
    }
    for package in &workspace.metadata.packages {
        let ours = workspace.members.contains_key(package.name.as_str());
        if ours && package.source.is_some() {
            faults.push(format!(
                "Cargo.lock: `{}` of a registry bears the name of a crate of ours",
                package.name
            ));
        }
    }
    Ok(())
}

fn judge(path: &str, manifest: &Table, faults: &mut Faults) {
    let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace"));
    if inherits != Some(&Value::Boolean(true)) {
        faults.push(format!("{path}: no `[lints] workspace = true`"));
    }
    for field in ["version", "edition", "rust-version", "license", "publish"] {
        let value = manifest.get("package").and_then(|package| package.get(field));
        let inherits = value.and_then(|value| value.get("workspace"));
        if inherits != Some(&Value::Boolean(true)) {
            faults.push(format!("{path}: no `{field}.workspace = true`"));
        }
    }
    let mut sections: Vec<&Table> = Vec::new();
    let mut holders = vec![manifest];
    if let Some(targets) = manifest.get("target").and_then(Value::as_table) {
        holders.extend(targets.values().filter_map(Value::as_table));
    }
    for holder in holders {
        for name in ["dependencies", "dev-dependencies", "build-dependencies"] {
            sections.extend(holder.get(name).and_then(Value::as_table));
        }
    }
    for (name, value) in sections.into_iter().flatten() {
        let plain = value.as_table().is_some_and(|fields| {
            fields.get("workspace") == Some(&Value::Boolean(true))
                && fields.keys().all(|key| key == "workspace" || key == "optional")
        });
        if !plain {
            faults.push(format!(
                "{path}: `{name}` has a version or features of its own; declare them in the root Cargo.toml and \
                 write `{name}.workspace = true`"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[package]\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n";

    #[test]
    fn own_versions_features_and_missing_lints_are_named() {
        let cases = [
            (
                "[lints]\nworkspace = true\n[dependencies]\na.workspace = true\nb = { workspace = true, optional = true }",
                None,
            ),
            ("", Some("no `[lints] workspace = true`")),
            ("[lints]\nworkspace = false", Some("no `[lints] workspace = true`")),
            ("[lints.rust]\nunsafe_code = \"allow\"", Some("no `[lints] workspace = true`")),
            ("[dependencies]\na = \"1\"", Some("`a` has a version")),
            (
                "[dependencies]\na = { workspace = true, features = [\"x\"] }",
                Some("`a` has a version"),
            ),
            ("[dev-dependencies]\na = { path = \"../a\" }", Some("`a` has a version")),
            ("[build-dependencies]\na = { git = \"x\" }", Some("`a` has a version")),
            ("[target.'cfg(unix)'.dependencies]\na = \"1\"", Some("`a` has a version")),
        ];
        for (rest, wanted) in cases {
            let manifest: Table = format!("{GOOD}{rest}").parse().unwrap();
            let mut faults = Faults::new();
            judge("Cargo.toml", &manifest, &mut faults);
            match wanted {
                None => assert!(faults.is_empty(), "{rest}: {faults:?}"),
                Some(part) => {
                    assert!(faults.iter().any(|f| f.contains(part)), "{rest}: {faults:?}");
                }
            }
        }
        let mut faults = Faults::new();
        judge("Cargo.toml", &"[package]\nversion = \"1\"".parse().unwrap(), &mut faults);
        assert!(faults.iter().any(|f| f.contains("no `version.workspace = true`")), "{faults:?}");
    }
}
