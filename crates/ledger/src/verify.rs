//! Reads a spool from outside, also while a process writes to it, and compares it with what was stored.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};

use aibridge::facts::Fact;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::payload;
use crate::refused;
use crate::spool::{Outside, Position};

/// Facts that are checked at once.
const CHECK_MAX: usize = 1_000;

/// One record of a spool: what was appended at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Where its end is.
    pub position: Position,
    /// When it was appended, by the clock of then.
    pub appended_at: OffsetDateTime,
    /// Whether the place of record has confirmed it.
    pub acknowledged: bool,
    /// The facts in it.
    pub facts: Vec<Fact>,
    /// How many further facts this release does not know.
    pub unknown: usize,
}

/// All valid records that are on disk, oldest first, acknowledged or not. See [`read_all`].
#[derive(Debug)]
pub struct Records {
    outside: Outside,
    damaged_bytes: u64,
}

/// Reads the spool in `dir`, also while a process uses it: without its lock and without changing anything.
/// Acknowledged segments stay until their files are needed again, so there is more than what waits.
///
/// # Errors
/// The directory or a file cannot be read, or is of another format.
pub fn read_all(dir: &Path) -> io::Result<Records> {
    Ok(Records { outside: Outside::open(dir)?, damaged_bytes: 0 })
}

impl Records {
    /// Bytes met so far that should have been records.
    #[must_use]
    pub const fn damaged_bytes(&self) -> u64 {
        self.damaged_bytes
    }
}

impl Iterator for Records {
    type Item = Stored;

    fn next(&mut self) -> Option<Stored> {
        let record = self.outside.next_record(&mut self.damaged_bytes)?;
        let decoded = payload::decode(&record.payload);
        let at = OffsetDateTime::UNIX_EPOCH
            .checked_add(time::Duration::microseconds(record.at_micros))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Some(Stored {
            position: record.position,
            appended_at: at,
            acknowledged: record.acknowledged,
            facts: decoded.facts,
            unknown: decoded.unknown.len(),
        })
    }
}

/// What a place of record says about facts, by their index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Of these there is nothing.
    pub missing: Vec<usize>,
    /// Of these there is something else.
    pub different: Vec<usize>,
}

/// Counts of facts by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Interceptions begun.
    pub starts: u64,
    /// Interceptions ended.
    pub ends: u64,
    /// Prompts.
    pub prompts: u64,
    /// Token counts.
    pub tokens: u64,
    /// Tool calls.
    pub tools: u64,
    /// Thoughts.
    pub thoughts: u64,
}

/// Sums of token counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenSums {
    /// See [`aibridge::facts::Tokens::input`].
    pub input: i64,
    /// See [`aibridge::facts::Tokens::output`].
    pub output: i64,
    /// See [`aibridge::facts::Tokens::cache_read`].
    pub cache_read: i64,
    /// See [`aibridge::facts::Tokens::cache_write`].
    pub cache_write: i64,
}

/// Result of comparing a spool with what was stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Different facts on disk, by kind.
    pub kinds: Kinds,
    /// What the token counts among them add up to.
    pub tokens: TokenSums,
    /// Facts that the place of record has confirmed.
    pub acknowledged: u64,
    /// Facts that wait to be shipped. They may be stored already.
    pub waiting: u64,
    /// Confirmed facts that were refused for good and are in the spool's file of refused facts.
    pub refused: u64,
    /// Facts that were on disk more than once. They count once.
    pub repeated: u64,
    /// Facts that this release does not know.
    pub unknown: u64,
    /// Bytes on disk that should have been records.
    pub damaged_bytes: u64,
    /// Confirmed facts of which nothing is stored: kind and identifier, at most
    /// [`Report::NAMES_MAX`] of them.
    pub missing: Vec<FactName>,
    /// How many these are.
    pub missing_count: u64,
    /// Facts of which something else is stored, likewise.
    pub different: Vec<FactName>,
    /// How many these are.
    pub different_count: u64,
}

/// Which fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FactName {
    /// By its name on the wire.
    pub kind: &'static str,
    /// Of the interception for a start, of the fact for all others.
    pub id: Uuid,
}

impl FactName {
    /// The name of a fact.
    #[must_use]
    pub const fn of(fact: &Fact) -> Self {
        let (kind, id) = match fact {
            Fact::Start(f) => ("start", f.id.uuid()),
            Fact::End(f) => ("end", f.id.uuid()),
            Fact::Prompt(f) => ("prompt", f.id.uuid()),
            Fact::Tokens(f) => ("tokens", f.id.uuid()),
            Fact::Tool(f) => ("tool", f.id.uuid()),
            Fact::Thought(f) => ("thought", f.id.uuid()),
        };
        Self { kind, id }
    }
}

