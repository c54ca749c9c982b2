//! Flags, parsed by the table.

use std::collections::BTreeMap;
use std::ffi::OsString;

use crate::nearest::nearest;
use crate::report::Problem;
use crate::row::{Daemon, Row};
use crate::table;
use crate::unused;
use crate::value::{Kind, Raw};

/// What was found on the command line. No `Debug`: values may be secrets.
#[derive(Default)]
pub(crate) struct Flags {
    values: BTreeMap<String, Vec<String>>,
    /// `--help` or `-h` was given.
    pub(crate) help: bool,
    /// Flags that are known and that nobody here reads.
    pub(crate) unused: Vec<String>,
    pub(crate) problems: Vec<Problem>,
}

impl Flags {
    /// The value of a flag: of several the last, or all of them for lists.
    pub(crate) fn get(&self, name: &str, list: bool) -> Option<Raw> {
        let values = self.values.get(name)?;
        if !list {
            return values.last().map(Raw::text);
        }
        if let [one] = values.as_slice() {
            return Some(Raw::text(one));
        }
        let mut items = Vec::new();
        for value in values {
            match Raw::text(value).items() {
                Ok(more) => items.extend(more),
                // Kept as it is: the type refuses it with the reason.
                Err(_) => return Some(Raw::text(value)),
            }
        }
        Some(Raw::Items(items))
    }

    fn problem(&mut self, source: &str, reason: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::at(source, reason, fix));
    }
}

/// How a known flag is to be read.
#[derive(Clone, Copy)]
struct Known {
    row: &'static Row,
    /// It names the file of a secret.
    file: bool,
}

/// All flags of the table by name.
fn known() -> BTreeMap<String, Known> {
    let mut out = BTreeMap::new();
    for row in table::rows() {
        for name in row.names() {
            if name.flag.is_empty() {
                continue;
            }
            out.insert(name.flag.to_owned(), Known { row, file: false });
            if row.secret {
                out.insert(format!("{}-file", name.flag), Known { row, file: true });
            }
        }
    }
    out
}

/// Reads the flags after the sub-command.
pub(crate) fn parse(daemon: Daemon, args: &[OsString]) -> Flags {
    let known = known();
    let mut flags = Flags::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let position = args.len() - rest.len();
        let Some(arg) = arg.to_str() else {
            flags.problem(
                &format!("argument {position}"),
                "is not valid Unicode",
                "write it in UTF-8",
            );
            continue;
        };
        if arg == "--" {
            for extra in position..args.len() {
                unexpected(&mut flags, extra + 1);
            }
            break;
        } else if let Some(body) = arg.strip_prefix("--") {
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (body, None),
            };
            long(&mut flags, &known, daemon, name, value, &mut rest);
        } else if let Some(body) = arg.strip_prefix('-').filter(|body| !body.is_empty()) {
            short(&mut flags, &known, daemon, body, &mut rest);
        } else {
            unexpected(&mut flags, position);
        }
    }
    flags
}

/// The argument is named by its position: it may be a secret that lost its flag.
fn unexpected(flags: &mut Flags, position: usize) {
    let place = format!("argument {position}");
    flags.problem(&place, "belongs to no flag", "write values as --flag=value");
}

fn long(
    flags: &mut Flags,
    known: &BTreeMap<String, Known>,
    daemon: Daemon,
    name: &str,
    value: Option<String>,
    rest: &mut std::slice::Iter<'_, OsString>,
) {
    if name == "help" {
        flags.help = true;
        return;
    }
    let shown = format!("--{name}");
    let Some(flag) = known.get(name) else {
        // What follows is most likely the flag's value, not an argument of its own.
        if value.is_none() && rest.as_slice().first().is_some_and(|next| !is_flag(next)) {
            rest.next();
        }
        if unused::is_flag(name) {
            flags.unused.push(shown);
            return;
        }
        let readable = known.iter().filter(|(_, flag)| flag.row.is_read_by(daemon));
        let fix = nearest(name, readable.map(|(name, _)| name.as_str())).map_or_else(
            || format!("see {} --help", daemon.as_str()),
            |near| format!("did you mean --{near}?"),
        );
        flags.problem(&shown, "unknown flag", fix);
        return;
    };
    let boolean = flag.row.kind == Kind::Bool && !flag.file;
    let value = match value {
        Some(value) => Some(value),
        None if boolean => Some("true".to_owned()),
        None => following(rest),
    };
    if !flag.row.is_read_by(daemon) {
        let readers: Vec<&str> = flag.row.daemons.iter().map(|reader| reader.as_str()).collect();
        let reason = format!("is not a flag of {}", daemon.as_str());
        flags.problem(&shown, reason, format!("it belongs to {}", readers.join(" and ")));
        return;
    }
    match value {
        Some(value) => flags.values.entry(name.to_owned()).or_default().push(value),
        None => flags.problem(&shown, "the value is missing", format!("write {shown}=value")),
    }
}

