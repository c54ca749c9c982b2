//! The configuration as the deployment endpoint shows it: every option, with secrets blanked.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::groups::Group;
use crate::load::Loaded;
use crate::resolve::ValueSource;
use crate::row::Row;
use crate::table;
use crate::value::{Kind, Raw, Value};

/// The forms of all values, by field. Secrets are blank in both.
#[derive(Default)]
pub(crate) struct Shown {
    values: BTreeMap<&'static str, (Raw, Json)>,
}

impl Shown {
    pub(crate) fn of(loaded: &Loaded) -> Self {
        let mut shown = Self::default();
        loaded.options.show(&mut shown);
        shown
    }

    pub(crate) fn put<T: Value>(&mut self, field: &'static str, value: &T) {
        self.values.insert(field, (value.to_raw(), value.to_json()));
    }

    pub(crate) fn raw(&self, field: &str) -> Option<&Raw> {
        self.values.get(field).map(|(raw, _)| raw)
    }

    fn json(&self, row: &Row) -> Json {
        match self.values.get(row.field) {
            Some((raw, _)) if row.json_as_text => Json::String(raw.to_string()),
            Some((_, json)) => json.clone(),
            None => Json::Null,
        }
    }
}

/// What the deployment endpoint answers.
#[derive(Debug, Clone, Serialize)]
pub struct Description {
    /// The values under their wire names; secrets are empty.
    pub config: Json,
    /// One entry per option.
    pub options: Vec<OptionDescription>,
}

/// One option as the deployment endpoint shows it.
#[derive(Debug, Clone, Serialize)]
pub struct OptionDescription {
    /// The option's name for people.
    pub name: &'static str,
    /// What it is for.
    pub description: String,
    /// The flag without dashes.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub flag: &'static str,
    /// The flag's one-letter form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag_shorthand: Option<char>,
    /// The variable.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub env: &'static str,
    /// The last key of its path in the YAML file; the groups give the others.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub yaml: &'static str,
    /// The default as text.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub default: &'static str,
    /// The value that counts; `null` for secrets. Durations in nanoseconds.
    pub value: Json,
    /// `flag`, `env`, `yaml` or `default`.
    pub value_source: &'static str,
    /// The heading that it stands under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupDescription>,
    /// Whether help leaves it out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// Set if the option is out of date.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub deprecated: &'static str,
}

/// A heading as the deployment endpoint shows it.
#[derive(Debug, Clone, Serialize)]
pub struct GroupDescription {
    /// The heading above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Box<Self>>,
    /// The heading for people.
    pub name: &'static str,
    /// Its key in the YAML file.
    pub yaml: &'static str,
    /// What its options are about.
    pub description: &'static str,
}

impl GroupDescription {
    /// The root has no name on the wire.
    fn of(group: &Group) -> Option<Self> {
        (!group.yaml.is_empty()).then(|| Self {
            parent: group.parent.and_then(Self::of).map(Box::new),
            name: group.name,
            yaml: group.yaml,
            description: group.description,
        })
    }
}

/// The configuration for `GET /api/v2/deployment/config`. No secret is in it.
#[must_use]
pub fn describe(loaded: &Loaded) -> Description {
    let shown = Shown::of(loaded);
    let mut config = Map::new();
    let mut options = Vec::new();
    for row in table::rows().filter(|row| row.is_read_by(loaded.daemon)) {
        let value = shown.json(row);
        if !row.json.is_empty() && !value.is_null() {
            put(&mut config, row.json, value.clone());
        }
        let source = loaded.sources.get(row.field).map(|origin| origin.source);
        options.push(OptionDescription {
            name: row.name,
            description: row.paragraphs().join("\n\n"),
            flag: row.flag,
            flag_shorthand: row.short,
            env: row.env,
            yaml: row.yaml,
            default: row.default,
            value: if row.secret { Json::Null } else { value },
            value_source: source.unwrap_or(ValueSource::Default).as_str(),
            group: GroupDescription::of(row.group),
            hidden: row.hidden,
            deprecated: row.use_instead,
        });
    }
    Description { config: Json::Object(config), options }
}

/// Puts a value at a path such as `ai.bridge.enabled`.
fn put(into: &mut Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => {
            into.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = into.entry(head).or_insert_with(|| Json::Object(Map::new()));
            if let Json::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// The type's name with what a reader needs to know beyond it.
pub(crate) fn type_name(row: &Row) -> String {
    match row.kind {
        Kind::List if row.secret => "string-array, secret".to_owned(),
        kind if row.secret => format!("{}, secret", kind.name()),
        kind => kind.name(),
    }
}