impl Report {
    /// Facts named in each list.
    pub const NAMES_MAX: usize = 1_000;

    /// Whether everything that was confirmed is stored as it was recorded.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.missing_count == 0 && self.different_count == 0 && self.damaged_bytes == 0
    }

    fn count(&mut self, fact: &Fact) {
        match fact {
            Fact::Start(_) => self.kinds.starts += 1,
            Fact::End(_) => self.kinds.ends += 1,
            Fact::Prompt(_) => self.kinds.prompts += 1,
            Fact::Tool(_) => self.kinds.tools += 1,
            Fact::Thought(_) => self.kinds.thoughts += 1,
            Fact::Tokens(tokens) => {
                self.kinds.tokens += 1;
                let sums = &mut self.tokens;
                sums.input = sums.input.saturating_add(tokens.input);
                sums.output = sums.output.saturating_add(tokens.output);
                sums.cache_read = sums.cache_read.saturating_add(tokens.cache_read);
                sums.cache_write = sums.cache_write.saturating_add(tokens.cache_write);
            }
        }
    }

    fn note(&mut self, names: &[FactName], checked: &Checked) {
        let pick = |indexes: &[usize]| -> Vec<FactName> {
            indexes.iter().filter_map(|index| names.get(*index).copied()).collect()
        };
        let (missing, different) = (pick(&checked.missing), pick(&checked.different));
        self.missing_count += missing.len() as u64;
        self.different_count += different.len() as u64;
        let room = |list: &[FactName]| Self::NAMES_MAX.saturating_sub(list.len());
        self.missing.extend(missing.into_iter().take(room(&self.missing)));
        self.different.extend(different.into_iter().take(room(&self.different)));
    }
}

/// Compares the spool in `dir` with what was stored. Only confirmed facts are asked for; those that wait are
/// counted. `check` is called with at most 1,000 facts at a time.
///
/// # Errors
/// The spool cannot be read, or `check` failed.
pub async fn verify<F, Fut, E>(dir: PathBuf, mut check: F) -> Result<Report, VerifyError<E>>
where
    F: FnMut(Vec<Fact>) -> Fut,
    Fut: Future<Output = Result<Checked, E>>,
{
    let mut report = Report::default();
    let refused = refused::read(&dir).map_err(VerifyError::Spool)?;
    let refused: HashSet<FactName> = refused.iter().map(FactName::of).collect();
    let mut seen = HashSet::new();
    let mut asked = Vec::new();
    let mut records = read_all(&dir).map_err(VerifyError::Spool)?;
    loop {
        let (back, record) = tokio::task::spawn_blocking(move || {
            let record = records.next();
            (records, record)
        })
        .await
        .map_err(|_| VerifyError::Spool(io::Error::other("reading the spool panicked")))?;
        records = back;
        let Some(record) = record else { break };
        report.unknown += record.unknown as u64;
        for fact in record.facts {
            let name = FactName::of(&fact);
            if !seen.insert(name) {
                report.repeated += 1;
                continue;
            }
            report.count(&fact);
            if !record.acknowledged {
                report.waiting += 1;
                continue;
            }
            report.acknowledged += 1;
            if refused.contains(&name) {
                report.refused += 1;
            } else {
                asked.push(fact);
            }
        }
        while asked.len() >= CHECK_MAX {
            let rest = asked.split_off(CHECK_MAX);
            ask(&mut report, std::mem::replace(&mut asked, rest), &mut check).await?;
        }
    }
    if !asked.is_empty() {
        ask(&mut report, asked, &mut check).await?;
    }
    report.damaged_bytes = records.damaged_bytes();
    Ok(report)
}

async fn ask<F, Fut, E>(
    report: &mut Report,
    facts: Vec<Fact>,
    check: &mut F,
) -> Result<(), VerifyError<E>>
where
    F: FnMut(Vec<Fact>) -> Fut,
    Fut: Future<Output = Result<Checked, E>>,
{
    let names: Vec<_> = facts.iter().map(FactName::of).collect();
    let checked = check(facts).await.map_err(VerifyError::Check)?;
    report.note(&names, &checked);
    Ok(())
}

/// Why a spool could not be compared with what was stored.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError<E> {
    /// It cannot be read.
    #[error("cannot read the spool")]
    Spool(#[source] io::Error),
    /// The place of record could not be asked.
    #[error("cannot ask what was stored")]
    Check(#[source] E),
}
