//! The environment as a value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Variables by name. `Debug` prints the names only: values may be secrets.
#[derive(Clone, Default)]
pub struct Environment {
    vars: BTreeMap<String, String>,
    /// Names of variables whose value is not Unicode.
    unreadable: BTreeSet<String>,
}

impl Environment {
    /// The variables of this process. The only place that reads them.
    #[must_use]
    pub fn of_process() -> Self {
        let mut found = Self::default();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => {
                    found.vars.insert(name, value);
                }
                Err(_) => {
                    found.unreadable.insert(name);
                }
            }
        }
        found
    }

    /// Variables from pairs, for tests and for tools that compose an environment. The last of two
    /// equal names wins.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self {
            vars: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            unreadable: BTreeSet::new(),
        }
    }

    /// A variable's value, if it is set (it may be empty).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// A variable's value, if it is set and not empty.
    pub(crate) fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All names and values in the order of the names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vars.iter().map(|(name, value)| (&**name, &**value))
    }

    pub(crate) fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().map(String::as_str)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.vars.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_names_and_no_values() {
        let env = Environment::from_pairs([("CODER_PG_CONNECTION_URL", "planted-secret")]);
        let text = format!("{env:?}");
        assert!(text.contains("CODER_PG_CONNECTION_URL"));
        assert!(!text.contains("planted-secret"));
    }
}
