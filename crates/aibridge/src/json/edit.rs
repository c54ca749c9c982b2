//! Edits of a single path that keep every other byte.

use std::ops::Range;

use super::scan::{Members, skip_space};
use super::{Malformed, parse_text};

/// Why an edit was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The document is not JSON.
    #[error("the document is not valid JSON: {0}")]
    Document(Malformed),
    /// The new value is not JSON.
    #[error("the new value is not valid JSON: {0}")]
    Value(Malformed),
    /// The path leads through something that is not an object.
    #[error("cannot set a member of {0}, it is not an object")]
    NotAnObject(String),
}

/// How far a path leads into a document.
enum Reached {
    /// All the way; where the value is.
    Value(Range<usize>),
    /// To the object at `object`, which has no member `path[depth]`.
    Object { object: Range<usize>, depth: usize },
    /// To a `null` where an object with the member `path[depth]` would have to be.
    Null { at: Range<usize>, depth: usize },
}

/// `text` with the value at `path` replaced, or inserted behind the other members when there is none;
/// missing and `null` objects on the way are made. Of members with the same key the last one is
/// replaced, which is the one that counts. An empty path means the whole value.
///
/// # Errors
/// [`EditError`]; nothing is edited then.
pub fn set(text: &str, path: &[&str], value: &str) -> Result<String, EditError> {
    parse_text(value).map_err(EditError::Value)?;
    Ok(match reach(text, path)? {
        Reached::Value(at) => splice(text, &at, value),
        Reached::Null { at, depth } => {
            splice(text, &at, &nested(path.get(depth..).unwrap_or_default(), value))
        }
        Reached::Object { object, depth } => {
            let (key, inner) = match path.get(depth..) {
                Some([key, inner @ ..]) => (*key, inner),
                _ => ("", &[][..]),
            };
            let mut member = format!("{}:{}", quoted(key), nested(inner, value));
            let body = text.get(object.clone()).unwrap_or_default();
            let at = match Members::of(body).last() {
                Some(last) => {
                    member.insert(0, ',');
                    object.start + last.value.end
                }
                None => object.start + 1,
            };
            splice(text, &(at..at), &member)
        }
    })
}

/// `text` without the member at `path`, every one of that key, and without the comma that went with it.
/// `text` itself when there is none.
///
/// # Errors
/// [`EditError::Document`].
pub fn remove(text: &str, path: &[&str]) -> Result<String, EditError> {
    let Some((key, parents)) = path.split_last() else { return Ok(text.to_owned()) };
    let object = match reach(text, parents) {
        Ok(Reached::Value(at)) => at,
        Ok(Reached::Object { .. } | Reached::Null { .. }) | Err(EditError::NotAnObject(_)) => {
            return Ok(text.to_owned());
        }
        Err(err) => return Err(err),
    };
    let body = text.get(object.clone()).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    out.push_str(text.get(..object.start).unwrap_or_default());
    let mut copied = 0;
    let mut kept = false;
    let mut before_end = 0;
    let mut members = Members::of(body).peekable();
    while let Some(member) = members.next() {
        if member.is(body, key) {
            // With the comma before it, or as the first that is left with the one behind.
            let (from, to) = match members.peek() {
                _ if kept => (before_end, member.value.end),
                Some(next) => (member.key.start, next.key.start),
                None => (member.key.start, member.value.end),
            };
            out.push_str(body.get(copied..from).unwrap_or_default());
            copied = to;
        } else {
            kept = true;
        }
        before_end = member.value.end;
    }
    out.push_str(body.get(copied..).unwrap_or_default());
    out.push_str(text.get(object.end..).unwrap_or_default());
    Ok(out)
}

fn reach(text: &str, path: &[&str]) -> Result<Reached, EditError> {
    let root = parse_text(text).map_err(EditError::Document)?;
    let start = skip_space(text.as_bytes(), 0);
    let mut at = start..start + root.text().len();
    for (depth, key) in path.iter().enumerate() {
        let body = text.get(at.clone()).unwrap_or_default();
        if depth > 0 && body == "null" {
            return Ok(Reached::Null { at, depth });
        }
        if !body.starts_with('{') {
            let name = match path.get(..depth) {
                Some([]) | None => "the document".to_owned(),
                Some(keys) => format!("`{}`", keys.join(".")),
            };
            return Err(EditError::NotAnObject(name));
        }
        match Members::of(body).filter(|m| m.is(body, key)).last() {
            Some(member) => at = at.start + member.value.start..at.start + member.value.end,
            None => return Ok(Reached::Object { object: at, depth }),
        }
    }
    Ok(Reached::Value(at))
}

