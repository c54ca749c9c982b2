//! The configuration file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde_yaml_ng::{Mapping, Value as Yaml};

use crate::nearest::nearest;
use crate::report::Problem;
use crate::table;
use crate::unused;
use crate::value::Raw;

/// Largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Deepest nesting that any option has, with room to name a wrong key below it.
const DEPTH_MAX: usize = 8;

/// The values of a file by their path.
pub(crate) struct Document {
    values: BTreeMap<String, (Raw, String)>,
    /// Paths that are known and that nobody here reads.
    pub(crate) unused: Vec<String>,
    pub(crate) problems: Vec<Problem>,
}

impl Document {
    /// The value at a path, and the place where it stands.
    pub(crate) fn get(&self, path: &str) -> Option<(Raw, String)> {
        self.values.get(path).cloned()
    }

    /// A file that could not be used at all.
    fn broken(path: &Path, reason: String, fix: &str) -> Self {
        Self {
            values: BTreeMap::new(),
            unused: Vec::new(),
            problems: vec![Problem::at(path.display().to_string(), reason, fix)],
        }
    }
}

/// Reads a file. What is wrong with it is in the document's problems.
pub(crate) fn read(path: &Path) -> Document {
    let fix = "name a readable YAML file in CODER_CONFIG_PATH or --config";
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(err) => return Document::broken(path, format!("cannot be opened: {err}"), fix),
    };
    let mut text = String::new();
    if let Err(err) = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text) {
        return Document::broken(path, format!("cannot be read: {err}"), fix);
    }
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Document::broken(path, format!("is larger than {FILE_BYTES_MAX} bytes"), fix);
    }
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Document {
    let root = match serde_yaml_ng::from_str::<Yaml>(text) {
        Ok(Yaml::Null) => Mapping::new(),
        Ok(Yaml::Mapping(root)) => root,
        Ok(_) => {
            return Document::broken(path, "is not a mapping of keys to values".to_owned(), "");
        }
        // The position only: the message of the parser could repeat a secret from the file.
        Err(err) => {
            let mut reader = Document::broken(path, "is not valid YAML".to_owned(), "");
            if let (Some(problem), Some(at)) = (reader.problems.first_mut(), err.location()) {
                problem.source = format!("{}:{}", path.display(), at.line());
                problem.reason = format!("is not valid YAML at column {}", at.column());
            }
            return reader;
        }
    };
    let mut reader = Reader {
        file: path.display().to_string(),
        text,
        leaves: leaves(),
        document: Document { values: BTreeMap::new(), unused: Vec::new(), problems: Vec::new() },
    };
    reader.mapping(&mut Vec::new(), &root);
    reader.document
}

/// The paths of all options, under all their names.
fn leaves() -> BTreeSet<String> {
    let names = table::rows().flat_map(crate::row::Row::names);
    names.map(|name| name.yaml).filter(|path| !path.is_empty()).collect()
}

struct Reader<'a> {
    file: String,
    text: &'a str,
    leaves: BTreeSet<String>,
    document: Document,
}

impl Reader<'_> {
    fn mapping(&mut self, above: &mut Vec<String>, mapping: &Mapping) {
        for (key, value) in mapping {
            let Some(key) = key.as_str() else {
                let place = self.place(above);
                self.problem(place, "a key is not a text", "quote it or remove it");
                continue;
            };
            above.push(key.to_owned());
            self.entry(above, value);
            above.pop();
        }
    }

    fn entry(&mut self, keys: &mut Vec<String>, value: &Yaml) {
        let path = keys.join(".");
        let place = self.place(keys);
        if self.leaves.contains(&path) {
            match raw(value) {
                Ok(Some(raw)) => {
                    self.document.values.insert(path, (raw, place));
                }
                Ok(None) => {}
                Err(reason) => self.problem(place, reason, "give one value or a list of them"),
            }
            return;
        }
        let group = format!("{path}.");
        let is_group = self.leaves.iter().any(|leaf| leaf.starts_with(&group));
        match value {
            _ if !is_group && unused::is_yaml(&path) => self.document.unused.push(path),
            Yaml::Mapping(inner) if is_group && keys.len() < DEPTH_MAX => self.mapping(keys, inner),
            Yaml::Null if is_group => {}
            _ if is_group => self.problem(place, "is a group of options", "give a mapping"),
            Yaml::Mapping(inner) if unused::is_yaml_above(&path) && keys.len() < DEPTH_MAX => {
                self.mapping(keys, inner);
            }
            _ => {
                let fix = nearest(&path, self.leaves.iter().map(String::as_str))
                    .map_or_else(|| "remove it".to_owned(), |near| format!("did you mean {near}?"));
                self.problem(place, "unknown key", fix);
            }
        }
    }

    fn problem(&mut self, place: String, reason: impl Into<String>, fix: impl Into<String>) {
        self.document.problems.push(Problem::at(place, reason, fix));
    }

    /// `file:line: path`, without the line where it cannot be told.
    fn place(&self, keys: &[String]) -> String {
        let path = keys.join(".");
        match line_of(self.text, keys) {
            Some(line) => format!("{}:{line}: {path}", self.file),
            None => format!("{}: {path}", self.file),
        }
    }
}

