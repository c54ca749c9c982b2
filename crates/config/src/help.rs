//! `--help`.

use std::fmt::Write as _;

use crate::groups;
use crate::row::{Daemon, Row};
use crate::table;
use crate::value::Kind;

/// Width of the text.
const WIDTH: usize = 100;
/// In front of an explanation.
const INDENT: &str = "          ";

/// The options of `daemon`, by group, wrapped at 100 columns. Hidden and deprecated options are left
/// out.
#[must_use]
pub fn help(daemon: Daemon) -> String {
    let mut out = String::from(
        "Options are given as flags, as environment variables, or in a YAML file (--config); an\n\
         earlier one of these beats a later one. A secret can also be read from a file: append _FILE\n\
         to its variable, or -file to its flag.\n",
    );
    for group in groups::ALL {
        let rows: Vec<&Row> = table::rows()
            .filter(|row| std::ptr::eq(row.group, *group) && row.is_read_by(daemon))
            .filter(|row| !row.hidden && row.use_instead.is_empty() && !row.flag.is_empty())
            .collect();
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{} Options: {}", group.title(), group.description);
        for row in rows {
            option(row, &mut out);
        }
    }
    out
}

fn option(row: &Row, out: &mut String) {
    let short = row.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let mut head = format!("  {short}--{}", row.flag);
    if row.kind != Kind::Bool {
        let _ = write!(head, " {}", row.kind.name());
    }
    if !row.env.is_empty() {
        let _ = write!(head, ", ${}", row.env);
    }
    if !row.shown_default().is_empty() {
        let _ = write!(head, " (default: {})", row.shown_default());
    }
    let mut lines = wrap(&head, WIDTH - 10).into_iter();
    // The first line keeps its leading blanks, which wrapping drops.
    let first = lines.next().unwrap_or_default();
    let lead = head.len() - head.trim_start().len();
    let _ = writeln!(out, "{}{first}", " ".repeat(lead));
    for line in lines {
        let _ = writeln!(out, "        {line}");
    }
    for paragraph in row.paragraphs() {
        for line in wrap(&paragraph, WIDTH - INDENT.len()) {
            let _ = writeln!(out, "{INDENT}{line}");
        }
    }
}

/// Breaks a text at blanks, so that no line is longer than `width` unless one word is.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
