//! Facts that can never be stored are kept in a file, for people.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aibridge::facts::Fact;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Name of the file in the spool's directory: one JSON object a line.
pub(crate) const REFUSED_FILE: &str = "refused.jsonl";

/// One line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// For people.
    pub(crate) reason: String,
    /// The fact as it was recorded.
    pub(crate) fact: Box<RawValue>,
}

impl Line {
    pub(crate) fn new(reason: &str, fact: &Fact) -> Option<Self> {
        let fact = serde_json::value::to_raw_value(fact).ok()?;
        Some(Self { reason: reason.to_owned(), fact })
    }

    /// What is no fact is kept as the text that it is.
    pub(crate) fn of_json(reason: &str, json: String) -> Option<Self> {
        let text = serde_json::value::to_raw_value(&json);
        // A line holds no line break.
        let value = (!json.contains('\n')).then(|| RawValue::from_string(json).ok()).flatten();
        let fact = value.or(text.ok())?;
        Some(Self { reason: reason.to_owned(), fact })
    }
}

/// Appends lines as far as `bytes_max` allows and makes them durable. Returns how many fit.
pub(crate) fn keep(dir: &Path, lines: &[Line], bytes_max: u64) -> io::Result<usize> {
    let path = dir.join(REFUSED_FILE);
    let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let mut room = bytes_max.saturating_sub(file.metadata()?.len());
    let mut bytes = Vec::new();
    let mut kept = 0;
    for line in lines {
        let mut json = serde_json::to_vec(line)?;
        json.push(b'\n');
        if json.len() as u64 > room {
            break;
        }
        room -= json.len() as u64;
        bytes.append(&mut json);
        kept += 1;
    }
    file.write_all(&bytes)?;
    file.sync_data()?;
    Ok(kept)
}

/// All facts in the file that can be read.
pub(crate) fn read(dir: &Path) -> io::Result<Vec<Fact>> {
    let file = match File::open(dir.join(REFUSED_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut facts = Vec::new();
    for line in BufReader::new(file).lines() {
        let line: Result<Line, _> = serde_json::from_str(&line?);
        let fact = line.and_then(|line| serde_json::from_str(line.fact.get()));
        facts.extend(fact.ok());
    }
    Ok(facts)
}
