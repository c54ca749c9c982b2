//! Who may import whom.

use anyhow::{Context as _, Result};
use cargo_metadata::DependencyKind;
use serde::Deserialize;

use super::{Faults, Member, Workspace, matches};
use crate::tree::Tree;

/// The only crate above all layers that tests of any crate may use.
const TEST_SUPPORT: &str = "testkit";
/// Uses none of ours, so that it runs when they do not compile.
const TOOL: &str = "xtask";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    #[serde(default)]
    sideways: Vec<Sideways>,
    #[serde(default)]
    only: Vec<Only>,
    #[serde(default)]
    never: Vec<Never>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sideways {
    from: String,
    to: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Only {
    external: String,
    crates: Vec<String>,
    #[serde(default)]
    tests: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Never {
    #[serde(rename = "crate")]
    name: String,
    without: Vec<String>,
    reason: String,
}

/// One dependency of a member.
struct Edge {
    from: String,
    folder: String,
    layer: u64,
    to: String,
    /// The layer of `to` if it is one of ours.
    to_layer: Option<u64>,
    dev: bool,
}

pub(super) fn check(tree: &Tree, workspace: &Workspace<'_>, faults: &mut Faults) -> Result<()> {
    let rules = toml::from_str(&tree.read("xtask/layers.toml")?).context("xtask/layers.toml")?;
    judge(&rules, &edges(workspace), faults);
    Ok(())
}

fn edges(workspace: &Workspace<'_>) -> Vec<Edge> {
    let of = |(name, member): (&String, &Member<'_>)| -> Vec<Edge> {
        let dependencies = member.package.dependencies.iter();
        dependencies
            .map(|dependency| Edge {
                from: name.clone(),
                folder: member.folder.clone(),
                layer: member.layer,
                to: dependency.name.clone(),
                to_layer: workspace.members.get(&dependency.name).map(|to| to.layer),
                dev: dependency.kind == DependencyKind::Development,
            })
            .collect()
    };
    workspace.members.iter().flat_map(of).collect()
}

fn judge(rules: &Rules, edges: &[Edge], faults: &mut Faults) {
    for edge in edges {
        let Edge { from, folder, to, .. } = edge;
        let manifest = format!("{folder}/Cargo.toml");
        if let Some(to_layer) = edge.to_layer {
            let for_tests = edge.dev && to == TEST_SUPPORT;
            let listed = rules.sideways.iter().any(|side| side.from == *from && side.to == *to);
            if from == TOOL {
                faults
                    .push(format!("{manifest}: the tool depends on `{to}`, which is one of ours"));
            } else if to_layer > edge.layer && !for_tests {
                let layer = edge.layer;
                faults.push(format!(
                    "{manifest}: layer {layer} depends on `{to}` of layer {to_layer}, which is above it"
                ));
            } else if to_layer == edge.layer && from != to && !listed && !for_tests {
                faults.push(format!(
                    "{manifest}: `{to}` lies in the same layer; if the edge is wanted, list it with its reason \
                     in xtask/layers.toml"
                ));
            }
        }
        for only in rules.only.iter().filter(|only| matches(&only.external, to)) {
            let at_home =
                only.crates.iter().any(|home| matches(home, from) || matches(home, folder));
            if edge.to_layer.is_none() && !at_home && !(only.tests && edge.dev) {
                faults.push(format!(
                    "{manifest}: `{to}` belongs to {} (xtask/layers.toml)",
                    if only.crates.is_empty() {
                        "tests".to_owned()
                    } else {
                        only.crates.join(", ")
                    }
                ));
            }
        }
        for never in rules.never.iter().filter(|never| never.name == *from && !edge.dev) {
            if never.without.contains(to) {
                faults.push(format!("{manifest}: `{from}` does without `{to}`: {}", never.reason));
            }
        }
    }
    for side in &rules.sideways {
        let used = edges.iter().any(|edge| edge.from == side.from && edge.to == side.to);
        if !used {
            faults.push(format!(
                "xtask/layers.toml: the edge {} -> {} is listed and not used",
                side.from, side.to
            ));
        }
        if side.reason.trim().is_empty() {
            faults.push(format!("xtask/layers.toml: {} -> {} has no reason", side.from, side.to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, layer: u64, to: &str, to_layer: Option<u64>, dev: bool) -> Edge {
        Edge {
            from: from.into(),
            folder: format!("crates/{from}"),
            layer,
            to: to.into(),
            to_layer,
            dev,
        }
    }

    #[test]
    fn each_forbidden_edge_is_named_and_each_allowed_one_is_not() {
        let rules: Rules = toml::from_str(
            r#"
            [[sideways]]
            from = "oauth2"
            to = "authn"
            reason = "because"
            [[only]]
            external = "diesel*"
            crates = ["store"]
            [[only]]
            external = "anyhow"
            crates = ["bins/*"]
            tests = true
            [[never]]
            crate = "rbac"
            without = ["serde_json"]
            reason = "pure"
            "#,
        )
        .unwrap();
        let used = || edge("oauth2", 3, "authn", Some(3), false);
        let cases = [
            (edge("api", 4, "store", Some(2), false), None),
            (edge("store", 2, "testkit", Some(9), true), None),
            (edge("store", 2, "diesel", None, false), None),
            (edge("api", 4, "anyhow", None, true), None),
            (edge("rbac", 1, "serde_json", None, true), None),
            (edge("store", 2, "api", Some(4), false), Some("above it")),
            (edge("store", 2, "api", Some(4), true), Some("above it")),
            (edge("store", 2, "testkit", Some(9), false), Some("above it")),
            (edge("authn", 3, "oauth2", Some(3), false), Some("same layer")),
            (edge("xtask", 9, "stdx", Some(0), false), Some("one of ours")),
            (edge("api", 4, "diesel-async", None, false), Some("belongs to store")),
            (edge("api", 4, "anyhow", None, false), Some("belongs to bins/*")),
            (edge("rbac", 1, "serde_json", None, false), Some("pure")),
        ];
        for (edge, wanted) in cases {
            let what = format!("{} -> {}", edge.from, edge.to);
            let mut faults = Faults::new();
            judge(&rules, &[edge, used()], &mut faults);
            match wanted {
                None => assert!(faults.is_empty(), "{what}: {faults:?}"),
                Some(part) => {
                    assert!(faults.iter().any(|f| f.contains(part)), "{what}: {faults:?}");
                }
            }
        }
        let mut faults = Faults::new();
        judge(&rules, &[], &mut faults);
        assert_eq!(faults, ["xtask/layers.toml: the edge oauth2 -> authn is listed and not used"]);
    }
}
