//! What the clients saw, what the provider served and what was recorded, side by side.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::clients::Seen;
use crate::control::DEMO_KEY;
use crate::served::{REASONING, Served, Tokens, Tool, parse};

/// One interception as the API lists it.
#[derive(Debug, Deserialize)]
struct Recorded {
    id: String,
    provider: String,
    provider_name: String,
    model: String,
    client: Option<String>,
    ended_at: Option<String>,
    error_type: Option<String>,
    token_usages: Vec<UsageRow>,
    user_prompts: Vec<PromptRow>,
    tool_usages: Vec<ToolRow>,
}

#[derive(Debug, Deserialize)]
struct UsageRow {
    provider_response_id: String,
    input_tokens: i64,
    output_tokens: i64,
    cache_read_input_tokens: i64,
    cache_write_input_tokens: i64,
    metadata: Value,
}

#[derive(Debug, Deserialize)]
struct PromptRow {
    provider_response_id: String,
    prompt: String,
}

#[derive(Debug, Deserialize)]
struct ToolRow {
    provider_response_id: String,
    provider_tool_call_id: String,
    tool: String,
    input: String,
    injected: bool,
}

/// A line per exchange and the faults found on the way.
#[derive(Default)]
struct Sheet {
    rows: Vec<[String; 6]>,
    faults: Vec<String>,
}

impl Sheet {
    fn same<T: PartialEq + std::fmt::Debug>(&mut self, case: &str, what: &str, have: &T, want: &T) {
        if have != want {
            self.faults.push(format!("{case}: {what} is {have:?}, not {want:?}"));
        }
    }

    fn row(&mut self, case: &str, served: &Served, prompts: usize, faults_before: usize) {
        let Tokens { input, output, cache_read, cache_write, reasoning } = served.usage;
        let verdict = if self.faults.len() == faults_before { "same" } else { "DIFFERS" };
        self.rows.push([
            case.to_owned(),
            served.model.clone(),
            format!("{input}/{output}/{cache_read}/{cache_write}/{reasoning}"),
            served.tool_calls.len().to_string(),
            prompts.to_string(),
            verdict.to_owned(),
        ]);
    }

    fn close(self) -> Result<()> {
        let head =
            ["exchange", "model", "in/out/read/write/reasoning", "tools", "prompts", "records"];
        let rows: Vec<[String; 6]> =
            std::iter::once(head.map(String::from)).chain(self.rows).collect();
        let mut widths = [0; 6];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.len().max(*width);
            }
        }
        for row in &rows {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            println!("{}", cells.join("  ").trim_end());
        }
        if self.faults.is_empty() {
            println!("{} exchanges, every field as served", rows.len() - 1);
            return Ok(());
        }
        bail!("{} differences\n{}", self.faults.len(), self.faults.join("\n"))
    }
}

/// What a client saw against what was served. Only clients that tell ids and counts can be compared.
fn seen_and_served(sheet: &mut Sheet, seen: &Seen, served: &Served) {
    let case = &seen.case;
    if let Some(model) = &seen.model {
        sheet.same(case, "the model that the client saw", model, &served.model);
    }
    if let Some(tokens) = &seen.tokens {
        sheet.same(case, "the usage that the client saw", tokens, &served.usage);
    }
    if let Some(tools) = &seen.tools {
        sheet.same(case, "the list of tool calls that the client saw", tools, &served.tool_calls);
    }
    if let Some(text) = &seen.text {
        sheet.same(case, "the text that the client saw", text, &served.text);
    }
}

/// Clients that talk to the provider with nothing between.
pub(super) fn direct(seen: &[Seen], served: &Value) -> Result<()> {
    let served = parse(served)?;
    let mut sheet = Sheet::default();
    for seen in seen {
        let before = sheet.faults.len();
        let found = match &seen.id {
            Some(id) => served.iter().find(|row| row.response_id == *id),
            None => served.iter().find(|row| Some(&row.text) == seen.text.as_ref()),
        };
        match found {
            Some(found) => {
                seen_and_served(&mut sheet, seen, found);
                sheet.row(&seen.case, found, usize::from(seen.prompt.is_some()), before);
            }
            None if seen.text.is_none() => {}
            None => sheet.faults.push(format!("{}: the provider served no such answer", seen.case)),
        }
    }
    sheet.close()
}

