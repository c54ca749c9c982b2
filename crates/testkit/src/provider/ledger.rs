use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

/// More exchanges than this push the oldest out.
const EXCHANGES_MAX: usize = 4_096;
/// More bytes of request bodies than this push the oldest out.
const BODY_BYTES_MAX: usize = 256 << 20;

/// One exchange, as the provider saw it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Served {
    /// Counts from 1 in the order in which requests arrived.
    pub seq: u64,
    /// The method, in capitals.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The request's headers in the order in which they came; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The request's body: JSON, or a string when it was none, or null when it was empty.
    pub body: Value,
    /// The status of the answer.
    pub status: u16,
    /// Whether the answer was a stream of events.
    pub stream: bool,
    /// The model that was asked for.
    pub model: String,
    /// The fault that was played, if any.
    #[serde(default)]
    pub fault: Option<String>,
    /// The id of the answer (`msg_…`, `chatcmpl-…`, `resp_…`), empty for errors and lists.
    pub response_id: String,
    /// The token counts as they stand in the answer.
    pub usage: Usage,
    /// The tool calls in the answer, in order.
    pub tool_calls: Vec<ToolCall>,
    /// The text in the answer.
    pub text: String,
    /// The thoughts in the answer that the client could read.
    pub thinking: String,
    /// How the answer ended.
    pub ending: Ending,
    /// Frames handed to the connection; 1 for a blocking answer.
    pub frames: u64,
}

impl Served {
    /// The values of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// Token counts of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input that was neither read from nor written to a cache.
    pub input: u64,
    /// Output, reasoning included.
    pub output: u64,
    /// Input read from a cache. The OpenAI APIs count this and the next into their input as well.
    pub cache_read: u64,
    /// Input written to a cache.
    pub cache_write: u64,
    /// The part of the output that was reasoning.
    pub reasoning: u64,
}

/// One call of a tool that the answer asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The id by which the result refers to the call (`toolu_…`, `call_…`).
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The arguments: an object, or a string for a custom tool.
    pub arguments: Value,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Frames are still being sent.
    #[default]
    Open,
    /// The last frame was handed to the connection.
    Complete,
    /// The other side went away first.
    Cut,
}

/// The exchanges, shared by the server and its owner.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    book: Arc<Mutex<Book>>,
    version: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Book {
    next: u64,
    bytes: usize,
    rows: VecDeque<(usize, Served)>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { book: Arc::default(), version: Arc::new(watch::Sender::new(0)) }
    }
}

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an exchange whose body had `bytes` bytes, and returns its number.
    pub(super) fn open(&self, bytes: usize, mut row: Served) -> u64 {
        let mut book = self.lock();
        book.next += 1;
        row.seq = book.next;
        book.bytes += bytes;
        book.rows.push_back((bytes, row));
        while book.rows.len() > EXCHANGES_MAX || book.bytes > BODY_BYTES_MAX {
            let Some((bytes, _)) = book.rows.pop_front() else {
                break;
            };
            book.bytes -= bytes;
        }
        let seq = book.next;
        drop(book);
        self.version.send_modify(|version| *version += 1);
        seq
    }

    /// Writes down how far the answer to exchange `seq` has come.
    pub(super) fn settle(&self, seq: u64, frames: u64, ending: Ending) {
        let mut book = self.lock();
        if let Some((_, row)) = book.rows.iter_mut().rev().find(|(_, row)| row.seq == seq) {
            row.frames = frames;
            row.ending = ending;
        }
        drop(book);
        self.version.send_modify(|version| *version += 1);
    }

    pub(super) fn list(&self) -> Vec<Served> {
        self.after(0)
    }

    /// The exchanges with numbers above `seq`.
    pub(super) fn after(&self, seq: u64) -> Vec<Served> {
        let book = self.lock();
        book.rows.iter().map(|(_, row)| row).filter(|row| row.seq > seq).cloned().collect()
    }

    pub(super) fn clear(&self) {
        let mut book = self.lock();
        book.rows.clear();
        book.bytes = 0;
    }

    pub(super) async fn eventually(
        &self,
        wanted: impl Fn(&[Served]) -> bool,
        limit: Duration,
    ) -> anyhow::Result<Vec<Served>> {
        let mut changes = self.version.subscribe();
        let wait = async {
            loop {
                let rows = self.list();
                if wanted(&rows) {
                    return rows;
                }
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        if let Ok(rows) = tokio::time::timeout(limit, wait).await {
            return Ok(rows);
        }
        bail!("the provider did not serve what was waited for within {limit:?}: {:#?}", self.list())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_exchanges_are_pushed_out_by_count_and_by_bytes() {
        let ledger = Ledger::default();
        for _ in 0..=EXCHANGES_MAX {
            ledger.open(1, Served::default());
        }
        assert_eq!(ledger.list().len(), EXCHANGES_MAX);
        assert_eq!(ledger.list().first().unwrap().seq, 2);
        ledger.open(BODY_BYTES_MAX, Served::default());
        assert_eq!(ledger.list().len(), 1);
    }

    #[tokio::test]
    async fn waiting_for_what_never_comes_ends_with_an_error_that_shows_the_list() {
        let ledger = Ledger::default();
        let seq = ledger.open(1, Served { path: "/v1/messages".into(), ..Served::default() });
        ledger.settle(seq, 3, Ending::Cut);
        let rows = ledger
            .eventually(|rows| rows.iter().any(|r| r.ending == Ending::Cut), Duration::from_secs(1))
            .await
            .unwrap();
        assert_eq!(rows.first().unwrap().frames, 3);
        let error = ledger.eventually(<[_]>::is_empty, Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().contains("/v1/messages"), "{error}");
    }
}
