//! Chains of interceptions: a person's prompt, then the model and its tools among themselves.

use sdk::{AgenticAction, Thinking, Thread, Timestamp, TokenUsageSummary, ToolCall};
use serde_json::{Map, Number, Value};
use store::interceptions::{Tokens, Tool};
use uuid::Uuid;

use crate::interceptions::{Record, object};

/// When the first of these began and the last ended.
pub(super) fn span(records: &[Record]) -> (Option<Timestamp>, Option<Timestamp>) {
    (
        records.iter().map(|record| record.row.started_at).min().map(Into::into),
        records.iter().filter_map(|record| record.row.ended_at).max().map(Into::into),
    )
}

/// Puts interceptions, oldest first, into their threads, oldest first.
pub(super) fn threads(records: Vec<Record>) -> Vec<Thread> {
    let mut chains: Vec<(Uuid, Vec<Record>)> = Vec::new();
    let mut place = std::collections::HashMap::new();
    for record in records {
        let root = record.row.thread_root_id.unwrap_or(record.id());
        let at = *place.entry(root).or_insert_with(|| {
            chains.push((root, Vec::new()));
            chains.len() - 1
        });
        if let Some((_, chain)) = chains.get_mut(at) {
            chain.push(record);
        }
    }
    chains.into_iter().filter_map(|(root, chain)| thread(root, chain)).collect()
}

fn thread(id: Uuid, chain: Vec<Record>) -> Option<Thread> {
    let (started_at, ended_at) = span(&chain);
    let root = chain.iter().find(|record| record.id() == id).or(chain.first())?;
    let failed = chain.iter().rev().find(|record| record.row.error_type.is_some());
    Some(Thread {
        id,
        prompt: root.prompts.first().map(|prompt| prompt.prompt.clone()),
        model: root.row.model.clone(),
        provider: root.row.provider.clone(),
        credential_kind: root.row.credential_kind.clone(),
        credential_hint: root.row.credential_hint.clone(),
        started_at: started_at?,
        ended_at,
        token_usage: sum(chain.iter().flat_map(|record| &record.tokens)),
        error_type: failed.and_then(|record| record.row.error_type.clone()),
        error_message: failed.and_then(|record| record.row.error_message.clone()),
        agentic_actions: chain.into_iter().filter_map(action).collect(),
    })
}

/// What the model did in one interception; none when it only talked.
fn action(record: Record) -> Option<AgenticAction> {
    if record.tools.is_empty() && record.thoughts.is_empty() {
        return None;
    }
    Some(AgenticAction {
        model: record.row.model,
        token_usage: sum(&record.tokens),
        tool_calls: record.tools.into_iter().map(tool_call).collect(),
        thinking: record
            .thoughts
            .into_iter()
            .map(|thought| Thinking { text: thought.content })
            .collect(),
    })
}

fn tool_call(row: Tool) -> ToolCall {
    ToolCall {
        id: row.id.0.uuid(),
        interception_id: row.interception_id.0.uuid(),
        provider_response_id: row.provider_response_id,
        server_url: row.server_url.unwrap_or_default(),
        tool: row.tool,
        injected: row.injected,
        input: row.input,
        metadata: object(row.metadata),
        created_at: row.created_at.into(),
    }
}

fn sum<'a>(rows: impl IntoIterator<Item = &'a Tokens>) -> TokenUsageSummary {
    let mut total = TokenUsageSummary::default();
    let mut details = Map::new();
    for row in rows {
        total.input_tokens = total.input_tokens.saturating_add(row.input_tokens);
        total.output_tokens = total.output_tokens.saturating_add(row.output_tokens);
        total.cache_read_input_tokens =
            total.cache_read_input_tokens.saturating_add(row.cache_read_input_tokens);
        total.cache_write_input_tokens =
            total.cache_write_input_tokens.saturating_add(row.cache_write_input_tokens);
        for (name, value) in row.metadata.as_object().into_iter().flatten() {
            let Value::Number(number) = value else { continue };
            let sum = match details.get(name) {
                Some(Value::Number(so_far)) => add(so_far, number),
                _ => number.clone(),
            };
            details.insert(name.clone(), Value::Number(sum));
        }
    }
    total.metadata = Some(details).filter(|details| !details.is_empty()).map(Value::Object);
    total
}

/// Whole numbers stay whole as long as they fit.
fn add(one: &Number, other: &Number) -> Number {
    let whole = one.as_i64().zip(other.as_i64()).and_then(|(a, b)| a.checked_add(b));
    let broken = || one.as_f64().zip(other.as_f64()).and_then(|(a, b)| Number::from_f64(a + b));
    whole.map(Number::from).or_else(broken).unwrap_or_else(|| one.clone())
}

#[cfg(test)]
mod tests;