/// Clients that talk through the gateway.
pub(super) fn through(seen: &[Seen], served: &Value, recorded: &Value, token: &str) -> Result<()> {
    let everything = served;
    let served = parse(served)?;
    let recorded = Vec::<Recorded>::deserialize(recorded).context("the list of interceptions")?;
    let mut sheet = Sheet::default();
    credentials(&mut sheet, everything, &served, token);
    let mut known = BTreeSet::new();
    for exchange in &served {
        let before = sheet.faults.len();
        let case = format!("exchange {} {}", exchange.seq, exchange.path);
        let mut rows = recorded.iter().filter(|row| row.answers(&exchange.response_id));
        let (Some(row), None) = (rows.next(), rows.next()) else {
            sheet
                .faults
                .push(format!("{case}: not exactly one interception has {}", exchange.response_id));
            continue;
        };
        known.insert(row.id.as_str());
        // The answer's id may be the gateway's own on its way to the client.
        let from = seen.iter().find(|seen| {
            seen.id.as_ref().is_some_and(|id| *id == row.id || *id == exchange.response_id)
        });
        let case = from.map_or(case, |seen| seen.case.clone());
        served_and_recorded(&mut sheet, &case, exchange, row);
        let prompt = from.map(|seen| seen.prompt.clone());
        match from {
            Some(seen) => {
                seen_and_served(&mut sheet, seen, exchange);
                sheet.same(&case, "the provider", &row.provider, &seen.provider);
                sheet.same(
                    &case,
                    "the client",
                    &row.client.as_deref(),
                    &Some(seen.client.as_str()),
                );
            }
            None => sheet.same(&case, "the client", &row.client.as_deref(), &Some("Claude Code")),
        }
        if let Some(prompt) = prompt {
            let prompts: Vec<&str> =
                row.user_prompts.iter().map(|row| row.prompt.as_str()).collect();
            sheet.same(
                &case,
                "the list of prompts",
                &prompts,
                &prompt.iter().map(String::as_str).collect(),
            );
        }
        sheet.row(&case, exchange, row.user_prompts.len(), before);
    }
    for row in recorded.iter().filter(|row| !known.contains(row.id.as_str())) {
        sheet
            .faults
            .push(format!("interception {} belongs to no exchange of the provider", row.id));
    }
    // Clients that tell no id: their prompts must be there, once each.
    for seen in seen {
        let by = |row: &&Recorded| {
            row.client.as_deref() == Some(seen.client.as_str())
                && row.user_prompts.iter().any(|row| Some(&row.prompt) == seen.prompt.as_ref())
        };
        match &seen.id {
            None if recorded.iter().filter(by).count() != 1 => {
                sheet.faults.push(format!("{}: its prompt is not recorded once", seen.case));
            }
            Some(id)
                if !served.iter().any(|row| row.response_id == *id)
                    && !known.contains(id.as_str()) =>
            {
                sheet.faults.push(format!("{}: the client's answer {id} is unknown", seen.case));
            }
            _ => {}
        }
    }
    sheet.close()
}

impl Recorded {
    fn answers(&self, response_id: &str) -> bool {
        self.token_usages.iter().any(|row| row.provider_response_id == response_id)
    }

    /// The sums over all rows: an answer that is counted twice shows.
    fn tokens(&self) -> Tokens {
        self.token_usages.iter().fold(Tokens::default(), |sum, row| Tokens {
            input: sum.input + row.input_tokens,
            output: sum.output + row.output_tokens,
            cache_read: sum.cache_read + row.cache_read_input_tokens,
            cache_write: sum.cache_write + row.cache_write_input_tokens,
            reasoning: sum.reasoning
                + REASONING.iter().filter_map(|name| row.metadata.get(name)?.as_i64()).sum::<i64>(),
        })
    }
}

