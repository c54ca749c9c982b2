//! What the fake provider says that it served.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

/// One exchange as the provider keeps it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Served {
    pub(crate) seq: u64,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) model: String,
    pub(crate) response_id: String,
    pub(crate) usage: Tokens,
    pub(crate) tool_calls: Vec<Tool>,
    pub(crate) text: String,
    pub(crate) ending: String,
    pub(crate) status: u16,
}

/// Token counts as all parties tell them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) input: i64,
    pub(crate) output: i64,
    pub(crate) cache_read: i64,
    pub(crate) cache_write: i64,
    #[serde(default)]
    pub(crate) reasoning: i64,
}

/// One call of a tool.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Tool {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: Value,
}

/// Where a count of reasoning tokens stands in the details of a usage row.
pub(crate) const REASONING: [&str; 3] =
    ["completion_reasoning", "output_reasoning", "output_thinking"];

/// The exchanges of the provider that were answers of a model.
pub(crate) fn answers(served: &Value) -> impl Iterator<Item = &Value> {
    let rows = served.as_array().map_or(&[][..], Vec::as_slice);
    rows.iter().filter(|row| row["response_id"].as_str().is_some_and(|id| !id.is_empty()))
}

/// The same, read.
pub(crate) fn parse(served: &Value) -> Result<Vec<Served>> {
    let rows =
        answers(served).map(|row| Served::deserialize(row).context("an exchange of the provider"));
    rows.collect()
}

impl Served {
    /// The value of a header, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }
}
