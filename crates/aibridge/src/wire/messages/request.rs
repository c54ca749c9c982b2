//! What a Messages request says.

use crate::json::View;
use crate::prompt;
use crate::wire::request::{asked_for, flag, identifier, is, is_instruction, members, model, open};
use crate::wire::{Asked, BadRequest};

/// Reads the request.
pub(super) fn read(body: &[u8]) -> Result<Asked, BadRequest> {
    let [name, stream, messages] = members(open(body)?, ["model", "stream", "messages"])?;
    let last = messages.map(|list| list.last_items(prompt::LOOK_BACK_MAX)).unwrap_or_default();
    Ok(Asked {
        model: model(name)?,
        stream: flag(stream, "stream")?,
        prompt: prompt::last(&last, said),
        correlating_tool_call_id: asked_for(&last).and_then(tool_result),
    })
}

/// What a person said in this message.
fn said(message: View<'_>) -> prompt::Said {
    if is_instruction(message) {
        return prompt::Said::Wrappers;
    }
    let [role, content] = message.fields(["role", "content"]);
    content.filter(|_| is(role, "user")).map_or(prompt::Said::Nothing, prompt::last_text)
}

/// The tool call that the message's last tool result belongs to.
fn tool_result(message: View<'_>) -> Option<String> {
    let results = message.field("content")?.items().filter_map(|part| {
        let [kind, id] = part.fields(["type", "tool_use_id"]);
        is(kind, "tool_result").then(|| identifier(id)).flatten()
    });
    results.last()
}
