//! Which of the given values of an option counts, and what has to be said about the others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use crate::environment::Environment;
use crate::flags::Flags;
use crate::report::Problem;
use crate::row::{Daemon, Names, Row};
use crate::table;
use crate::value::{Kind, Raw, Value};
use crate::yaml::Document;

/// Largest file that a secret is read from. Certificates and keys are far smaller.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueSource {
    /// Nobody set it.
    Default,
    /// The file in YAML.
    Yaml,
    /// A variable, or the file that a variable names.
    Env,
    /// A flag, or the file that a flag names.
    Flag,
}

impl ValueSource {
    /// The source as the deployment endpoint names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Yaml => "yaml",
            Self::Env => "env",
            Self::Flag => "flag",
        }
    }
}

/// Where a value came from, exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The kind of source.
    pub source: ValueSource,
    /// The flag, variable, or place in the file; empty for a default.
    pub name: String,
}

impl Origin {
    /// Whether somebody set the value.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.source != ValueSource::Default
    }
}

/// A value that was given for an option. No `Debug`: it may be a secret.
struct Given {
    raw: Raw,
    origin: Origin,
    /// The name as people know it, without file and line.
    name: String,
    /// What to use instead, if the name is out of date.
    instead: Option<String>,
    /// Which of the option's sets of names it was given by.
    names: usize,
}

/// The values of all options on their way to be typed, and everything that was found on it.
pub(crate) struct Resolution {
    env: Environment,
    daemon: Daemon,
    given: BTreeMap<&'static str, (Raw, Origin)>,
    failed: BTreeSet<&'static str>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<String>,
}

