//! What was recorded, read from the database itself.

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ask::number_of;
use crate::psql::Psql;
use crate::served::{REASONING, Tokens};

/// All records.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    pub(super) interceptions: Vec<Interception>,
    pub(super) usages: Vec<Usage>,
    pub(super) prompts: Vec<Prompt>,
    pub(super) tools: Vec<ToolUsage>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Interception {
    pub(super) id: String,
    pub(super) initiator_id: String,
    pub(super) ended: bool,
    pub(super) error_type: Option<String>,
    user_agent: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Usage {
    pub(super) id: String,
    pub(super) interception_id: String,
    pub(super) provider_response_id: String,
    input_tokens: i64,
    output_tokens: i64,
    cache_read_input_tokens: i64,
    cache_write_input_tokens: i64,
    metadata: Value,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Prompt {
    pub(super) id: String,
    pub(super) interception_id: String,
    #[serde(rename = "prompt")]
    pub(super) text: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ToolUsage {
    pub(super) id: String,
    pub(super) interception_id: String,
    pub(super) provider_tool_call_id: String,
}

impl Interception {
    /// Which request of the load it records.
    pub(super) fn number(&self) -> Option<u64> {
        number_of(self.user_agent.as_deref()?)
    }
}

impl Usage {
    pub(super) fn tokens(&self) -> Tokens {
        let details = REASONING.iter().filter_map(|name| self.metadata.get(name)?.as_i64());
        Tokens {
            input: self.input_tokens,
            output: self.output_tokens,
            cache_read: self.cache_read_input_tokens,
            cache_write: self.cache_write_input_tokens,
            reasoning: details.sum(),
        }
    }

    /// Whether the record itself says that the last count never came.
    pub(super) fn is_partial(&self) -> bool {
        self.metadata.get("partial") == Some(&Value::Bool(true))
    }
}

impl Psql {
    fn list<T: DeserializeOwned>(&self, select: &str) -> Result<Vec<T>> {
        let lines = self.run(&format!("SELECT row_to_json(r) FROM ({select}) r"))?;
        let row = |line: &str| serde_json::from_str(line).with_context(|| format!("row {line}"));
        lines.lines().map(row).collect()
    }

    /// How many requests are recorded, and how many of them have not ended.
    pub(super) fn counts(&self) -> Result<(u64, u64)> {
        let line = self.run(
            "SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL) FROM aibridge_interceptions",
        )?;
        let (all, open) = line.trim().split_once('|').context("psql said something else")?;
        Ok((all.parse()?, open.parse()?))
    }

    pub(super) fn rows(&self) -> Result<Rows> {
        Ok(Rows {
            interceptions: self.list(
                "SELECT id, initiator_id, ended_at IS NOT NULL AS ended, error_type, \
                 metadata->>'request_user_agent' AS user_agent FROM aibridge_interceptions",
            )?,
            usages: self.list(
                "SELECT id, interception_id, provider_response_id, input_tokens, output_tokens, \
                 cache_read_input_tokens, cache_write_input_tokens, metadata FROM aibridge_token_usages",
            )?,
            prompts: self.list("SELECT id, interception_id, prompt FROM aibridge_user_prompts")?,
            tools: self.list(
                "SELECT id, interception_id, provider_tool_call_id FROM aibridge_tool_usages",
            )?,
        })
    }
}
