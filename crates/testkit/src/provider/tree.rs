//! Building JSON trees field by field.

use serde_json::Value;

/// Puts `to` at `field` of an object; any other value is left alone.
pub(super) fn set(object: &mut Value, field: &str, to: impl Into<Value>) {
    if let Value::Object(fields) = object {
        fields.insert(field.to_owned(), to.into());
    }
}

/// Takes the value at a JSON pointer away and leaves null, or an empty string if `blank`.
pub(super) fn take(tree: &mut Value, pointer: &str, blank: bool) -> Value {
    let empty = if blank { Value::String(String::new()) } else { Value::Null };
    tree.pointer_mut(pointer).map(|place| std::mem::replace(place, empty)).unwrap_or_default()
}
