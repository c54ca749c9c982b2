use std::collections::HashMap;
use std::fmt;

use crypt::signing::is_signed;
use store::audit_chain::{Checkpoint, Entry, Kind, Link, START};
use uuid::Uuid;

use super::Line;

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// Its columns do not have its hash.
    Changed,
    /// It does not follow from the row before: one of the two was replaced together with its hash, or this one was
    /// put in.
    Replaced,
    /// It and the rows up to the one that is named are missing.
    Removed {
        /// The next that is there.
        until: i64,
    },
    /// It is there, but further on.
    Reordered,
    /// A row of that number was there already.
    Inserted,
    /// It is not in the chain at all: it came past the program.
    Stray,
    /// A checkpoint, or the head of the chain, knows of this row, but the log ends before.
    CutOff {
        /// The last row that is there.
        last: i64,
    },
    /// Its hash is another than a checkpoint, or the head of the chain, says: it was rewritten together with all that
    /// follows.
    Rewritten,
    /// The checkpoint at this row is not signed by its key.
    BadSignature,
    /// The checkpoint at this row is signed by a key that is unknown, or not among the pinned ones.
    UnknownKey {
        /// Of the checkpoint.
        key: Uuid,
    },
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which row, as far as it has a number.
    pub sequence: Option<i64>,
    /// Which row, as far as it is there.
    pub id: Option<Uuid>,
    /// What is wrong with it.
    pub what: What,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sequence {
            Some(sequence) => write!(f, "row {sequence}")?,
            None => f.write_str("a row without a number")?,
        }
        if let Some(id) = self.id {
            write!(f, " ({id})")?;
        }
        match &self.what {
            What::Changed => f.write_str(" was changed: its columns do not have its hash"),
            What::Replaced => f.write_str(
                " does not follow from the row before: one of the two was replaced, or this one inserted",
            ),
            What::Removed { until } => write!(f, " was removed: the next row is {until}"),
            What::Reordered => f.write_str(" was reordered: it comes after later rows"),
            What::Inserted => f.write_str(" was inserted: its number was there before"),
            What::Stray => f.write_str(" was inserted past the program: it is not in the chain"),
            What::CutOff { last } => {
                write!(f, " was cut off: the log ends with row {last}, but had come so far")
            }
            What::Rewritten => f.write_str(" was rewritten: it had another hash before"),
            What::BadSignature => f.write_str(" has a checkpoint with a bad signature"),
            What::UnknownKey { key } => {
                write!(f, " has a checkpoint signed by key {key}, which is not known or not pinned")
            }
        }
    }
}

/// What was found in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows.
    pub rows: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// The row before the first; 0 when nothing was ever removed.
    pub after: i64,
    /// The last row.
    pub last: i64,
    /// The last row that a checkpoint covers; what comes after it is only in the chain.
    pub covered: i64,
    /// Whether the log says that it ends here.
    pub ended: bool,
}

/// Goes through a chain.
#[derive(Clone, Debug, Default)]
pub struct Verifier {
    keys: HashMap<Uuid, Vec<u8>>,
    /// Public keys that are trusted; empty: all.
    pinned: Vec<Vec<u8>>,
    /// Hashes that somebody noted, by sequence.
    noted: HashMap<i64, Vec<u8>>,
    /// Hash of the last row; unknown at the beginning of an excerpt.
    previous: Option<Vec<u8>>,
    begun: bool,
    report: Report,
    /// Rows were missing before the next: this is the first of them, unless it comes later.
    missing: Option<(i64, i64)>,
    /// The last row, as the log says.
    head: Option<(i64, Vec<u8>)>,
}

impl Verifier {
    /// With the public keys that are trusted (none: those of the log itself) and with hashes that somebody noted.
    #[must_use]
    pub fn new(pinned: Vec<Vec<u8>>, noted: HashMap<i64, Vec<u8>>) -> Self {
        Self { pinned, noted, ..Self::default() }
    }

    /// A public key of the log.
    pub fn key(&mut self, id: Uuid, bytes: Vec<u8>) {
        self.keys.insert(id, bytes);
    }

    /// The rows begin after `after`, in the middle of a log: what is before is not looked at.
    pub fn excerpt(&mut self, after: i64) {
        if !self.begun && after > 0 {
            self.begun = true;
            self.report.after = after;
            self.report.last = after;
            self.report.covered = after;
        }
    }

