//! What a Chat Completions request says.

use crate::json::{self, View};
use crate::prompt;
use crate::wire::request::{
    asked_for, flag, identifier, is, is_instruction, malformed, members, model, open,
};
use crate::wire::{Asked, BadRequest};

/// A request as read.
pub(super) struct Read {
    pub(super) asked: Asked,
    /// The body that asks for usage, when the client's own does not.
    pub(super) edited: Option<String>,
}

/// Reads the request.
pub(super) fn read(body: &[u8]) -> Result<Read, BadRequest> {
    let root = open(body)?;
    let [name, stream, options, messages] =
        members(root, ["model", "stream", "stream_options", "messages"])?;
    let last = messages.map(|list| list.last_items(prompt::LOOK_BACK_MAX)).unwrap_or_default();
    let asked = Asked {
        model: model(name)?,
        stream: flag(stream, "stream")?,
        prompt: prompt::last(&last, said),
        correlating_tool_call_id: asked_for(&last).and_then(|message| {
            let [role, id] = message.fields(["role", "tool_call_id"]);
            is(role, "tool").then(|| identifier(id)).flatten()
        }),
    };
    let includes = options.and_then(|o| o.field("include_usage")).and_then(View::bool);
    let edited = if asked.stream && includes != Some(true) {
        let body = std::str::from_utf8(body)
            .map_err(|err| malformed(None, format!("the request body is not UTF-8: {err}")))?;
        // Options that are no object are left for upstream to refuse.
        json::set(body, &["stream_options", "include_usage"], "true").ok()
    } else {
        None
    };
    Ok(Read { asked, edited })
}

/// What a person said in this message.
fn said(message: View<'_>) -> prompt::Said {
    if is_instruction(message) {
        return prompt::Said::Wrappers;
    }
    let [role, content] = message.fields(["role", "content"]);
    content.filter(|_| is(role, "user")).map_or(prompt::Said::Nothing, prompt::last_text)
}
