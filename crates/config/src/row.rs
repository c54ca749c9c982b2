//! One option: everything that is known about it, as data.

use crate::environment::Environment;
use crate::groups::{Group, ROOT};
use crate::value::{Kind, Raw, Value};

/// A program that reads the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// The control plane.
    Coderd,
    /// The AI gateway as a daemon of its own.
    Aibridged,
    /// The forward proxy that leads AI traffic to a gateway.
    Aibridgeproxyd,
}

impl Daemon {
    /// The program's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coderd => "coderd",
            Self::Aibridged => "aibridged",
            Self::Aibridgeproxyd => "aibridgeproxyd",
        }
    }
}

/// Another name for an option. Empty parts do not exist.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// The variable.
    pub env: &'static str,
    /// The flag, without dashes.
    pub flag: &'static str,
    /// The whole path in the YAML file.
    pub yaml: &'static str,
    /// Whether its use is answered with a warning.
    pub deprecated: bool,
}

/// A rule for a value, with the reason of a refusal.
pub(crate) type Check = fn(&Raw) -> Result<(), String>;

/// One option of the table.
#[expect(clippy::struct_excessive_bools, reason = "independent marks of a table row")]
pub struct Row {
    /// Where the value ends up in [`crate::Options`], such as `networking.http_address`.
    pub field: &'static str,
    /// The option's name for people.
    pub name: &'static str,
    /// What it is for: a sentence, then details.
    pub doc: &'static str,
    /// The variable, or empty.
    pub env: &'static str,
    /// The flag without dashes, or empty.
    pub flag: &'static str,
    /// The flag's one-letter form.
    pub short: Option<char>,
    /// The last key of the YAML path, or empty. See [`Row::yaml_path`].
    pub yaml: &'static str,
    /// The heading it stands under; its keys lead the YAML path.
    pub group: &'static Group,
    /// Where the value stands in the deployment endpoint's `config` object, or empty.
    pub json: &'static str,
    /// The wire wants the text form where the type would give an object.
    pub json_as_text: bool,
    /// The default as text.
    pub default: &'static str,
    /// What the default is when it is computed, in words.
    pub default_note: &'static str,
    /// Left out of help and documentation.
    pub hidden: bool,
    /// Set if the whole option is out of date: what to use instead.
    pub use_instead: &'static str,
    /// Other names.
    pub aliases: &'static [Alias],
    /// Who reads it.
    pub daemons: &'static [Daemon],
    /// Smallest and largest number, both allowed.
    pub(crate) range: Option<(i128, i128)>,
    /// A further rule; its reason never repeats a secret.
    pub(crate) check: Option<Check>,
    /// Computes the default from the environment.
    pub(crate) computed: Option<fn(&Environment, Daemon) -> Option<String>>,
    /// Parses a value and gives its text form back: equal values have equal forms.
    pub(crate) canonical: fn(&Self, &Raw) -> Result<Raw, String>,
    pub(crate) kind: Kind,
    /// Whether the value must never be shown.
    pub secret: bool,
    /// Whether an empty text is a value.
    pub(crate) empty: bool,
}

impl Row {
    /// A row that says nothing; every real row starts from it.
    pub(crate) const BASE: Self = Self {
        field: "",
        name: "",
        doc: "",
        env: "",
        flag: "",
        short: None,
        yaml: "",
        group: &ROOT,
        json: "",
        json_as_text: false,
        default: "",
        default_note: "",
        hidden: false,
        use_instead: "",
        aliases: &[],
        daemons: &[Daemon::Coderd],
        range: None,
        check: None,
        computed: None,
        canonical: |_, raw| Ok(raw.clone()),
        kind: Kind::Text,
        secret: false,
        empty: false,
    };

    /// A row for a value of type `T`.
    pub(crate) const fn of<T: Value>() -> Self {
        Self {
            canonical: canonical::<T>,
            kind: T::KIND,
            secret: T::SECRET,
            empty: T::EMPTY,
            ..Self::BASE
        }
    }

    /// The whole path in the YAML file, or `None` if the file cannot set it.
    #[must_use]
    pub fn yaml_path(&self) -> Option<String> {
        if self.yaml.is_empty() {
            return None;
        }
        let mut keys = self.group.yaml_keys();
        keys.push(self.yaml);
        Some(keys.join("."))
    }

    /// The documentation as paragraphs without line breaks.
    #[must_use]
    pub fn paragraphs(&self) -> Vec<String> {
        let mut out = vec![String::new()];
        for line in self.doc.lines().map(str::trim) {
            if line.is_empty() {
                out.push(String::new());
            } else if let Some(last) = out.last_mut() {
                if !last.is_empty() {
                    last.push(' ');
                }
                last.push_str(line);
            }
        }
        out.retain(|paragraph| !paragraph.is_empty());
        out
    }

    /// Whether `daemon` reads it.
    #[must_use]
    pub fn is_read_by(&self, daemon: Daemon) -> bool {
        self.daemons.contains(&daemon)
    }

    /// The default as people should see it.
    pub(crate) const fn shown_default(&self) -> &'static str {
        if self.default_note.is_empty() { self.default } else { self.default_note }
    }

    /// The name that a person uses for it in a sentence about its value.
    pub(crate) fn best_name(&self) -> String {
        if self.env.is_empty() { format!("--{}", self.flag) } else { self.env.to_owned() }
    }

    /// Whether `raw` is a value of this option: its type, range and further rule.
    pub(crate) fn accept(&self, raw: &Raw) -> Result<Raw, String> {
        let canonical = (self.canonical)(self, raw)?;
        if let Some(check) = self.check
            && !raw.is_empty()
        {
            check(raw)?;
        }
        Ok(canonical)
    }

    /// What to write instead of a bad value.
    pub(crate) fn cure(&self) -> String {
        match (self.kind, self.range) {
            (Kind::Integer, Some((min, max))) => {
                format!("give a whole number between {min} and {max}")
            }
            (kind, _) => kind.cure(),
        }
    }

    /// The option's own names and its aliases, the own ones first.
    pub(crate) fn names(&self) -> Vec<Names> {
        let own = Names {
            env: self.env,
            flag: self.flag,
            yaml: self.yaml_path().unwrap_or_default(),
            deprecated: false,
        };
        let others = self.aliases.iter().map(|alias| Names {
            env: alias.env,
            flag: alias.flag,
            yaml: alias.yaml.to_owned(),
            deprecated: alias.deprecated,
        });
        std::iter::once(own).chain(others).collect()
    }
}

/// The text form of the value that `raw` stands for. A secret's form is what was given.
fn canonical<T: Value>(row: &Row, raw: &Raw) -> Result<Raw, String> {
    let value = T::parse(raw)?;
    in_range(row, &value)?;
    Ok(if T::SECRET { raw.clone() } else { value.to_raw() })
}

fn in_range<T: Value>(row: &Row, value: &T) -> Result<(), String> {
    let (Some((min, max)), Some(number)) = (row.range, value.number()) else {
        return Ok(());
    };
    if (min..=max).contains(&number) {
        return Ok(());
    }
    Err(match (row.kind, min) {
        (Kind::Duration, _) => "must be longer than 0".to_owned(),
        (_, 1) if number < 1 => "must be greater than zero".to_owned(),
        _ => format!("must be between {min} and {max}"),
    })
}

/// One set of names of an option; empty parts do not exist.
pub(crate) struct Names {
    pub(crate) env: &'static str,
    pub(crate) flag: &'static str,
    pub(crate) yaml: String,
    pub(crate) deprecated: bool,
}
