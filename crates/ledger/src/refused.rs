//! Facts that can never be stored are kept in a file, for people.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
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
    let mut options = OpenOptions::new();
    let mut file = options.create(true).read(true).append(true).mode(0o600).open(path)?;
    let held = file.metadata()?.len();
    let mut room = bytes_max.saturating_sub(held);
    let mut bytes = Vec::new();
    let mut last = [b'\n'];
    if held > 0 {
        file.read_exact_at(&mut last, held - 1)?;
    }
    if last != [b'\n'] {
        // A line that a crash cut short ends here, or it would spoil the next one.
        bytes.push(b'\n');
        room = room.saturating_sub(1);
    }
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
    for line in BufReader::new(file).split(b'\n') {
        // Bytes, because what a crash has cut short need not be text.
        let line: Result<Line, _> = serde_json::from_slice(&line?);
        let fact = line.and_then(|line| serde_json::from_str(line.fact.get()));
        facts.extend(fact.ok());
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use aibridge::facts::End;
    use stdx::ids::{FactId, InterceptionId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_line_that_was_cut_short_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let facts = [1, 2].map(|number| {
            Fact::End(End {
                id: FactId::new(Uuid::from_u128(number)),
                interception: InterceptionId::new(Uuid::from_u128(number)),
                ended_at: time::OffsetDateTime::UNIX_EPOCH,
                credential_hint: String::new(),
                error_type: None,
                error_message: None,
            })
        });
        let line = |fact| [Line::new("odd", fact).unwrap()];
        assert_eq!(keep(dir.path(), &line(&facts[0]), 4096).unwrap(), 1);
        let mut file = OpenOptions::new().append(true).open(dir.path().join(REFUSED_FILE)).unwrap();
        // Half a character.
        file.write_all(b"{\"reason\":\"\xc3").unwrap();
        assert_eq!(read(dir.path()).unwrap(), facts[..1]);
        assert_eq!(keep(dir.path(), &line(&facts[1]), 4096).unwrap(), 1);
        assert_eq!(read(dir.path()).unwrap(), facts);
    }
}