impl Resolution {
    pub(crate) fn new(env: &Environment, daemon: Daemon) -> Self {
        Self {
            env: env.clone(),
            daemon,
            given: BTreeMap::new(),
            failed: BTreeSet::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Decides the value of one option.
    pub(crate) fn settle(&mut self, row: &'static Row, flags: &Flags, file: Option<&Document>) {
        let mut found = self.gather(row, flags, file);
        let mut valid = true;
        let mut canonical = Vec::new();
        for given in &found {
            match row.accept(&given.raw) {
                Ok(form) => canonical.push(Some(form)),
                Err(reason) => {
                    valid = false;
                    canonical.push(None);
                    self.problems.push(refusal(row, &given.origin, &given.raw, reason));
                }
            }
            if let Some(instead) = &given.instead {
                self.warn(format!("{} is deprecated, please use {instead} instead.", given.name));
            }
        }
        if !valid {
            self.failed.insert(row.field);
        }
        if found.is_empty() {
            return;
        }
        let winner = found.remove(0);
        let best = canonical.first().cloned().flatten();
        for (other, form) in found.iter().zip(canonical.iter().skip(1)) {
            if other.names != winner.names && *form != best {
                self.warn(format!(
                    "{} and {} are both set, to different values; {} wins.",
                    winner.name, other.name, winner.name
                ));
            }
        }
        if valid {
            self.given.insert(row.field, (winner.raw, winner.origin));
        }
    }

    /// Everything that was given for an option, the winner first.
    fn gather(&mut self, row: &'static Row, flags: &Flags, file: Option<&Document>) -> Vec<Given> {
        let names = row.names();
        let mut found = Vec::new();
        for (index, name) in names.iter().enumerate() {
            if let Some(raw) = self.flag_value(row, name, flags) {
                found.push(given(row, name, index, ValueSource::Flag, raw));
            }
        }
        for (index, name) in names.iter().enumerate() {
            if let Some(raw) = self.env_value(row, name) {
                found.push(given(row, name, index, ValueSource::Env, raw));
            }
        }
        for (index, name) in names.iter().enumerate() {
            let Some((raw, place)) = file.and_then(|file| file.get(&name.yaml)) else {
                continue;
            };
            if raw.is_empty() && !row.empty {
                continue;
            }
            found.push(given(row, name, index, ValueSource::Yaml, (raw, place)));
        }
        found
    }

    fn flag_value(&mut self, row: &Row, name: &Names, flags: &Flags) -> Option<(Raw, String)> {
        if name.flag.is_empty() {
            return None;
        }
        let plain = flags.get(name.flag, row.kind == Kind::List);
        let plain = plain.map(|raw| (raw, format!("--{}", name.flag)));
        if !row.secret {
            return plain;
        }
        let file_flag = format!("{}-file", name.flag);
        let path = flags.get(&file_flag, false).map(|raw| raw.to_string());
        self.secret(row, plain, path, format!("--{file_flag}"))
    }

    fn env_value(&mut self, row: &Row, name: &Names) -> Option<(Raw, String)> {
        if name.env.is_empty() {
            return None;
        }
        // A secret is never empty: `X=""` beside `X_FILE` is how unset variables look in compose files.
        let empty_counts = row.empty && !row.secret;
        let plain = self.env.get(name.env);
        let plain = plain.filter(|text| empty_counts || !text.is_empty());
        let plain = plain.map(|text| (Raw::text(text), name.env.to_owned()));
        if !row.secret {
            return plain;
        }
        let file_env = format!("{}_FILE", name.env);
        let path = self.env.non_empty(&file_env).map(str::to_owned);
        self.secret(row, plain, path, file_env)
    }

    /// A secret given plainly or by file; both at once is a problem.
    fn secret(
        &mut self,
        row: &Row,
        plain: Option<(Raw, String)>,
        path: Option<String>,
        file_name: String,
    ) -> Option<(Raw, String)> {
        let Some(path) = path else {
            return plain;
        };
        if let Some((_, plain_name)) = plain {
            self.fail(
                row,
                format!("{plain_name} and {file_name}"),
                "are both set",
                "keep one of them",
            );
            return None;
        }
        match read_secret(&path) {
            Ok(text) => Some((Raw::Text(text), file_name)),
            Err(reason) => {
                let source = format!("{file_name} = {path:?}");
                self.fail(
                    row,
                    source,
                    reason,
                    "name a readable file that holds nothing but the secret",
                );
                None
            }
        }
    }

    fn fail(&mut self, row: &Row, source: String, reason: impl Into<String>, fix: &str) {
        self.failed.insert(row.field);
        self.problems
            .push(Problem { option: row.name.to_owned(), ..Problem::at(source, reason, fix) });
    }

    /// The typed value of a field: what was given, else the default. `None` only if the default is
    /// broken.
    pub(crate) fn take<T: Value>(&self, field: &'static str) -> Option<T> {
        let row = table::row(field)?;
        if let Some((raw, _)) = self.given.get(field) {
            // Only accepted values are kept.
            return T::parse(raw).ok();
        }
        let computed = row.computed.and_then(|compute| compute(&self.env, self.daemon));
        let text = computed.unwrap_or_else(|| row.default.to_owned());
        T::parse(&Raw::Text(text)).ok()
    }

    /// Whether a rule over these fields can be judged: all of them hold what was meant.
    pub(crate) fn sound(&self, fields: &[&str]) -> bool {
        !fields.iter().any(|field| self.failed.contains(field))
    }

    /// The text that was given for a field.
    pub(crate) fn raw(&self, field: &str) -> Option<&Raw> {
        self.given.get(field).map(|(raw, _)| raw)
    }

    pub(crate) fn warn(&mut self, text: String) {
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// Where each option that `daemon` reads has its value from.
    pub(crate) fn sources(&self, daemon: Daemon) -> BTreeMap<&'static str, Origin> {
        let unset = || Origin { source: ValueSource::Default, name: String::new() };
        table::rows()
            .filter(|row| row.is_read_by(daemon))
            .map(|row| {
                let origin = self.given.get(row.field).map(|(_, origin)| origin.clone());
                (row.field, origin.unwrap_or_else(unset))
            })
            .collect()
    }
}

/// A value with the words that belong to its source.
fn given(
    row: &Row,
    name: &Names,
    names: usize,
    source: ValueSource,
    (raw, place): (Raw, String),
) -> Given {
    let yaml = row.yaml_path().unwrap_or_default();
    let (shown, new) = match source {
        ValueSource::Flag => (format!("--{}", name.flag), format!("--{}", row.flag)),
        ValueSource::Yaml => (name.yaml.clone(), yaml),
        ValueSource::Env | ValueSource::Default => (name.env.to_owned(), row.env.to_owned()),
    };
    let new = if new.trim_start_matches('-').is_empty() { row.best_name() } else { new };
    let instead = match (row.use_instead, name.deprecated) {
        (_, true) => Some(new),
        ("", false) => None,
        (instead, false) => Some(instead.to_owned()),
    };
    Given { raw, origin: Origin { source, name: place }, name: shown, instead, names }
}

fn refusal(row: &Row, origin: &Origin, raw: &Raw, reason: String) -> Problem {
    let fix =
        if row.secret { format!("correct the value behind {}", origin.name) } else { row.cure() };
    Problem {
        option: row.name.to_owned(),
        source: origin.name.clone(),
        text: (!row.secret).then(|| showable(row, raw)),
        reason,
        fix,
    }
}

/// The refused text, without the user name and password that a URL may carry.
fn showable(row: &Row, raw: &Raw) -> String {
    let text = raw.to_string();
    let Some((before, host)) = text.rsplit_once('@').filter(|_| row.kind == Kind::Url) else {
        return text;
    };
    let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
    format!("{scheme}://[secret]@{host}")
}

/// The secret in a file, without the line end that editors add.
pub(crate) fn read_secret(path: &str) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|err| format!("cannot be opened: {err}"))?;
    let mut text = String::new();
    file.take(SECRET_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|err| format!("cannot be read: {err}"))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > SECRET_BYTES_MAX {
        return Err(format!("is larger than {SECRET_BYTES_MAX} bytes"));
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(secret.to_owned())
}