/// One-letter flags: `-v`, `-c path`, `-cpath`, `-c=path`, and switches in a row.
fn short(
    flags: &mut Flags,
    known: &BTreeMap<String, Known>,
    daemon: Daemon,
    body: &str,
    rest: &mut std::slice::Iter<'_, OsString>,
) {
    let mut letters = body.chars();
    while let Some(letter) = letters.next() {
        if letter == 'h' {
            flags.help = true;
            continue;
        }
        let row = table::rows().find(|row| row.short == Some(letter));
        let Some(row) = row else {
            let fix = format!("see {} --help", daemon.as_str());
            flags.problem(&format!("-{letter}"), "unknown flag", fix);
            return;
        };
        let tail = letters.as_str();
        if let Some(value) = tail.strip_prefix('=') {
            long(flags, known, daemon, row.flag, Some(value.to_owned()), rest);
            return;
        }
        if row.kind == Kind::Bool {
            long(flags, known, daemon, row.flag, None, rest);
            continue;
        }
        let value = (!tail.is_empty()).then(|| tail.to_owned());
        long(flags, known, daemon, row.flag, value, rest);
        return;
    }
}

/// The next argument as a value. It may begin with a dash only as a number does.
fn following(rest: &mut std::slice::Iter<'_, OsString>) -> Option<String> {
    let next = rest.as_slice().first()?;
    if is_flag(next) {
        return None;
    }
    rest.next().and_then(|value| value.to_str()).map(str::to_owned)
}

fn is_flag(arg: &OsString) -> bool {
    arg.to_str().is_some_and(|text| {
        let number = text.strip_prefix('-').and_then(|rest| rest.chars().next());
        number.is_some_and(|c| !c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Flags {
        let args: Vec<OsString> = args.iter().map(OsString::from).collect();
        parse(Daemon::Coderd, &args)
    }

    fn value(flags: &Flags, name: &str, list: bool) -> String {
        flags.get(name, list).map(|raw| raw.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_value_follows_or_is_attached() {
        let cases: [(&[&str], &str, &str); 9] = [
            (&["--http-address", ":1"], "http-address", ":1"),
            (&["--http-address=:1"], "http-address", ":1"),
            (&["--http-address="], "http-address", ""),
            (&["-a", ":1"], "address", ":1"),
            (&["-a:1"], "address", ":1"),
            (&["-a=:1"], "address", ":1"),
            (&["-va", ":1"], "address", ":1"),
            (&["--tls-enable", "-v"], "tls-enable", "true"),
            (&["--api-rate-limit", "-1"], "api-rate-limit", "-1"),
        ];
        for (args, name, want) in cases {
            let flags = parsed(args);
            assert_eq!(flags.problems, [], "{args:?}");
            assert_eq!(value(&flags, name, false), want, "{args:?}");
        }
    }

    #[test]
    fn lists_add_up_and_single_values_replace() {
        let flags =
            parsed(&["--experiments", "a,b", "--experiments=c", "--cache-dir=x", "--cache-dir=y"]);
        assert_eq!(value(&flags, "experiments", true), "a,b,c");
        assert_eq!(value(&flags, "cache-dir", false), "y");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_cure() {
        let cases: [(&[&str], &str); 7] = [
            (&["--http-adress", ":1"], "--http-adress: unknown flag; did you mean --http-address?"),
            (&["--qqqqqqqqqq"], "--qqqqqqqqqq: unknown flag; see coderd --help"),
            (&["-z"], "-z: unknown flag; see coderd --help"),
            (
                &["--http-address"],
                "--http-address: the value is missing; write --http-address=value",
            ),
            (
                &["--http-address", "--verbose"],
                "--http-address: the value is missing; write --http-address=value",
            ),
            (
                &["--ai-gateway-listen-addr=:1"],
                "--ai-gateway-listen-addr: is not a flag of coderd; it belongs to aibridged",
            ),
            (&["--", "x"], "argument 2: belongs to no flag; write values as --flag=value"),
        ];
        for (args, want) in cases {
            let problems = parsed(args).problems;
            assert!(
                problems.iter().any(|problem| problem.to_string() == want),
                "{args:?}: {problems:?}"
            );
        }
    }

    #[test]
    fn help_is_seen_beside_errors() {
        assert!(parsed(&["--nonsense", "--help"]).help);
        assert!(parsed(&["-h"]).help);
        assert!(!parsed(&["--", "--help"]).help);
    }

    proptest::proptest! {
        #[test]
        fn no_command_line_makes_it_panic(args in proptest::collection::vec("-{0,2}[a-z=,é-]{0,6}", 0..6)) {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            let flags = parse(Daemon::Coderd, &args);
            proptest::prop_assert!(flags.values.keys().all(|name| known().contains_key(name)));
        }
    }
}
