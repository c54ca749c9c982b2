use std::borrow::Cow;

use serde_json::{Map, Value, json};
use stdx::ids::OrganizationId;
use uuid::Uuid;

/// A row whose changes are recorded.
pub trait Auditable {
    /// Kind of object, as the audit log names it.
    const RESOURCE_TYPE: &'static str;

    /// Which one.
    fn id(&self) -> Uuid;

    /// The name that people know it by.
    fn target(&self) -> String;

    /// Where it belongs; nil for the site.
    fn organization(&self) -> OrganizationId {
        OrganizationId::nil()
    }

    /// All columns with their class.
    fn fields(&self) -> Vec<Field<'_>>;
}

/// One column of a row.
#[derive(Debug)]
pub struct Field<'a> {
    /// Name in the diff.
    pub name: &'static str,
    /// Class and value.
    pub shown: Shown<'a>,
}

/// What a diff shows of a column.
pub enum Shown<'a> {
    /// Old and new value.
    Tracked(Value),
    /// That it changed, with empty values on both sides.
    Secret(Option<Cow<'a, str>>),
}

impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tracked(value) => write!(f, "{value}"),
            Self::Secret(_) => f.write_str("[secret]"),
        }
    }
}

/// The columns that differ, by name: `{"old", "new", "secret"}`.
///
/// A side that does not exist counts as empty: a created row shows what is not empty in it.
#[must_use]
pub fn diff<R: Auditable>(old: Option<&R>, new: Option<&R>) -> Map<String, Value> {
    let (before, after) = (old.map(R::fields), new.map(R::fields));
    let mut out = Map::new();
    let names = after.as_ref().or(before.as_ref()).into_iter().flatten().map(|field| field.name);
    for (place, name) in names.enumerate() {
        let side = |fields: &Option<Vec<Field<'_>>>| -> (Value, bool) {
            match fields.as_ref().and_then(|fields| fields.get(place)).map(|field| &field.shown) {
                Some(Shown::Tracked(value)) => (value.clone(), false),
                Some(Shown::Secret(text)) => (json!(text), true),
                None => (Value::Null, false),
            }
        };
        let ((was, was_secret), (is, is_secret)) = (side(&before), side(&after));
        if was == is && before.is_some() == after.is_some() {
            continue;
        }
        let secret = was_secret || is_secret;
        let (was, is) = (or_empty(was, &is), or_empty(is, &was_type(before.as_ref(), place)));
        if was == is {
            continue;
        }
        let shown = if secret {
            json!({ "old": "", "new": "", "secret": true })
        } else {
            json!({ "old": was, "new": is, "secret": false })
        };
        out.insert(name.to_owned(), shown);
    }
    out
}

/// The tracked value of one side, to give a missing side an empty value of the same type.
fn was_type(fields: Option<&Vec<Field<'_>>>, place: usize) -> Value {
    match fields.and_then(|fields| fields.get(place)).map(|field| &field.shown) {
        Some(Shown::Tracked(value)) => value.clone(),
        Some(Shown::Secret(_)) => Value::String(String::new()),
        None => Value::Null,
    }
}

/// Replaces an absent value by the empty value of the other side's type.
fn or_empty(value: Value, other: &Value) -> Value {
    if !value.is_null() {
        return value;
    }
    match other {
        Value::Null => Value::Null,
        Value::Bool(_) => Value::Bool(false),
        Value::Number(_) => json!(0),
        Value::String(_) => Value::String(String::new()),
        Value::Array(_) => Value::Array(Vec::new()),
        Value::Object(_) => Value::Object(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Door {
        open: bool,
        name: String,
        code: String,
    }

    impl Auditable for Door {
        const RESOURCE_TYPE: &'static str = "door";

        fn id(&self) -> Uuid {
            Uuid::nil()
        }

        fn target(&self) -> String {
            self.name.clone()
        }

        fn fields(&self) -> Vec<Field<'_>> {
            vec![
                Field { name: "open", shown: Shown::Tracked(json!(self.open)) },
                Field { name: "name", shown: Shown::Tracked(json!(self.name)) },
                Field { name: "code", shown: Shown::Secret(Some(Cow::Borrowed(&self.code))) },
            ]
        }
    }

    fn door(open: bool, name: &str, code: &str) -> Door {
        Door { open, name: name.to_owned(), code: code.to_owned() }
    }

    #[test]
    fn shows_what_changed_and_never_a_secret() {
        let seen = diff(Some(&door(false, "front", "1234")), Some(&door(true, "front", "9876")));
        assert_eq!(
            Value::Object(seen),
            json!({
                "open": { "old": false, "new": true, "secret": false },
                "code": { "old": "", "new": "", "secret": true },
            })
        );
    }

    #[test]
    fn a_created_row_shows_what_is_not_empty() {
        let seen = diff(None, Some(&door(false, "front", "1234")));
        assert_eq!(
            Value::Object(seen),
            json!({
                "name": { "old": "", "new": "front", "secret": false },
                "code": { "old": "", "new": "", "secret": true },
            })
        );
    }

    #[test]
    fn a_deleted_row_shows_what_it_was() {
        let seen = diff(Some(&door(true, "front", "1234")), None);
        assert_eq!(seen.get("open"), Some(&json!({ "old": true, "new": false, "secret": false })));
    }

    #[test]
    fn a_secret_that_never_was_has_not_changed() {
        struct Safe;
        impl Auditable for Safe {
            const RESOURCE_TYPE: &'static str = "safe";

            fn id(&self) -> Uuid {
                Uuid::nil()
            }

            fn target(&self) -> String {
                String::new()
            }

            fn fields(&self) -> Vec<Field<'_>> {
                vec![Field { name: "code", shown: Shown::Secret(None) }]
            }
        }
        assert!(diff(Some(&Safe), Some(&Safe)).is_empty());
        assert!(diff(None, Some(&Safe)).is_empty());
    }

    #[test]
    fn nothing_changed_is_nothing_shown() {
        let same = door(true, "front", "1234");
        assert!(diff(Some(&same), Some(&same)).is_empty());
    }
}