fn served_and_recorded(sheet: &mut Sheet, case: &str, served: &Served, row: &Recorded) {
    let anthropic = served.path.starts_with("/v1/messages");
    let provider = if anthropic { "anthropic" } else { "openai" };
    sheet.same(case, "the provider", &row.provider.as_str(), &provider);
    sheet.same(case, "the provider's name", &row.provider_name.as_str(), &provider);
    sheet.same(case, "the model", &row.model, &served.model);
    sheet.same(case, "the status of the answer", &served.status, &200);
    sheet.same(case, "the ending of the answer", &served.ending.as_str(), &"complete");
    sheet.same(case, "the error", &row.error_type, &None);
    if row.ended_at.is_none() {
        sheet.faults.push(format!("{case}: the interception has not ended"));
    }
    let have = row.tokens();
    let mut want = served.usage;
    if anthropic && have.reasoning == 0 {
        // The part of the output that was thought is a detail that a record may leave out.
        want.reasoning = 0;
    }
    sheet.same(case, "the recorded usage", &have, &want);
    let tools: Vec<Tool> = row.tool_usages.iter().map(ToolRow::call).collect();
    sheet.same(case, "the recorded list of tool calls", &tools, &served.tool_calls);
    if row.tool_usages.iter().any(|tool| tool.injected) {
        sheet.faults.push(format!("{case}: a tool of the client is recorded as injected"));
    }
    let ids = row
        .token_usages
        .iter()
        .map(|row| &row.provider_response_id)
        .chain(row.user_prompts.iter().map(|row| &row.provider_response_id))
        .chain(row.tool_usages.iter().map(|row| &row.provider_response_id));
    for id in ids {
        sheet.same(case, "the provider's id of the answer", id, &served.response_id);
    }
}

impl ToolRow {
    fn call(&self) -> Tool {
        Tool {
            id: self.provider_tool_call_id.clone(),
            name: self.tool.clone(),
            arguments: serde_json::from_str(&self.input)
                .unwrap_or_else(|_| Value::from(self.input.as_str())),
        }
    }
}

