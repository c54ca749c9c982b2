//! The types that an option can have, and their text, YAML and JSON forms.

mod address;
mod choice;
mod duration;
mod list;
mod scalar;

use std::fmt;

use serde_json::{Value as Json, json};

pub use address::HostPort;
pub use choice::{
    BudgetPeriod, BudgetPolicy, MaxIdle, PostgresAuth, SameSite, SpoolFull, SpoolSync,
    TlsClientAuth, TlsVersion, UnpricedPolicy,
};
pub(crate) use duration::format_duration;
pub use scalar::ByteSize;

/// Most entries that a list option takes; far beyond what any deployment needs.
const LIST_ITEMS_MAX: usize = 1024;

/// A value as it was given, before it has a type. It has no `Debug`: it may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Raw {
    /// One text: a variable, a flag given once, a YAML scalar.
    Text(String),
    /// Several: a YAML list, or a flag given more than once.
    Items(Vec<String>),
}

impl Raw {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Items(items) => items.is_empty(),
        }
    }

    /// The one text, or why there is not exactly one.
    fn single(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text.trim()),
            Self::Items(items) => match items.as_slice() {
                [one] => Ok(one.trim()),
                _ => Err("a list was given where one value is wanted".to_owned()),
            },
        }
    }

    /// The entries; a single text is read as comma-separated values.
    pub(crate) fn items(&self) -> Result<Vec<String>, String> {
        match self {
            Self::Text(text) => list::split(text),
            Self::Items(items) => Ok(items.clone()),
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Items(items) => f.write_str(&list::join(items)),
        }
    }
}

/// What kind of text an option takes; shown in help and named in the cure of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Bool,
    Integer,
    Duration,
    List,
    Url,
    HostPort,
    Path,
    Size,
    Choice(&'static [&'static str]),
}

impl Kind {
    /// The type's name as help and documentation print it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Text => "string".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Integer => "int".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::List => "string-array".to_owned(),
            Self::Url => "url".to_owned(),
            Self::HostPort => "host:port".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Size => "bytes".to_owned(),
            Self::Choice(names) => names.join("|"),
        }
    }

    /// What to write instead of a bad value.
    pub(crate) fn cure(self) -> String {
        match self {
            Self::Text => "give a text".to_owned(),
            Self::Bool => "give true or false".to_owned(),
            Self::Integer => "give a whole number".to_owned(),
            Self::Duration => "give a duration such as 1h30m, 60d or 0".to_owned(),
            Self::List => "give comma-separated values".to_owned(),
            Self::Url => "give an absolute URL such as https://coder.example.com".to_owned(),
            Self::HostPort => "give host:port such as 127.0.0.1:3000".to_owned(),
            Self::Path => "give a path".to_owned(),
            Self::Size => "give a number of bytes such as 1048576, 512MiB or 1GiB".to_owned(),
            Self::Choice(names) => format!("give one of {}", names.join(", ")),
        }
    }
}

/// A type that an option can have.
pub(crate) trait Value: Sized {
    /// How the type is called and explained.
    const KIND: Kind;
    /// Whether the empty text is a value; if not, an empty variable counts as unset.
    const EMPTY: bool = false;
    /// Whether values must never be shown.
    const SECRET: bool = false;

    /// Reads a value. The reason of a refusal never repeats the text, which may be secret.
    fn parse(raw: &Raw) -> Result<Self, String>;

    /// The text form, such that parsing it gives the value again. Empty for secrets.
    fn to_raw(&self) -> Raw;

    /// The form on the wire. Secrets are blank.
    fn to_json(&self) -> Json {
        Json::String(self.to_raw().to_string())
    }

    /// The number, for types that can have a range.
    fn number(&self) -> Option<i128> {
        None
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;
    const EMPTY: bool = true;
    const SECRET: bool = T::SECRET;

    fn parse(raw: &Raw) -> Result<Self, String> {
        if raw.is_empty() {
            return Ok(None);
        }
        T::parse(raw).map(Some)
    }

    fn to_raw(&self) -> Raw {
        self.as_ref().map_or_else(|| Raw::text(""), Value::to_raw)
    }

    fn to_json(&self) -> Json {
        match self {
            Some(value) => value.to_json(),
            None if T::KIND == Kind::HostPort => json!({ "host": "", "port": "" }),
            None if matches!(T::KIND, Kind::Bool | Kind::Integer | Kind::Duration) => Json::Null,
            None => Json::String(String::new()),
        }
    }

    fn number(&self) -> Option<i128> {
        self.as_ref().and_then(Value::number)
    }
}
