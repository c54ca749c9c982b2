//! Content blocks of a Messages answer, as far as they are recorded: tool calls and thoughts. Text and
//! tool results are never kept.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json::View;
use crate::wire::ledger::{Call, Gathered, Ledger, TOOLS_MAX};

/// A block that has begun.
enum Block {
    Thinking(Gathered),
    /// A call; `given` is the input from its start, which counts when no deltas follow.
    Call {
        call: Call,
        given: Gathered,
    },
}

/// The blocks that have begun and not ended.
#[derive(Default)]
pub(super) struct Blocks {
    open: BTreeMap<i64, Block>,
}

impl Blocks {
    pub(super) fn start(&mut self, ledger: &mut Ledger, index: i64, block: View<'_>) {
        let [kind, id, name, input, thinking, server] =
            block.fields(["type", "id", "name", "input", "thinking", "server_name"]);
        let kind = kind.and_then(View::string).unwrap_or_default();
        let block = if kind == "thinking" {
            let mut text = Gathered::default();
            ledger.gather(&mut text, &thinking.and_then(View::string).unwrap_or_default());
            Block::Thinking(text)
        } else if kind.ends_with("tool_use") {
            let mut call =
                Call { id: Ledger::name(id), tool: Ledger::name(name), ..Call::default() };
            if kind != "tool_use" {
                call.metadata
                    .insert("kind".to_owned(), Value::from(Ledger::name(block.field("type"))));
            }
            if server.is_some() {
                call.metadata.insert("server_name".to_owned(), Value::from(Ledger::name(server)));
            }
            let mut given = Gathered::default();
            ledger.gather(&mut given, input.map_or("{}", View::text));
            Block::Call { call, given }
        } else {
            return;
        };
        if self.open.len() < TOOLS_MAX || self.open.contains_key(&index) {
            // Some servers give all blocks one number and end none.
            if let Some(before) = self.open.insert(index, block) {
                note(ledger, before, true);
            }
        } else {
            note(ledger, block, false);
        }
    }

    pub(super) fn delta(&mut self, ledger: &mut Ledger, index: i64, delta: View<'_>) {
        let Some(block) = self.open.get_mut(&index) else { return };
        let [kind, thinking, json] = delta.fields(["type", "thinking", "partial_json"]);
        let kind = kind.and_then(View::string).unwrap_or_default();
        match (block, &*kind) {
            (Block::Thinking(text), "thinking_delta") => {
                ledger.gather(text, &thinking.and_then(View::string).unwrap_or_default());
            }
            (Block::Call { call, .. }, "input_json_delta") => {
                ledger.gather(&mut call.input, &json.and_then(View::string).unwrap_or_default());
            }
            _ => {}
        }
    }

    pub(super) fn stop(&mut self, ledger: &mut Ledger, index: i64) {
        if let Some(block) = self.open.remove(&index) {
            note(ledger, block, true);
        }
    }

    /// Notes what has begun but was not ended.
    pub(super) fn flush(&mut self, ledger: &mut Ledger, complete: bool) {
        for block in std::mem::take(&mut self.open).into_values() {
            note(ledger, block, complete);
        }
    }
}

fn note(ledger: &mut Ledger, block: Block, whole: bool) {
    match block {
        Block::Thinking(text) => ledger.thought(text, "thinking"),
        Block::Call { call, given } => {
            let input = if call.input.is_empty() { given } else { call.input };
            ledger.tool(Call { input, ..call }, whole);
        }
    }
}
