//! Output items of a Responses answer, as far as they are recorded: tool calls, hosted ones included, and
//! thoughts.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::json::View;
use crate::wire::ledger::{Call, Ledger};
use crate::wire::request::is;

/// Identifiers remembered per answer, to record no item twice.
const SEEN_MAX: usize = 8192;

/// How one type of call is recorded.
struct Kind {
    /// Type of the item.
    name: &'static str,
    /// Name of the tool; when absent the item has a `name`.
    tool: Option<&'static str>,
    /// The member that holds the arguments.
    input: &'static str,
}

/// Types of calls. What is not here but ends in `_call` is recorded by guess, see [`guess`].
const KINDS: &[Kind] = &[
    Kind { name: "function_call", tool: None, input: "arguments" },
    Kind { name: "custom_tool_call", tool: None, input: "input" },
    Kind { name: "mcp_call", tool: None, input: "arguments" },
    Kind { name: "web_search_call", tool: Some("web_search"), input: "action" },
    Kind { name: "file_search_call", tool: Some("file_search"), input: "queries" },
    Kind { name: "code_interpreter_call", tool: Some("code_interpreter"), input: "code" },
    Kind { name: "computer_call", tool: Some("computer"), input: "action" },
    Kind { name: "image_generation_call", tool: Some("image_generation"), input: "revised_prompt" },
    Kind { name: "local_shell_call", tool: Some("local_shell"), input: "action" },
    Kind { name: "shell_call", tool: Some("shell"), input: "action" },
    Kind { name: "apply_patch_call", tool: Some("apply_patch"), input: "operation" },
];

/// Items recorded so far.
#[derive(Default)]
pub(super) struct Items {
    seen: BTreeSet<String>,
    unnamed: usize,
}

impl Items {
    /// An item is there as a whole. Given twice, it is recorded once.
    pub(super) fn done(&mut self, ledger: &mut Ledger, item: View<'_>) {
        let [kind, id, call_id] = item.fields(["type", "id", "call_id"]);
        let (kind, id, call_id) = (Ledger::name(kind), Ledger::name(id), Ledger::name(call_id));
        if !self.is_new(&kind, &id, &call_id) {
            return;
        }
        match &*kind {
            "reasoning" => reasoning(ledger, item),
            "message" => commentary(ledger, item),
            kind if kind.ends_with("_call") => call(ledger, item, kind, id, call_id),
            _ => {}
        }
    }

    /// The list of the last event repeats all items in their order, those given before included.
    pub(super) fn list(&mut self, ledger: &mut Ledger, output: View<'_>) {
        self.unnamed = 0;
        for item in output.items() {
            self.done(ledger, item);
        }
    }

    /// Whether neither identifier was seen before. Items without any are told apart by type and rank.
    fn is_new(&mut self, kind: &str, id: &str, call_id: &str) -> bool {
        let mut keys: Vec<String> =
            [id, call_id].into_iter().filter(|key| !key.is_empty()).map(str::to_owned).collect();
        if keys.is_empty() {
            self.unnamed += 1;
            keys.push(format!("{kind} {}", self.unnamed));
        }
        if keys.iter().any(|key| self.seen.contains(key)) || self.seen.len() >= SEEN_MAX {
            return false;
        }
        self.seen.extend(keys);
        true
    }
}

/// Summaries of what the model thought, and the thoughts themselves where a server shows them.
fn reasoning(ledger: &mut Ledger, item: View<'_>) {
    let [summary, content] = item.fields(["summary", "content"]);
    for part in summary.into_iter().flat_map(View::items) {
        ledger.whole_thought(part.field("text"), "reasoning_summary");
    }
    for part in content.into_iter().flat_map(View::items) {
        let [kind, text] = part.fields(["type", "text"]);
        if is(kind, "reasoning_text") {
            ledger.whole_thought(text, "thinking");
        }
    }
}

/// What the model says about its work on the way to its answer.
fn commentary(ledger: &mut Ledger, item: View<'_>) {
    let [phase, content] = item.fields(["phase", "content"]);
    if !is(phase, "commentary") {
        return;
    }
    for part in content.into_iter().flat_map(View::items) {
        let [kind, text] = part.fields(["type", "text"]);
        if is(kind, "output_text") {
            ledger.whole_thought(text, "commentary");
        }
    }
}

fn call(ledger: &mut Ledger, item: View<'_>, kind: &str, id: String, call_id: String) {
    let known = KINDS.iter().find(|row| row.name == kind);
    let [name, status, server, container] =
        item.fields(["name", "status", "server_label", "container_id"]);
    let tool = match known.and_then(|row| row.tool) {
        Some(tool) => tool.to_owned(),
        None => Ledger::name(name),
    };
    let tool = if tool.is_empty() { kind.trim_end_matches("_call").to_owned() } else { tool };
    let input = match known {
        Some(row) => item.field(row.input).or_else(|| item.field("actions")),
        None => guess(item),
    };
    let mut call = Call {
        id: if call_id.is_empty() { id.clone() } else { call_id },
        item_id: Some(id).filter(|id| !id.is_empty()),
        tool,
        ..Call::default()
    };
    let text = input.map_or("null".into(), |input| input.string().unwrap_or(input.text().into()));
    ledger.gather(&mut call.input, if text.is_empty() { "null" } else { &text });
    let details = [
        ("kind", Some(kind.to_owned()).filter(|kind| kind != "function_call")),
        ("status", status.map(|s| Ledger::name(Some(s))).filter(|s| s != "completed")),
        ("server_label", server.map(|s| Ledger::name(Some(s)))),
        ("container_id", container.map(|c| Ledger::name(Some(c)))),
    ];
    let details = details.into_iter().filter_map(|(name, text)| Some((name, text?)));
    call.metadata = details.map(|(name, text)| (name.to_owned(), Value::from(text))).collect();
    ledger.tool(call, true);
}

/// The arguments of a call of a type that we do not know.
fn guess(item: View<'_>) -> Option<View<'_>> {
    let [arguments, input, action] = item.fields(["arguments", "input", "action"]);
    arguments.or(input).or(action)
}
