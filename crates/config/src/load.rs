//! From flags, environment and file to typed options.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use crate::cross;
use crate::environment::Environment;
use crate::flags::{self, Flags};
use crate::nearest::nearest;
use crate::providers;
use crate::report::{Problem, Report};
use crate::resolve::{Origin, Resolution};
use crate::row::{Daemon, Row};
use crate::table::{self, Options};
use crate::unused;
use crate::yaml::{self, Document};

/// A configuration that can be started with.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Who reads it.
    pub daemon: Daemon,
    /// The values.
    pub options: Options,
    /// What the operator should be told, in sentences, without values of secrets.
    pub warnings: Vec<String>,
    /// Where each option that this daemon reads has its value from, by [`Row::field`].
    pub sources: BTreeMap<&'static str, Origin>,
    /// `--help` was given: print [`crate::help()`] and exit. All options hold their defaults.
    pub help_requested: bool,
    /// `--write-config` was given: print [`crate::write_config`] and exit.
    pub write_config: bool,
}

/// Reads the configuration of `daemon` from the flags after the sub-command, the environment and the
/// file that one of them names.
///
/// # Errors
/// Everything that is wrong, at once. Nothing is started with half a configuration.
pub fn load(daemon: Daemon, args: &[OsString], env: &Environment) -> Result<Loaded, Report> {
    let mut flags = flags::parse(daemon, args);
    if flags.help {
        return defaults(daemon);
    }
    let mut values = Resolution::new(env, daemon);
    values.problems.append(&mut flags.problems);
    variables(&mut values, env);

    let mut file = config_file(&mut values, &flags);
    if let Some(file) = &mut file {
        values.problems.append(&mut file.problems);
    }
    let readable = |row: &&Row| row.is_read_by(daemon) && row.field != CONFIG_PATH;
    for row in table::rows().filter(readable) {
        values.settle(row, &flags, file.as_ref());
    }
    say_unused(&mut values, env, &flags, file.as_ref());

    let mut options = Options::build(&values).ok_or_else(broken_table)?;
    cross::complete(daemon, &mut options, &mut values);
    cross::check(daemon, &options, &mut values);
    if daemon == Daemon::Coderd {
        let mut found = providers::read(env, &options);
        values.problems.append(&mut found.problems);
        found.warnings.into_iter().for_each(|text| values.warn(text));
    }
    if !values.problems.is_empty() {
        return Err(Report { problems: values.problems });
    }
    Ok(Loaded {
        daemon,
        write_config: options.configuration.write,
        options,
        sources: values.sources(daemon),
        warnings: values.warnings,
        help_requested: false,
    })
}

const CONFIG_PATH: &str = "configuration.path";

/// What is loaded when only help is wanted: nothing given can be wrong then.
fn defaults(daemon: Daemon) -> Result<Loaded, Report> {
    let values = Resolution::new(&Environment::default(), Daemon::Coderd);
    Ok(Loaded {
        daemon,
        options: Options::build(&values).ok_or_else(broken_table)?,
        warnings: Vec::new(),
        sources: values.sources(daemon),
        help_requested: true,
        write_config: false,
    })
}

/// A default of the table that is no value of its type. A test excludes it.
fn broken_table() -> Report {
    let reason = "a built-in default is invalid";
    Report {
        problems: vec![Problem::general(
            reason,
            "this is a fault of the program, please report it",
        )],
    }
}

/// The file, if one is named. Its name is settled before all other options, without the file.
fn config_file(values: &mut Resolution, flags: &Flags) -> Option<Document> {
    values.settle(table::row(CONFIG_PATH)?, flags, None);
    let path = values.raw(CONFIG_PATH)?.to_string();
    (!path.is_empty()).then(|| yaml::read(Path::new(&path)))
}

/// All variables of the table, with the files of secrets.
fn known_variables() -> Vec<String> {
    let mut known = Vec::new();
    for row in table::rows() {
        for name in row.names().iter().filter(|name| !name.env.is_empty()) {
            known.push(name.env.to_owned());
            if row.secret {
                known.push(format!("{}_FILE", name.env));
            }
        }
    }
    known
}

/// Says which variables look like ours and are not: they would otherwise have no effect, silently.
fn variables(values: &mut Resolution, env: &Environment) {
    let known = known_variables();
    for name in env.unreadable().filter(|name| name.starts_with("CODER_")) {
        let problem = Problem::at(name, "is not valid Unicode", "give the value in UTF-8");
        values.problems.push(problem);
    }
    for (name, _) in env.iter() {
        let ours = name.starts_with("CODER_") && !providers::is_variable(name);
        if !ours
            || known.iter().any(|known| known == name)
            || unused::is_foreign(name)
            || unused::is_variable(name)
        {
            continue;
        }
        let near = nearest(name, known.iter().map(String::as_str));
        let cure = near.map_or_else(String::new, |near| format!(" Did you mean {near}?"));
        values.warn(format!("{name} is not a known variable and has no effect.{cure}"));
    }
}

fn say_unused(values: &mut Resolution, env: &Environment, flags: &Flags, file: Option<&Document>) {
    let known = known_variables();
    let names = env.iter().map(|(name, _)| name.to_owned());
    let mut found: Vec<String> = flags.unused.clone();
    found.extend(names.filter(|name| {
        !unused::is_foreign(name) && unused::is_variable(name) && !known.contains(name)
    }));
    found.extend(file.into_iter().flat_map(|file| file.unused.iter().cloned()));
    if !found.is_empty() {
        values.warn(format!("Not used by this server: {}.", found.join(", ")));
    }
}
