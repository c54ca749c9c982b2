//! Migrations, their fixtures, and the lists of queries.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::Faults;
use crate::tree::Tree;

pub(super) fn check(tree: &Tree, faults: &mut Faults) -> Result<()> {
    let migrations = names(&tree.path("migrations"), None);
    let fixtures = names(&tree.path("fixtures/sql"), Some(".sql"));
    let complete = |name: &str, file: &str| {
        let path = tree.path("migrations").join(name).join(file);
        fs::read_to_string(path).is_ok_and(|text| !text.trim().is_empty())
    };
    migrations_and_fixtures(&migrations, &fixtures, complete, faults);
    let mut paths = Vec::new();
    sources(&tree.path("crates/store/src"), &mut paths);
    let mut files = Vec::new();
    for path in paths {
        let shown = path.strip_prefix(&tree.root).unwrap_or(&path);
        files.push((shown.display().to_string(), fs::read_to_string(&path)?));
    }
    queries(&files, faults);
    Ok(())
}

/// The entries of a folder: its folders, or its files with an ending, which is taken off.
fn names(folder: &Path, ending: Option<&str>) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            match ending {
                Some(ending) => Some(name.strip_suffix(ending)?.to_owned()),
                None => entry.path().is_dir().then_some(name),
            }
        })
        .collect()
}

fn migrations_and_fixtures(
    migrations: &BTreeSet<String>,
    fixtures: &BTreeSet<String>,
    complete: impl Fn(&str, &str) -> bool,
    faults: &mut Faults,
) {
    for (number, name) in (1..).zip(migrations) {
        if !name.starts_with(&format!("{number:06}_")) {
            faults.push(format!("migrations/{name}: the next name begins with {number:06}_"));
        }
        for file in ["up.sql", "down.sql"] {
            if !complete(name, file) {
                faults.push(format!("migrations/{name}: no {file}, or an empty one"));
            }
        }
        if !fixtures.contains(name) {
            faults.push(format!("migrations/{name}: no fixtures/sql/{name}.sql"));
        }
    }
    for name in fixtures.difference(migrations) {
        faults.push(format!("fixtures/sql/{name}.sql: no migration of that name"));
    }
}

fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every query that a module makes must stand in its list, or in the list of the module above it, from
/// which tests take a sample of each.
fn queries(files: &[(String, String)], faults: &mut Faults) {
    for (path, text) in files {
        let listed: BTreeSet<&str> = files
            .iter()
            .filter(|(other, _)| {
                let folder = other.trim_end_matches(".rs");
                other == path || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
            })
            .flat_map(|(_, text)| listed(text))
            .collect();
        for name in made(text).filter(|name| !listed.contains(name)) {
            faults.push(format!("{path}: the query `{name}` is not in `queries![..]`"));
        }
    }
}

/// The queries that a file defines. Those of its tests are none of the program's.
fn made(text: &str) -> impl Iterator<Item = &str> {
    let program = text.split("#[cfg(test)]").next().unwrap_or_default();
    program
        .lines()
        .filter(|line| line.starts_with("impl"))
        .filter_map(|line| line.split_once("Query for "))
        .map(|(_, rest)| name_of(rest))
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split("queries![")
        .skip(1)
        .filter_map(|rest| rest.split(']').next())
        .flat_map(|list| list.split(','))
        .map(|entry| name_of(entry.trim()))
}

/// The last part of the path that a text begins with: `ListUsers` of `rows::ListUsers<'_> {`.
fn name_of(text: &str) -> &str {
    let part_of_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !part_of_path(c)).unwrap_or(text.len());
    let path = text.get(..end).unwrap_or_default();
    path.rsplit("::").next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn migrations_are_numbered_complete_and_have_a_fixture() {
        let cases: [(&[&str], &[&str], Option<&str>); 5] = [
            (&["000001_a", "000002_b"], &["000001_a", "000002_b"], None),
            (&["000001_a", "000003_b"], &["000001_a", "000003_b"], Some("begins with 000002_")),
            (&["000001_a"], &[], Some("no fixtures/sql/000001_a.sql")),
            (&["000001_a"], &["000001_a", "000002_b"], Some("no migration of that name")),
            (&["000001_half"], &["000001_half"], Some("no down.sql")),
        ];
        for (migrations, fixtures, wanted) in cases {
            let mut faults = Faults::new();
            let complete = |name: &str, file: &str| !(name.ends_with("half") && file == "down.sql");
            migrations_and_fixtures(&set(migrations), &set(fixtures), complete, &mut faults);
            match wanted {
                None => assert!(faults.is_empty(), "{faults:?}"),
                Some(part) => assert!(faults.iter().any(|f| f.contains(part)), "{faults:?}"),
            }
        }
    }

    #[test]
    fn a_query_that_neither_its_module_nor_the_one_above_lists_is_named() {
        let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let files = [
            file(
                "src/users.rs",
                "impl Query for GetUser {\n}\nimpl Query for users::ListUsers<'_> {}\n\
                crate::queries![GetUser, sub::GetBelow,\n];\n#[cfg(test)]\nimpl Query for Probe {}\n",
            ),
            file("src/users/sub.rs", "impl Query for GetBelow {}\n"),
            file("src/users_other.rs", "impl Query for GetUser {}\n"),
        ];
        let mut faults = Faults::new();
        queries(&files, &mut faults);
        let wanted = [
            "src/users.rs: the query `ListUsers` is not in `queries![..]`",
            "src/users_other.rs: the query `GetUser` is not in `queries![..]`",
        ];
        assert_eq!(faults, wanted);
    }
}
