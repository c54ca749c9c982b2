//! The choices of a Chat Completions answer: tool calls and thoughts of each.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json::View;
use crate::wire::ledger::{Call, Gathered, Ledger, TOOLS_MAX};

/// Choices beyond this are relayed but not recorded.
const CHOICES_MAX: usize = 128;

/// A tool call in the making.
struct Slot {
    /// As upstream numbered it.
    index: Option<i64>,
    call: Call,
}

#[derive(Default)]
struct Choice {
    finished: bool,
    thought: Gathered,
    slots: Vec<Slot>,
}

/// All choices that have begun.
#[derive(Default)]
pub(super) struct Choices {
    by_index: BTreeMap<i64, Choice>,
}

impl Choices {
    /// Takes one entry of `choices`: of a chunk, where it has a `delta`, or of a whole answer, where it
    /// has a `message`.
    pub(super) fn chunk(&mut self, ledger: &mut Ledger, entry: View<'_>) {
        let [index, delta, message, reason] =
            entry.fields(["index", "delta", "message", "finish_reason"]);
        let index = index.and_then(View::count).unwrap_or_default();
        if self.by_index.len() == CHOICES_MAX && !self.by_index.contains_key(&index) {
            return;
        }
        let open: usize = self.by_index.values().map(|choice| choice.slots.len()).sum();
        let choice = self.by_index.entry(index).or_default();
        if let Some(delta) = delta.or(message) {
            // Calls in the making are bounded over all choices.
            let slots_max = (TOOLS_MAX + choice.slots.len()).saturating_sub(open);
            choice.delta(ledger, delta, slots_max);
        }
        if reason.and_then(View::string).is_some_and(|reason| !reason.is_empty()) {
            choice.finished = true;
            choice.flush(ledger, true);
        }
    }

    /// Whether there are choices and all of them have ended.
    pub(super) fn are_finished(&self) -> bool {
        !self.by_index.is_empty() && self.by_index.values().all(|choice| choice.finished)
    }

    /// Notes what has begun but was not ended.
    pub(super) fn flush(&mut self, ledger: &mut Ledger, complete: bool) {
        for choice in self.by_index.values_mut() {
            let whole = complete || choice.finished;
            choice.flush(ledger, whole);
        }
    }
}

impl Choice {
    fn delta(&mut self, ledger: &mut Ledger, delta: View<'_>, slots_max: usize) {
        // Three names for the same thing, by server; some send it under two names at once.
        let [calls, legacy, content, reasoning, text] = delta.fields([
            "tool_calls",
            "function_call",
            "reasoning_content",
            "reasoning",
            "reasoning_text",
        ]);
        let thought = [content, reasoning, text].into_iter().flatten().find_map(View::string);
        ledger.gather(&mut self.thought, &thought.unwrap_or_default());
        for call in calls.into_iter().flat_map(View::items) {
            let [index, id, function, custom] = call.fields(["index", "id", "function", "custom"]);
            let index = index.and_then(View::count);
            let id = Ledger::name(id);
            let body = function.or(custom);
            let [name, arguments, input] =
                body.map(|b| b.fields(["name", "arguments", "input"])).unwrap_or_default();
            let name = Ledger::name(name);
            let named = !name.is_empty();
            let Some(slot) = self.slot(index, &id, named, slots_max) else {
                if named {
                    ledger.tool_omitted();
                }
                continue;
            };
            if slot.call.id.is_empty() {
                slot.call.id = id;
            }
            if slot.call.tool.is_empty() {
                slot.call.tool = name;
            }
            if custom.is_some() {
                slot.call.metadata.insert("kind".to_owned(), Value::from("custom"));
            }
            gather_input(ledger, &mut slot.call, arguments.or(input));
        }
        if let Some(call) = legacy {
            let [name, arguments] = call.fields(["name", "arguments"]);
            let Some(slot) = self.slot(Some(-1), "", false, slots_max) else { return };
            if slot.call.tool.is_empty() {
                slot.call.tool = Ledger::name(name);
            }
            gather_input(ledger, &mut slot.call, arguments);
        }
    }

    /// The call that a piece belongs to. Calls are told apart by index; where a server numbers none, or
    /// all alike, by identifier. A piece without a name continues its index whatever its identifier is,
    /// since some servers make up a new one for every piece. Absent when there are `slots_max` others.
    fn slot(
        &mut self,
        index: Option<i64>,
        id: &str,
        named: bool,
        slots_max: usize,
    ) -> Option<&mut Slot> {
        let same = |slot: &Slot| {
            let same_id = id.is_empty() || slot.call.id.is_empty() || slot.call.id == id;
            match index {
                Some(_) => slot.index == index && (same_id || !named),
                None => same_id,
            }
        };
        let at = match self.slots.iter().rposition(same) {
            Some(at) => at,
            None if self.slots.len() >= slots_max => return None,
            None => {
                self.slots.push(Slot { index, call: Call::default() });
                self.slots.len() - 1
            }
        };
        self.slots.get_mut(at)
    }

    fn flush(&mut self, ledger: &mut Ledger, whole: bool) {
        ledger.thought(std::mem::take(&mut self.thought), "thinking");
        for Slot { mut call, .. } in std::mem::take(&mut self.slots) {
            if call.id.is_empty() && call.tool.is_empty() {
                continue;
            }
            if call.input.is_empty() {
                ledger.gather(&mut call.input, "null");
            }
            ledger.tool(call, whole);
        }
    }
}

/// Arguments come as a string; some servers send them as an object.
fn gather_input(ledger: &mut Ledger, call: &mut Call, arguments: Option<View<'_>>) {
    if let Some(arguments) = arguments {
        let text = arguments.string().unwrap_or(arguments.text().into());
        ledger.gather(&mut call.input, &text);
    }
}