/// The raw value; `None` for null, which counts as unset.
fn raw(value: &Yaml) -> Result<Option<Raw>, String> {
    match value {
        Yaml::Null => Ok(None),
        Yaml::Sequence(items) => {
            let texts: Option<Vec<String>> = items.iter().map(scalar).collect();
            texts
                .map(|texts| Some(Raw::Items(texts)))
                .ok_or_else(|| "the list holds something else than plain values".to_owned())
        }
        Yaml::Mapping(_) | Yaml::Tagged(_) => Err("is neither a value nor a list".to_owned()),
        value => Ok(scalar(value).map(Raw::Text)),
    }
}

fn scalar(value: &Yaml) -> Option<String> {
    match value {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Bool(flag) => Some(flag.to_string()),
        Yaml::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The line of a key in block style, found by indentation. The parser does not keep lines, and a
/// wrong guess would only mislead, so anything unusual gives `None`.
fn line_of(text: &str, keys: &[String]) -> Option<usize> {
    let mut depths: Vec<usize> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let body = line.trim_start();
        if body.is_empty() || body.starts_with('#') {
            continue;
        }
        let indent = line.len() - body.len();
        while depths.last().is_some_and(|depth| *depth >= indent) {
            depths.pop();
        }
        let wanted = keys.get(depths.len())?;
        let Some((key, _)) = body.split_once(':') else {
            continue;
        };
        if key.trim().trim_matches(['"', '\'']) == wanted {
            depths.push(indent);
            if depths.len() == keys.len() {
                return Some(number + 1);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
networking:
  accessURL: https://coder.example.com
  http:
    httpAddress: 0.0.0.0:80
    # a comment
    maxTokenLifetime: 10d
  proxyTrustedHeaders:
    - X-Forwarded-For
    - X-Real-Ip
pgConnMaxOpen: 20
oidc:
  clientID: x
";

    fn parsed(text: &str) -> Document {
        parse(Path::new("c.yaml"), text)
    }

    #[test]
    fn values_are_found_by_path_with_their_line() {
        let document = parsed(FILE);
        assert_eq!(document.problems, []);
        for (path, want, place) in [
            ("networking.http.httpAddress", "0.0.0.0:80", "c.yaml:4: networking.http.httpAddress"),
            (
                "networking.proxyTrustedHeaders",
                "X-Forwarded-For,X-Real-Ip",
                "c.yaml:7: networking.proxyTrustedHeaders",
            ),
            ("pgConnMaxOpen", "20", "c.yaml:10: pgConnMaxOpen"),
        ] {
            let (raw, at) = document.get(path).expect(path);
            assert_eq!((raw.to_string().as_str(), at.as_str()), (want, place));
        }
        assert_eq!(document.unused, ["oidc"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_file_and_line() {
        for (text, want) in [
            (
                "networking:\n  accesURL: x\n",
                "c.yaml:2: networking.accesURL: unknown key; did you mean networking.accessURL?",
            ),
            ("whatever: 1\n", "c.yaml:1: whatever: unknown key; remove it"),
            ("networking: 3\n", "c.yaml:1: networking: is a group of options; give a mapping"),
            (
                "pgConnMaxOpen: {a: 1}\n",
                "c.yaml:1: pgConnMaxOpen: is neither a value nor a list; give one value or a list of them",
            ),
            ("- a\n", "c.yaml: is not a mapping of keys to values"),
        ] {
            let problems = parsed(text).problems;
            let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
            assert_eq!(shown, [want], "{text}");
        }
    }

    #[test]
    fn a_syntax_error_tells_the_line_and_no_content() {
        let problems = parsed("a: 1\nb: [planted-secret\n").problems;
        let shown = problems.first().expect("refused").to_string();
        assert!(shown.starts_with("c.yaml:"), "{shown}");
        assert!(!shown.contains("planted-secret"), "{shown}");
    }

    #[test]
    fn null_and_an_empty_file_set_nothing() {
        for text in ["", "# nothing\n", "networking:\n", "pgConnMaxOpen:\n"] {
            let document = parsed(text);
            assert_eq!(document.problems, [], "{text}");
            assert!(document.values.is_empty(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_it_panic(text in "([a-z]{0,4}[:\\- \n\\[\\]{}\"'&*|>]{0,3}){0,12}") {
            let document = parsed(&text);
            proptest::prop_assert!(document.values.keys().all(|path| leaves().contains(path)));
        }
    }
}