    /// The next line of a log.
    ///
    /// # Errors
    /// The [`Fault`].
    pub fn line(&mut self, line: Line) -> Result<(), Fault> {
        match line {
            Line::Log { after } => self.excerpt(after),
            Line::Key { id, public_key } => self.key(id, public_key),
            Line::Row(row) => return self.row(&row.0, &row.1),
            Line::Checkpoint(checkpoint) => return self.checkpoint(&checkpoint),
            Line::End { sequence, hash } => self.head = Some((sequence, hash)),
        }
        Ok(())
    }

    /// The next row.
    ///
    /// # Errors
    /// The [`Fault`].
    pub fn row(&mut self, link: &Link, entry: &Entry) -> Result<(), Fault> {
        let fault = |what| Err(Fault { sequence: Some(link.sequence), id: Some(entry.id), what });
        if let Some((first, _)) = self.missing {
            // Looked for among the rest: a row that is there after all was moved, not removed.
            return if link.sequence == first { fault(What::Reordered) } else { Ok(()) };
        }
        if !self.begun {
            self.begun = true;
            self.previous = Some(START.to_vec());
        }
        let expected = self.report.last.saturating_add(1);
        if link.sequence < expected {
            return fault(What::Inserted);
        }
        if link.sequence > expected {
            self.missing = Some((expected, link.sequence));
            return Ok(());
        }
        let previous = self.previous.as_ref().unwrap_or(&link.previous_hash);
        match entry.hash(link.sequence, &link.previous_hash) {
            Ok(hash) if hash.as_slice() == link.hash => {}
            _ => return fault(What::Changed),
        }
        if *previous != link.previous_hash {
            return fault(What::Replaced);
        }
        if self.noted.get(&link.sequence).is_some_and(|noted| *noted != link.hash) {
            return fault(What::Rewritten);
        }
        self.previous = Some(link.hash.clone());
        self.report.last = link.sequence;
        self.report.rows += 1;
        Ok(())
    }

    /// The next checkpoint: of the last row, or of one that should be there.
    ///
    /// # Errors
    /// The [`Fault`].
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        if self.missing.is_some() {
            return Ok(());
        }
        let Checkpoint { sequence, kind, hash, signing_key_id: key, signature, .. } = checkpoint;
        let fault = |what| Err(Fault { sequence: Some(*sequence), id: None, what });
        let Some(bytes) = self.keys.get(key).filter(|bytes| self.trusts(bytes)) else {
            return fault(What::UnknownKey { key: *key });
        };
        if !is_signed(bytes, &checkpoint.message(), signature) {
            return fault(What::BadSignature);
        }
        let last = self.report.last;
        match kind {
            Kind::Start if *sequence > last || !self.begun => {
                if !self.begun {
                    self.report.after = *sequence;
                }
                self.begun = true;
                self.report.last = *sequence;
                self.previous = Some(hash.clone());
            }
            Kind::At if *sequence > last => return fault(What::CutOff { last }),
            Kind::At | Kind::Start if *sequence == last => {
                if *self.previous.get_or_insert_with(|| hash.clone()) != *hash {
                    return fault(What::Rewritten);
                }
            }
            Kind::At | Kind::Start => return Ok(()),
        }
        self.report.covered = self.report.covered.max(*sequence);
        self.report.checkpoints += 1;
        Ok(())
    }

    /// A row that has no place in the chain.
    ///
    /// # Errors
    /// The [`Fault`] that it is.
    pub const fn stray(&self, id: Uuid) -> Result<(), Fault> {
        Err(Fault { sequence: None, id: Some(id), what: What::Stray })
    }

    /// The end.
    ///
    /// # Errors
    /// The [`Fault`] that shows at the end only.
    pub fn finish(mut self) -> Result<Report, Fault> {
        let fault = |sequence, what| Err(Fault { sequence: Some(sequence), id: None, what });
        if let Some((first, until)) = self.missing {
            return fault(first, What::Removed { until });
        }
        let last = self.report.last;
        if let Some((sequence, hash)) = self.head.take() {
            self.report.ended = true;
            if sequence > last {
                return fault(last.saturating_add(1), What::CutOff { last });
            }
            if sequence < last {
                return fault(sequence.saturating_add(1), What::Inserted);
            }
            if self.previous.as_deref().is_some_and(|previous| previous != hash) {
                return fault(last, What::Rewritten);
            }
        }
        let beyond = self.noted.keys().copied().filter(|noted| *noted > last).min();
        if let Some(noted) = beyond {
            return fault(noted, What::CutOff { last });
        }
        Ok(self.report)
    }

    /// The last row so far.
    #[must_use]
    pub const fn last(&self) -> i64 {
        self.report.last
    }

    fn trusts(&self, key: &[u8]) -> bool {
        self.pinned.is_empty() || self.pinned.iter().any(|pinned| pinned == key)
    }
}
