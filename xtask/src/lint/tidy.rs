//! Length, white space, and words that do not belong in the tree.

use std::fs;

use anyhow::Result;

use super::{Faults, Workspace};
use crate::products;
use crate::tree::{Tree, output};

const LINES_MAX: usize = 600;
const CODE_MAP: &str = "docs/ARCHITECTURE.md";
const CODE_MAP_LINES_MAX: usize = 250;
/// Kinds of files that are text for certain.
const TEXT: [&str; 16] = [
    "rs",
    "toml",
    "md",
    "sql",
    "py",
    "sh",
    "ts",
    "txt",
    "json",
    "yaml",
    "yml",
    "html",
    "css",
    "run",
    "gitignore",
    "example",
];
/// Kinds of files that a person has to read as a whole.
const CODE: [&str; 4] = ["rs", "py", "sh", "run"];
/// Written apart, so that this file passes its own check.
const WORDS: [(&str, &str); 2] = [
    (concat!("TO", "DO"), "do it, or open an issue"),
    (concat!("FIX", "ME"), "do it, or open an issue"),
];
/// Places that exist on one machine only, and hosts that are settings of a machine.
const PLACES: [&str; 8] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("arti", "factory"),
    concat!("registry.", "npmjs.org"),
    concat!("files.python", "hosted.org"),
    concat!("pypi.", "org"),
    concat!("index.", "crates.io"),
    concat!("deb.", "debian.org"),
];

/// What services of others reach the connection by, and who of ours may show and measure it.
const EMBED: &str = concat!("store::", "embed");
const EMBEDDERS: [&str; 2] = ["crates/store/", "crates/bench/"];

pub(super) fn check(tree: &Tree, workspace: &Workspace<'_>, faults: &mut Faults) -> Result<()> {
    let listed = output(tree.command("git").args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    for path in listed.split('\0').filter(|path| !path.is_empty()) {
        // A file that is listed and gone, or no UTF-8, has no lines to look at.
        if let Ok(text) = fs::read_to_string(tree.path(path)) {
            judge(path, &text, faults);
        }
    }
    let map = fs::read_to_string(tree.path(CODE_MAP)).unwrap_or_default();
    for member in workspace.members.values() {
        if !map.contains(&format!("`{}`", member.folder)) {
            faults.push(format!("{CODE_MAP}: the code map lacks `{}`", member.folder));
        }
    }
    Ok(())
}

fn judge(path: &str, text: &str, faults: &mut Faults) {
    let extension = path.rsplit(['.', '/']).next().unwrap_or_default();
    let generated = products::outputs().any(|out| out == path) || extension == "lock";
    let recorded = path.starts_with("fixtures/http/") || extension == "snap";
    if !TEXT.contains(&extension) || recorded {
        return;
    }
    let lines = text.lines().count();
    if CODE.contains(&extension) && !generated && lines > LINES_MAX {
        faults.push(format!("{path}: {lines} lines; split it by noun, {LINES_MAX} are the limit"));
    }
    if path == CODE_MAP && lines > CODE_MAP_LINES_MAX {
        faults.push(format!("{path}: {lines} lines; {CODE_MAP_LINES_MAX} are the limit"));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        faults.push(format!("{path}: no line ending at the end"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        let mut fault = |said: String| faults.push(format!("{path}:{number}: {said}"));
        if line.ends_with([' ', '\t']) && !generated {
            fault("white space at the end".to_owned());
        }
        for (word, cure) in WORDS {
            if line.split(|c: char| !c.is_ascii_alphanumeric()).any(|have| have == word) {
                fault(format!("`{word}`: {cure}"));
            }
        }
        if extension == "rs"
            && line.contains(EMBED)
            && !EMBEDDERS.iter().any(|folder| path.starts_with(folder))
        {
            fault(format!(
                "`{EMBED}` is for services that are not ours: write the query in `store`"
            ));
        }
        for place in PLACES {
            if line.contains(place) {
                fault(format!("`{place}` is a matter of one machine"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untidy_lines_are_named_with_their_place() {
        let long = "x\n".repeat(LINES_MAX + 1);
        let todo = format!("// {}: later\n", WORDS[0].0);
        let place = format!("cd {}main\n", PLACES[0]);
        let embed = format!("use {EMBED}::rows;\n");
        let cases = [
            ("a.rs", "fine\n", None),
            ("a.rs", "", None),
            ("a.rs", "todo_list\n", None),
            ("fixtures/http/a.txt", "kept as recorded \n", None),
            ("a.png", "anything ", None),
            ("a.sql", &long, None),
            ("crates/store/src/schema.rs", &long, None),
            ("a.rs", &long, Some("a.rs: 601 lines")),
            (CODE_MAP, &long, Some("601 lines; 250 are the limit")),
            ("a.rs", "one\ntwo \n", Some("a.rs:2: white space")),
            ("a.rs", "one", Some("a.rs: no line ending")),
            ("a.md", &todo, Some("a.md:1:")),
            (".ci/run", &place, Some(".ci/run:1:")),
            ("crates/api/src/a.rs", &embed, Some("a.rs:1: `store")),
            ("crates/store/examples/a.rs", &embed, None),
        ];
        for (path, text, wanted) in cases {
            let mut faults = Faults::new();
            judge(path, text, &mut faults);
            match wanted {
                None => assert!(faults.is_empty(), "{path}: {faults:?}"),
                Some(part) => {
                    assert!(faults.iter().any(|f| f.contains(part)), "{path}: {faults:?}");
                }
            }
        }
    }
}
