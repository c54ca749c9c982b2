//! `--write-config`: the effective configuration as a file that can be read again.

use std::fmt::Write as _;

use crate::describe::{Shown, type_name};
use crate::load::Loaded;
use crate::resolve::Origin;
use crate::row::Row;
use crate::table;
use crate::value::{Kind, Raw};

/// Width of the comments.
const WIDTH: usize = 96;

/// The effective configuration in YAML, indented by 2, with comments. No secret is in it.
///
/// Reading the text gives the same values again.
#[must_use]
pub fn write_config(loaded: &Loaded) -> String {
    let shown = Shown::of(loaded);
    let mut root = Node::default();
    for row in table::rows().filter(|row| row.is_read_by(loaded.daemon) && !row.secret) {
        // An option that is out of date is only written if somebody set it.
        let set = loaded.sources.get(row.field).is_some_and(Origin::is_given);
        if row.yaml.is_empty() || !(set || row.use_instead.is_empty()) {
            continue;
        }
        if let Some(raw) = shown.raw(row.field) {
            let mut keys = row.group.yaml_keys();
            keys.push(row.yaml);
            root.put(&keys, row, raw.clone());
        }
    }
    let mut out = String::new();
    root.print(0, &mut out);
    out
}

/// A key of the file with what stands below it, in the order of the table.
#[derive(Default)]
struct Node {
    key: &'static str,
    value: Option<(&'static Row, Raw)>,
    children: Vec<Self>,
}

impl Node {
    /// Puts a value below `keys`, making the keys that are not there.
    fn put(&mut self, keys: &[&'static str], row: &'static Row, raw: Raw) {
        let Some((key, rest)) = keys.split_first() else {
            self.value = Some((row, raw));
            return;
        };
        if let Some(child) = self.children.iter_mut().find(|child| child.key == *key) {
            child.put(rest, row, raw);
            return;
        }
        let mut child = Self { key, ..Self::default() };
        child.put(rest, row, raw);
        self.children.push(child);
    }

    /// Values first, then groups: a value after a group is easily read as part of it.
    fn print(&self, depth: usize, out: &mut String) {
        let indent = "  ".repeat(depth);
        for child in &self.children {
            if let Some((row, raw)) = &child.value {
                comment(row, &indent, out);
                let _ = writeln!(out, "{indent}{}:{}", child.key, value(row, raw, &indent));
            }
        }
        for child in self.children.iter().filter(|child| child.value.is_none()) {
            let _ = writeln!(out, "{indent}{}:", child.key);
            child.print(depth + 1, out);
        }
    }
}

fn comment(row: &Row, indent: &str, out: &mut String) {
    let about = row.paragraphs().into_iter().next().unwrap_or_default();
    let default = match row.shown_default() {
        "" => "<unset>",
        default => default,
    };
    let text = format!("{about} (default: {default}, type: {})", type_name(row));
    for line in crate::help::wrap(&text, WIDTH - indent.len()) {
        let _ = writeln!(out, "{indent}# {line}");
    }
}

/// A value behind its colon.
fn value(row: &Row, raw: &Raw, indent: &str) -> String {
    match raw {
        Raw::Text(text) if matches!(row.kind, Kind::Bool | Kind::Integer) && !text.is_empty() => {
            format!(" {text}")
        }
        Raw::Text(text) => format!(" {}", quoted(text)),
        Raw::Items(items) if items.is_empty() => " []".to_owned(),
        Raw::Items(items) => items.iter().fold(String::new(), |mut out, item| {
            let _ = write!(out, "\n{indent}  - {}", quoted(item));
            out
        }),
    }
}

/// A text in YAML: plain if it cannot be taken for anything else, else in double quotes.
fn quoted(text: &str) -> String {
    let start = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let tame = |c: char| c.is_ascii_alphanumeric() || "-_./:+".contains(c);
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
    );
    if start && text.chars().all(tame) && !text.ends_with(':') && !word {
        return text.to_owned();
    }
    // A JSON string is a YAML string.
    serde_json::Value::String(text.to_owned()).to_string()
}
