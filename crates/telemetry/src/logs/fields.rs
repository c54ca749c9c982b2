use std::fmt;

use serde_json::{Number, Value};
use tracing::field::{Field, Visit};

/// What is written in place of a field that holds a secret by its name.
const REDACTED: &str = "[redacted]";

/// Last words of field names that hold a secret. A name is split at `_`, `-` and `.`.
const SECRET_WORDS: [&str; 9] = [
    "authorization",
    "cookie",
    "passcode",
    "passphrase",
    "password",
    "secret",
    "token",
    "apikey",
    "credential",
];

/// Fields of one event or span, in the order in which they were given.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// The field called `message`.
    pub(super) message: Option<String>,
    /// All others.
    pub(super) others: Vec<(&'static str, Value)>,
}

/// Whether a field of this name holds a secret. A net below the rule that secrets are `Secret<T>`: it
/// catches texts that were never wrapped.
pub(super) fn is_secret(name: &str) -> bool {
    let mut words = name.rsplit(['_', '-', '.']);
    let last = words.next().unwrap_or_default();
    SECRET_WORDS.iter().any(|word| last.eq_ignore_ascii_case(word))
        // `api_key` and `private_key`, but not `primary_key`; ids of keys end in `_id`.
        || (last.eq_ignore_ascii_case("key")
            && words.next().is_some_and(|word| {
                ["api", "private", "encryption", "signing", "session"]
                    .iter()
                    .any(|kind| word.eq_ignore_ascii_case(kind))
            }))
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        if is_secret(name) {
            self.set(name, Value::from(REDACTED));
        } else if name == "message" {
            self.message = Some(match value {
                Value::String(text) => text,
                other => other.to_string(),
            });
        } else {
            self.set(name, value);
        }
    }

    /// A span may record a field again: the last value stands.
    fn set(&mut self, name: &'static str, value: Value) {
        match self.others.iter_mut().find(|(held, _)| *held == name) {
            Some((_, held)) => *held = value,
            None => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Not formatted at all if it is a secret.
        let text = if is_secret(field.name()) { String::new() } else { format!("{value:?}") };
        self.put(field, Value::String(text));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinities.
        let value =
            Number::from_f64(value).map_or_else(|| Value::from(value.to_string()), Value::Number);
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, Value::from(stdx::chain(value).to_string()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_and_names_beside_them_are_not() {
        for name in [
            "password",
            "Authorization",
            "session_token",
            "http.request.header.cookie",
            "client_secret",
            "api_key",
            "x-api-key",
            "private_key",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "",
            "api_key_id",
            "token_name",
            "key",
            "primary_key",
            "secret_count",
            "path",
            "message",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
