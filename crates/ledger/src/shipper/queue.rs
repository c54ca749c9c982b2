use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use aibridge::facts::Fact;
use uuid::Uuid;

use crate::payload;
use crate::sink::Batch;
use crate::spool::{Core, Cursor, FromDisk, Item, Reader, Unread};

/// Most facts of a batch.
const FACTS_MAX: usize = 1_000;
/// Bytes of facts after which a batch is full.
const BYTES_MAX: usize = 1024 * 1024;
/// Records taken from memory at once, under the lock of those who append.
const AT_ONCE: usize = 64;
/// A batch with fewer facts, and fewer bytes in proportion, is worth waiting for more.
const SMALL: usize = FACTS_MAX / 4;

/// A batch, and what comes with it.
pub(super) struct Load {
    pub(super) batch: Batch,
    /// What to acknowledge once it is stored; nothing when it ends inside a record.
    pub(super) end: Option<Cursor>,
    pub(super) oldest_micros: Option<i64>,
    /// What the disk gave back and is no fact.
    pub(super) unknown: Vec<String>,
    /// Facts that the disk did not give back.
    pub(super) lost_facts: u64,
}

/// One record that was read.
struct Record {
    end: Cursor,
    at_micros: i64,
    bytes: usize,
    facts: VecDeque<Fact>,
    unknown: Vec<String>,
    lost_facts: u64,
}

impl From<Item<Vec<Fact>>> for Record {
    fn from(item: Item<Vec<Fact>>) -> Self {
        let (facts, unknown) = match item.content {
            Unread::Value(facts) => (facts, Vec::new()),
            Unread::Payload(json) => {
                let decoded = payload::decode(&json);
                (decoded.facts, decoded.unknown)
            }
            Unread::Nothing => (Vec::new(), Vec::new()),
        };
        Self {
            end: item.end,
            at_micros: item.at_micros,
            bytes: item.bytes as usize,
            facts: facts.into(),
            unknown,
            lost_facts: item.lost_facts,
        }
    }
}

/// Records that have been read and not sent: about one batch.
pub(super) struct Queue {
    /// Absent while a thread reads with it, and for good if that panicked.
    reader: Option<Reader<Vec<Fact>>>,
    records: VecDeque<Record>,
    facts: usize,
    bytes: usize,
    /// Why the disk did not give back what follows, when it was last read.
    failed: Option<io::Error>,
}

impl Queue {
    pub(super) fn new(core: Arc<Core<Vec<Fact>>>) -> Self {
        let records = VecDeque::new();
        Self { reader: Some(Reader::new(core)), records, facts: 0, bytes: 0, failed: None }
    }

    /// Why there is nothing more, unless that is because there is nothing. What was read before is here.
    pub(super) const fn failed(&self) -> Option<&io::Error> {
        self.failed.as_ref()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) const fn is_small(&self) -> bool {
        self.facts < SMALL && self.bytes < BYTES_MAX / 4
    }

    fn is_full(&self) -> bool {
        self.facts >= FACTS_MAX || self.bytes >= BYTES_MAX || self.records.len() >= FACTS_MAX
    }

    /// When the oldest fact here was appended.
    pub(super) fn oldest_micros(&self) -> Option<i64> {
        self.records.iter().find(|record| !record.facts.is_empty()).map(|record| record.at_micros)
    }

    /// Reads on until there is enough for a batch, nothing more, or [failure](Self::failed).
    pub(super) async fn fill(&mut self) {
        while !self.is_full() {
            let Some(reader) = &mut self.reader else { return };
            self.failed = None;
            match reader.in_memory(AT_ONCE) {
                Ok(items) if items.is_empty() => return,
                Ok(items) => items.into_iter().for_each(|item| self.push(item.into())),
                Err(FromDisk) => {
                    if !self.read_disk().await {
                        return;
                    }
                }
            }
        }
    }

    /// Reads from the disk as much as makes a batch. False if there was nothing, or not all of it.
    async fn read_disk(&mut self) -> bool {
        let Some(mut reader) = self.reader.take() else { return false };
        let room = FACTS_MAX.saturating_sub(self.facts);
        let read = tokio::task::spawn_blocking(move || {
            let (mut records, mut facts, mut bytes) = (Vec::<Record>::new(), 0, 0);
            let mut failed = None;
            while facts < room && bytes < BYTES_MAX && records.len() < FACTS_MAX {
                match reader.next_on_disk() {
                    Ok(Some(item)) => {
                        let record = Record::from(item);
                        facts += record.facts.len();
                        bytes += record.bytes;
                        records.push(record);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
            }
            (reader, records, failed)
        });
        let Ok((reader, records, failed)) = read.await else {
            tracing::error!("reading the spool panicked; nothing is shipped until the next start");
            return false;
        };
        self.reader = Some(reader);
        let more = !records.is_empty() && failed.is_none();
        self.failed = failed;
        for record in records {
            self.push(record);
        }
        more
    }

    fn push(&mut self, record: Record) {
        self.facts += record.facts.len();
        self.bytes += record.bytes;
        self.records.push_back(record);
    }

    /// A batch of what is here, if anything is.
    pub(super) fn take(&mut self, id: Uuid) -> Option<Load> {
        let mut load = Load {
            batch: Batch { id, facts: Vec::with_capacity(self.facts.min(FACTS_MAX)) },
            end: None,
            oldest_micros: self.oldest_micros(),
            unknown: Vec::new(),
            lost_facts: 0,
        };
        let mut bytes = 0;
        let mut any = false;
        while let Some(record) = self.records.front_mut() {
            let facts = &mut load.batch.facts;
            let fits =
                facts.len() + record.facts.len() <= FACTS_MAX && bytes + record.bytes <= BYTES_MAX;
            if !fits && !facts.is_empty() {
                break;
            }
            any = true;
            load.unknown.append(&mut record.unknown);
            let lost = std::mem::take(&mut record.lost_facts);
            load.lost_facts = load.lost_facts.saturating_add(lost);
            if fits {
                bytes += record.bytes;
                self.facts -= record.facts.len();
                facts.extend(record.facts.drain(..));
            } else {
                // One record that is more than a batch is sent in parts.
                split(record, facts);
                self.facts -= facts.len();
                if !record.facts.is_empty() {
                    break;
                }
            }
            load.end = Some(record.end);
            self.bytes -= record.bytes;
            self.records.pop_front();
        }
        any.then_some(load)
    }
}

/// Moves as many facts as make a batch, at least one.
fn split(record: &mut Record, to: &mut Vec<Fact>) {
    let mut bytes = 0;
    while to.len() < FACTS_MAX
        && let Some(fact) = record.facts.front()
    {
        bytes += payload::weight(fact);
        if bytes > BYTES_MAX && !to.is_empty() {
            return;
        }
        to.extend(record.facts.pop_front());
    }
}