/// Proves that the provider saw its own key and nothing of the client's credential.
fn credentials(sheet: &mut Sheet, served: &Value, exchanges: &[Served], token: &str) {
    let id = token.split('-').next().unwrap_or(token);
    for row in served.as_array().into_iter().flatten() {
        let place = format!("exchange {} {}", row["seq"], row["path"]);
        let text = row.to_string();
        if text.contains(token) || text.contains(id) {
            sheet.faults.push(format!("{place}: the provider received the client's token"));
        }
    }
    for exchange in exchanges {
        let place = format!("exchange {} {}", exchange.seq, exchange.path);
        let ours = |name: &str| {
            name.starts_with("x-coder") || name.starts_with("coder-") || name == "cookie"
        };
        for (name, _) in exchange.headers.iter().filter(|(name, _)| ours(name)) {
            sheet.faults.push(format!("{place}: the provider received `{name}`"));
        }
        let headers = exchange.headers.iter();
        let keys: Vec<&str> = headers
            .filter(|(name, _)| name == "authorization" || name == "x-api-key")
            .map(|(_, value)| value.trim_start_matches("Bearer "))
            .collect();
        sheet.same(&place, "the list of credentials", &keys, &vec![DEMO_KEY]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn served() -> Value {
        json!([{
            "seq": 1, "path": "/v1/messages", "model": "m", "response_id": "msg_1", "status": 200,
            "headers": [["x-api-key", DEMO_KEY]], "ending": "complete", "text": "hi",
            "usage": {"input": 3, "output": 2, "cache_read": 1, "cache_write": 0, "reasoning": 0},
            "tool_calls": [{"id": "t1", "name": "get", "arguments": {"a": 1}}],
        }])
    }

    fn recorded() -> Value {
        json!([{
            "id": "0192", "provider": "anthropic", "provider_name": "anthropic", "model": "m",
            "client": "Unknown", "ended_at": "2026-01-01T00:00:00Z", "error_type": null,
            "token_usages": [{"provider_response_id": "msg_1", "input_tokens": 3, "output_tokens": 2,
                "cache_read_input_tokens": 1, "cache_write_input_tokens": 0, "metadata": {}}],
            "user_prompts": [{"provider_response_id": "msg_1", "prompt": "ask"}],
            "tool_usages": [{"provider_response_id": "msg_1", "provider_tool_call_id": "t1", "tool": "get",
                "input": "{\"a\":1}", "injected": false}],
        }])
    }

    fn seen() -> Vec<Seen> {
        vec![
            serde_json::from_value(json!({
                "case": "one", "provider": "anthropic", "client": "Unknown", "model": "m", "prompt": "ask",
                "id": "0192", "text": "hi",
                "tokens": {"input": 3, "output": 2, "cache_read": 1, "cache_write": 0, "reasoning": 0},
                "tools": [{"id": "t1", "name": "get", "arguments": {"a": 1}}],
            }))
            .unwrap(),
        ]
    }

    #[test]
    fn equal_parties_pass_and_every_changed_field_is_named() {
        through(&seen(), &served(), &recorded(), "abc-secret").unwrap();
        let changes = [
            ("/0/model", json!("x"), "the model is"),
            ("/0/provider", json!("openai"), "the provider is"),
            ("/0/provider_name", json!("other"), "the provider's name is"),
            ("/0/client", json!("Claude Code"), "the client is"),
            ("/0/ended_at", json!(null), "has not ended"),
            ("/0/error_type", json!("upstream"), "the error is"),
            ("/0/token_usages/0/input_tokens", json!(4), "the recorded usage is"),
            ("/0/token_usages/0/output_tokens", json!(4), "the recorded usage is"),
            ("/0/token_usages/0/cache_read_input_tokens", json!(0), "the recorded usage is"),
            ("/0/token_usages/0/cache_write_input_tokens", json!(9), "the recorded usage is"),
            (
                "/0/token_usages/0/provider_response_id",
                json!("msg_2"),
                "not exactly one interception",
            ),
            ("/0/user_prompts/0/prompt", json!("other"), "the list of prompts is"),
            (
                "/0/user_prompts/0/provider_response_id",
                json!(""),
                "the provider's id of the answer is",
            ),
            ("/0/tool_usages/0/input", json!("{}"), "the recorded list of tool calls is"),
            (
                "/0/tool_usages/0/provider_tool_call_id",
                json!("t2"),
                "the recorded list of tool calls is",
            ),
            ("/0/tool_usages/0/injected", json!(true), "recorded as injected"),
        ];
        for (pointer, value, wanted) in changes {
            let mut recorded = recorded();
            *recorded.pointer_mut(pointer).unwrap() = value;
            let error =
                through(&seen(), &served(), &recorded, "abc-secret").unwrap_err().to_string();
            assert!(error.contains(wanted), "{pointer}: {error}");
        }
    }

    #[test]
    fn a_leaked_credential_and_a_row_too_many_are_named() {
        let cases = [
            (
                json!([["x-api-key", DEMO_KEY], ["x-other", "abc-secret"]]),
                "received the client's token",
            ),
            (
                json!([["x-api-key", DEMO_KEY], ["x-coder-request", "1"]]),
                "received `x-coder-request`",
            ),
            (json!([["x-api-key", "another"]]), "the list of credentials is"),
            (json!([]), "the list of credentials is"),
        ];
        for (headers, wanted) in cases {
            let mut served = served();
            *served.pointer_mut("/0/headers").unwrap() = headers;
            let error =
                through(&seen(), &served, &recorded(), "abc-secret").unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let mut twice = recorded();
        let mut stray = twice[0].clone();
        stray["id"] = json!("0193");
        stray["token_usages"] = json!([]);
        twice.as_array_mut().unwrap().push(stray);
        let error = through(&seen(), &served(), &twice, "abc-secret").unwrap_err().to_string();
        assert!(error.contains("interception 0193 belongs to no exchange"), "{error}");
    }
}
