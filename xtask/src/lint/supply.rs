//! Licences, bans and sources of everything we depend on, as `deny.toml` says.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use cargo_metadata::Package;
use serde::Deserialize;

use super::{Faults, Workspace};
use crate::tree::Tree;

#[derive(Debug, Deserialize)]
struct Deny {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
    skip: Vec<Ban>,
}

/// `name` or `name@version`.
#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    spec: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// One package, reduced to what is judged.
struct Part {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

fn read(tree: &Tree) -> Result<Deny> {
    toml::from_str(&tree.read("deny.toml")?).context("deny.toml")
}

/// The platform whose dependencies are judged.
pub(super) fn target(tree: &Tree) -> Result<String> {
    let target = read(tree)?.graph.targets.into_iter().next();
    target.context("deny.toml names no target")
}

pub(super) fn check(tree: &Tree, workspace: &Workspace<'_>, faults: &mut Faults) -> Result<()> {
    let resolve = workspace.metadata.resolve.as_ref().context("cargo metadata has no graph")?;
    let built: BTreeSet<_> = resolve.nodes.iter().map(|node| &node.id).collect();
    let part = |package: &Package| Part {
        name: package.name.to_string(),
        version: package.version.to_string(),
        license: package.license.clone(),
        source: package.source.as_ref().map(|source| source.repr.clone()),
    };
    let packages = workspace.metadata.packages.iter();
    let parts: Vec<Part> =
        packages.filter(|package| built.contains(&package.id)).map(part).collect();
    judge(&read(tree)?, &parts, faults);
    Ok(())
}

fn judge(deny: &Deny, parts: &[Part], faults: &mut Faults) {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut skipped = BTreeSet::new();
    for part in parts {
        let Part { name, version, .. } = part;
        match &part.license {
            None => faults.push(format!("deny.toml: {name} {version} declares no licence")),
            Some(license) if !allowed(license, &deny.licenses.allow) => {
                faults.push(format!(
                    "deny.toml: the licence of {name} {version}, `{license}`, is not allowed"
                ));
            }
            Some(_) => {}
        }
        if let Some(source) = &part.source {
            let known = deny.sources.allow_registry.iter();
            if !known.clone().any(|registry| *source == format!("registry+{registry}")) {
                faults.push(format!("deny.toml: {name} {version} comes from {source}"));
            }
        }
        if deny.bans.deny.iter().any(|ban| ban.covers(name, version)) {
            faults.push(format!("deny.toml: {name} {version} is banned"));
        }
        match deny.bans.skip.iter().find(|skip| skip.covers(name, version)) {
            Some(skip) => {
                skipped.insert(&skip.spec);
            }
            None => {
                versions.entry(name).or_default().insert(version);
            }
        }
    }
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let versions: Vec<&str> = versions.iter().copied().collect();
        faults.push(format!(
            "deny.toml: {name} is built in the versions {}; align them, or list the older one in `skip` and say \
             who asks for it",
            versions.join(" and ")
        ));
    }
    for skip in deny.bans.skip.iter().filter(|skip| !skipped.contains(&skip.spec)) {
        faults.push(format!("deny.toml: `{}` is skipped and no longer there", skip.spec));
    }
}

impl Ban {
    fn covers(&self, name: &str, version: &str) -> bool {
        match self.spec.split_once('@') {
            Some((have, exact)) => have == name && exact == version,
            None => self.spec == name,
        }
    }
}

/// Whether an SPDX expression can be satisfied with the allowed licences. `AND` binds tighter than `OR`;
/// the old `/` means `OR`. What cannot be parsed is not allowed.
fn allowed(expression: &str, allow: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { words: &words, allow };
    parser.any() == Some(true) && parser.words.is_empty()
}

struct Parser<'a> {
    words: &'a [&'a str],
    allow: &'a [String],
}

impl Parser<'_> {
    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    fn any(&mut self) -> Option<bool> {
        let mut fine = self.all()?;
        while self.take("OR") {
            fine |= self.all()?;
        }
        Some(fine)
    }

    fn all(&mut self) -> Option<bool> {
        let mut fine = self.one()?;
        while self.take("AND") {
            fine &= self.one()?;
        }
        Some(fine)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let fine = self.any()?;
            return self.take(")").then_some(fine);
        }
        let (name, rest) = self.words.split_first()?;
        if matches!(*name, "OR" | "AND" | "WITH" | ")") {
            return None;
        }
        self.words = rest;
        let mut name = (*name).to_owned();
        if self.take("WITH") {
            let (exception, rest) = self.words.split_first()?;
            self.words = rest;
            name = format!("{name} WITH {exception}");
        }
        Some(self.allow.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_is_allowed_if_it_can_be_satisfied() {
        let allow = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(String::from);
        let cases = [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT AND ISC", true),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("MIT OR GPL-3.0 AND LGPL-3.0", true),
            ("(MIT OR GPL-3.0) AND LGPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("", false),
            ("MIT OR", false),
            ("MIT ISC", false),
            ("(MIT", false),
            ("MIT)", false),
        ];
        for (expression, wanted) in cases {
            assert_eq!(allowed(expression, &allow), wanted, "{expression}");
        }
    }

    #[test]
    fn bans_sources_and_double_versions_are_named() {
        let deny: Deny = toml::from_str(
            r#"
            graph.targets = ["t"]
            licenses.allow = ["MIT"]
            bans.deny = [{ crate = "bad" }]
            bans.skip = [{ crate = "old@1.0.0" }, { crate = "gone@1.0.0" }]
            sources.allow-registry = ["https://index"]
            "#,
        )
        .unwrap();
        let part = |name: &str, version: &str, source: Option<&str>| Part {
            name: name.into(),
            version: version.into(),
            license: Some("MIT".into()),
            source: source.map(String::from),
        };
        let parts = [
            part("ours", "0.1.0", None),
            part("fine", "1.0.0", Some("registry+https://index")),
            part("bad", "1.0.0", Some("registry+https://index")),
            part("git", "1.0.0", Some("git+https://elsewhere")),
            part("old", "1.0.0", None),
            part("old", "2.0.0", None),
            part("twice", "1.0.0", None),
            part("twice", "2.0.0", None),
            Part { license: None, ..part("bare", "1.0.0", None) },
        ];
        let mut faults = Faults::new();
        judge(&deny, &parts, &mut faults);
        let wanted = [
            "bad 1.0.0 is banned",
            "git 1.0.0 comes from git+https://elsewhere",
            "bare 1.0.0 declares no licence",
            "twice is built in the versions 1.0.0 and 2.0.0",
            "`gone@1.0.0` is skipped and no longer there",
        ];
        assert_eq!(faults.len(), wanted.len(), "{faults:?}");
        for part in wanted {
            assert!(faults.iter().any(|fault| fault.contains(part)), "{part}: {faults:?}");
        }
    }
}