fn splice(text: &str, at: &Range<usize>, with: &str) -> String {
    let mut out = String::with_capacity(text.len() + with.len());
    out.push_str(text.get(..at.start).unwrap_or_default());
    out.push_str(with);
    out.push_str(text.get(at.end..).unwrap_or_default());
    out
}

fn quoted(key: &str) -> String {
    serde_json::Value::from(key).to_string()
}

/// `value` wrapped in one object per key.
fn nested(keys: &[&str], value: &str) -> String {
    keys.iter().rev().fold(value.to_owned(), |inner, key| format!("{{{}:{inner}}}", quoted(key)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn set_replaces_inserts_and_makes_parents() {
        for (text, path, value, want) in [
            ("{}", &["a"][..], "1", "{\"a\":1}"),
            (" { } ", &["a"], "1", " {\"a\":1 } "),
            ("{\"b\" : 2 }", &["a"], "1", "{\"b\" : 2,\"a\":1 }"),
            ("{\"a\" : 2.50 , \"b\":1}", &["a"], "[]", "{\"a\" : [] , \"b\":1}"),
            ("{\"a\":1,\"a\":2}", &["a"], "3", "{\"a\":1,\"a\":3}"),
            ("{\"\\u0061\":1}", &["a"], "3", "{\"\\u0061\":3}"),
            ("{\"a\":{\"x\":1}}", &["a", "b"], "true", "{\"a\":{\"x\":1,\"b\":true}}"),
            ("{\"a\":null}", &["a", "b", "c"], "1", "{\"a\":{\"b\":{\"c\":1}}}"),
            ("{\"z\":0}", &["a", "b", "c"], "1", "{\"z\":0,\"a\":{\"b\":{\"c\":1}}}"),
            ("{}", &["q\"\n"], "1", "{\"q\\\"\\n\":1}"),
            (" 7 ", &[], "8", " 8 "),
        ] {
            assert_eq!(set(text, path, value).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn set_refuses_what_is_not_an_object_or_not_json() {
        assert_eq!(set("[]", &["a"], "1"), Err(EditError::NotAnObject("the document".into())));
        assert_eq!(
            set("{\"a\":{\"b\":3}}", &["a", "b", "c"], "1"),
            Err(EditError::NotAnObject("`a.b`".into()))
        );
        assert!(matches!(set("{\"a\":1", &["a"], "1"), Err(EditError::Document(_))));
        assert!(matches!(set("{}", &["a"], "1,2"), Err(EditError::Value(_))));
    }

    #[test]
    fn remove_takes_every_member_of_that_name_and_its_comma() {
        for (text, path, want) in [
            ("{\"a\":1}", &["a"][..], "{}"),
            ("{\"a\":1, \"a\":2}", &["a"], "{}"),
            ("{ \"a\":1, \"b\":2}", &["a"], "{ \"b\":2}"),
            ("{\"b\":2 , \"a\":1 }", &["a"], "{\"b\":2 }"),
            ("{\"a\":0,\"b\":2,\"a\":1,\"c\":3,\"a\":5}", &["a"], "{\"b\":2,\"c\":3}"),
            ("{\"x\":{\"a\":1,\"b\":2}}", &["x", "a"], "{\"x\":{\"b\":2}}"),
            ("{\"x\":null}", &["x", "a"], "{\"x\":null}"),
            ("[1]", &["a"], "[1]"),
            ("{\"b\":2}", &["a"], "{\"b\":2}"),
        ] {
            assert_eq!(remove(text, path).as_deref(), Ok(want), "{text}");
        }
    }

    /// A JSON text with odd white space, number formats, escaped and repeated keys.
    fn document() -> impl Strategy<Value = String> {
        let space = prop::sample::select(vec!["", " ", "\n\t", "\r\n "]);
        let leaf = prop::sample::select(vec![
            "null",
            "true",
            "-0",
            "1.50",
            "2E+3",
            "\"\"",
            "\"a}]\"",
            "\"\\\"\\\\\"",
            "\"\\u00e9\"",
            "\"ü\"",
            "{}",
            "[ ]",
        ])
        .prop_map(str::to_owned);
        let key = prop::sample::select(vec!["\"a\"", "\"b\"", "\"\\u0061\"", "\"c,d\"", "\"\""]);
        let spaced = |text: String, (l, r): (&str, &str)| format!("{l}{text}{r}");
        let value = leaf.prop_recursive(5, 64, 6, move |inner| {
            let item = (inner, (space.clone(), space.clone())).prop_map(move |(t, s)| spaced(t, s));
            let member = (key.clone(), space.clone(), item.clone())
                .prop_map(|(key, space, item)| format!("{space}{key}{space}:{item}"));
            prop_oneof![
                prop::collection::vec(item, 1..6)
                    .prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec(member, 1..6).prop_map(|m| format!("{{{}}}", m.join(","))),
            ]
        });
        (value, prop::sample::select(vec!["", " ", "\n"])).prop_map(|(v, s)| format!("{s}{v}{s}"))
    }

    /// What `set` means, on a tree.
    fn set_tree(root: &mut Value, path: &[&str], value: Value) -> bool {
        let Some((key, rest)) = path.split_first() else {
            *root = value;
            return true;
        };
        let Value::Object(map) = root else { return false };
        let inner = map.entry(*key).or_insert(Value::Null);
        if inner.is_null() && !rest.is_empty() {
            *inner = Value::Object(serde_json::Map::new());
        }
        set_tree(inner, rest, value)
    }

    proptest! {
        #[test]
        fn set_means_the_same_as_on_a_tree_and_keeps_all_other_bytes(
            text in document(),
            path in prop::collection::vec(prop::sample::select(vec!["a", "b", "c,d", "", "new"]), 0..4),
        ) {
            let mut tree: Value = serde_json::from_str(&text).unwrap();
            let possible = set_tree(&mut tree, &path, Value::from(42));
            match set(&text, &path, "42") {
                Ok(edited) => {
                    prop_assert!(possible);
                    prop_assert_eq!(&serde_json::from_str::<Value>(&edited).unwrap(), &tree);
                    let head = text.bytes().zip(edited.bytes()).take_while(|(a, b)| a == b).count();
                    let tail = text.bytes().rev().zip(edited.bytes().rev()).take_while(|(a, b)| a == b).count();
                    let gone = match reach(&text, &path).unwrap() {
                        Reached::Value(at) | Reached::Null { at, .. } => at.len(),
                        Reached::Object { .. } => 0,
                    };
                    prop_assert!(head + tail + gone >= text.len(), "{} -> {}", text, edited);
                }
                Err(err) => prop_assert!(!possible, "{}", err),
            }
        }

        #[test]
        fn remove_means_the_same_as_on_a_tree(text in document(), key in prop::sample::select(vec!["a", "b", "c,d"])) {
            let mut tree: Value = serde_json::from_str(&text).unwrap();
            if let Value::Object(map) = &mut tree {
                map.remove(key);
            }
            let edited = remove(&text, &[key]).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&edited).unwrap(), tree);
        }

        #[test]
        fn views_see_what_serde_sees(text in document()) {
            let tree: Value = serde_json::from_str(&text).unwrap();
            let view = parse_text(&text).unwrap();
            for key in ["a", "b", "c,d", ""] {
                let seen = view.field(key).map(|v| serde_json::from_str::<Value>(v.text()).unwrap());
                prop_assert_eq!(seen.as_ref(), tree.get(key).filter(|v| !v.is_null()));
            }
            let items: Vec<Value> = view.items().map(|v| serde_json::from_str(v.text()).unwrap()).collect();
            prop_assert_eq!(items, tree.as_array().cloned().unwrap_or_default());
            prop_assert_eq!(view.string().map(String::from), tree.as_str().map(str::to_owned));
        }

        #[test]
        fn scanning_text_that_is_not_json_ends(text in "[\\[\\]{}\",:\\\\ a1]{0,40}") {
            prop_assert!(Members::of(&text).count() <= text.len());
            prop_assert!(super::super::scan::Items::of(&text).count() <= text.len());
        }
    }
}
