//! Reading and editing JSON text where it lies.

use aibridge::json::{self, EditError, Malformed, View};
use serde_json::Value;

/// Values looked at in one document.
const VALUES_MAX: usize = 400;

/// Members of a path that are used.
const PATH_MAX: usize = 8;

/// Reads and edits a document. The first line is a path, its members separated by `/`; the second is a value to
/// set; the document follows.
///
/// What `serde_json` reads as a tree is seen the same way through views, and an edit means the same as on the
/// tree. After an edit the text is JSON if it was before, all bytes outside the edited value are where they
/// were, and the same edit again changes nothing.
///
/// # Panics
/// When a check fails.
pub fn json(data: &[u8]) {
    let mut lines = data.splitn(3, |&byte| byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (path, value, document) = (line(), line(), line());
    let (path, value) =
        (String::from_utf8_lossy(path), String::from_utf8_lossy(value.trim_ascii()));
    let path: Vec<&str> = path.split('/').filter(|key| !key.is_empty()).take(PATH_MAX).collect();

    let tree: Option<Value> = serde_json::from_slice(document).ok();
    match json::parse(document) {
        Err(Malformed { reason, line, .. }) => {
            assert!(tree.is_none(), "a document that serde_json reads");
            assert!(line > 0 && !reason.is_empty());
        }
        Ok(view) => {
            if let Some(tree) = &tree {
                same(view, tree, &mut VALUES_MAX.clone());
            }
            sound(view, &mut VALUES_MAX.clone());
        }
    }
    if let Ok(text) = std::str::from_utf8(document) {
        set(text, &path, &value, tree.clone());
        remove(text, &path, tree);
    }
}

/// Whether a view sees what the tree holds.
fn same(view: View<'_>, tree: &Value, left: &mut usize) {
    let Some(fewer) = left.checked_sub(1) else { return };
    *left = fewer;
    assert_eq!(view.is_null(), tree.is_null());
    assert_eq!(view.is_object(), tree.is_object());
    assert_eq!(view.is_array(), tree.is_array());
    assert_eq!(view.bool(), tree.as_bool());
    assert_eq!(view.string().as_deref(), tree.as_str());
    let count = tree.as_i64().filter(|n| (0..=1_000_000_000_000).contains(n));
    if count.is_some() {
        assert_eq!(view.count(), count);
    } else if let Some(count) = view.count() {
        // `17.0`, and `-0`, are counts too.
        assert!((0..=1_000_000_000_000).contains(&count));
        let digits = view.text().trim_start_matches('-');
        assert!(digits.starts_with(&count.to_string()), "a count that is not there");
    }
    match tree {
        Value::Object(map) => {
            for (key, inner) in map {
                match view.field(key) {
                    Some(found) => same(found, inner, left),
                    None => assert!(inner.is_null(), "a member was not found"),
                }
            }
            assert_eq!(view.field("\u{1}no such key"), None.filter(|_: &View<'_>| true));
        }
        Value::Array(list) => {
            let items: Vec<View<'_>> = view.items().collect();
            assert_eq!(items.len(), list.len());
            let ending: Vec<View<'_>> = items.iter().rev().take(3).copied().collect();
            assert_eq!(view.last_items(3), ending);
            for (item, inner) in items.into_iter().zip(list) {
                same(item, inner, left);
            }
        }
        _ => {
            assert_eq!(view.items().count(), 0);
            assert_eq!(view.field(""), None);
        }
    }
}

/// Whether every value within is JSON itself. Holds for documents that are too deep or too odd for a tree.
fn sound(view: View<'_>, left: &mut usize) {
    let mut open = vec![view];
    while let Some(view) = open.pop() {
        let Some(fewer) = left.checked_sub(1) else { return };
        *left = fewer;
        assert!(json::parse_text(view.text()).is_ok(), "a value that is no JSON");
        // Decoded text is at most one and a half times as long: half a pair is six bytes, its stand-in nine.
        let text = view.string();
        assert!(text.is_none_or(|text| 2 * text.len() <= 3 * view.text().len()));
        open.extend(view.items().take(*left));
        open.extend(["a", "b"].into_iter().filter_map(|key| view.field(key)));
    }
}

fn set(text: &str, path: &[&str], value: &str, tree: Option<Value>) {
    let good = json::parse_text(text).is_ok();
    let edited = match json::set(text, path, value) {
        Ok(edited) => edited,
        Err(EditError::Document(_)) => return assert!(!good),
        Err(EditError::Value(_)) => return assert!(json::parse_text(value).is_err()),
        Err(EditError::NotAnObject(_)) => {
            assert!(!path.is_empty());
            if let (Some(mut tree), Ok(value)) = (tree, serde_json::from_str(value)) {
                assert!(!set_in(&mut tree, path, value), "a path that leads on");
            }
            return;
        }
    };
    assert!(good && json::parse_text(&edited).is_ok(), "no JSON any more");

    let gone = match json::get(text.as_bytes(), path) {
        Ok(Some(old)) => old.text().len(),
        // Either nothing was there or `null`.
        _ => "null".len(),
    };
    let head = text.bytes().zip(edited.bytes()).take_while(|(a, b)| a == b).count();
    let tail = text.bytes().rev().zip(edited.bytes().rev()).take_while(|(a, b)| a == b).count();
    assert!(head + tail + gone >= text.len(), "bytes beside the value were touched");

    if let Ok(Some(found)) = json::get(edited.as_bytes(), path) {
        assert_eq!(found.text(), value.trim_ascii());
    } else {
        assert_eq!(value.trim_ascii(), "null");
    }
    assert_eq!(json::set(&edited, path, value).as_ref(), Ok(&edited), "set twice");

    if let (Some(mut tree), Ok(value)) = (tree, serde_json::from_str(value)) {
        assert!(set_in(&mut tree, path, value));
        // Joining two documents of half the depth can be too deep for a tree.
        if let Ok(now) = serde_json::from_str::<Value>(&edited) {
            assert_eq!(now, tree, "set means something else");
        }
    }
}

/// What `set` means, on a tree. False when the path leads through something that is no object.
fn set_in(root: &mut Value, path: &[&str], value: Value) -> bool {
    let Some((key, rest)) = path.split_first() else {
        *root = value;
        return true;
    };
    let Value::Object(map) = root else { return false };
    let inner = map.entry(*key).or_insert(Value::Null);
    if inner.is_null() && !rest.is_empty() {
        *inner = Value::Object(serde_json::Map::new());
    }
    set_in(inner, rest, value)
}

fn remove(text: &str, path: &[&str], tree: Option<Value>) {
    let Ok(edited) = json::remove(text, path) else {
        return assert!(json::parse_text(text).is_err());
    };
    if json::parse_text(text).is_err() {
        assert!(path.is_empty() && edited == text, "edited what is no JSON");
        return;
    }
    assert!(json::parse_text(&edited).is_ok(), "no JSON any more");
    assert!(path.is_empty() || json::get(edited.as_bytes(), path) == Ok(None), "still there");
    assert_eq!(json::remove(&edited, path).as_ref(), Ok(&edited), "removed twice");
    let mut rest = text.bytes();
    assert!(edited.bytes().all(|e| rest.any(|t| t == e)), "bytes were added or moved");
    if let (Some(mut tree), Some((key, parents))) = (tree, path.split_last()) {
        let at = parents.iter().try_fold(&mut tree, |at, key| at.get_mut(*key));
        if let Some(Value::Object(map)) = at {
            map.remove(*key);
        }
        assert_eq!(serde_json::from_str::<Value>(&edited).ok(), Some(tree));
    }
}
