//! What a Responses request says.

use crate::json::View;
use crate::prompt;
use crate::wire::request::{
    asked_for, flag, identifier, is, is_instruction, malformed, members, model, open,
};
use crate::wire::{Asked, BadRequest, BadRequestKind};

/// The client's wording is part of the wire.
const NO_BACKGROUND: &str = "background requests are currently not supported by AI Bridge";

/// Reads the request.
pub(super) fn read(body: &[u8]) -> Result<Asked, BadRequest> {
    let [name, stream, background, input] =
        members(open(body)?, ["model", "stream", "background", "input"])?;
    let (model, stream) = (model(name)?, flag(stream, "stream")?);
    if flag(background, "background")? {
        return Err(BadRequest {
            kind: BadRequestKind::NotSupported,
            ..malformed(Some("background"), NO_BACKGROUND.to_owned())
        });
    }
    let last = input.map(|list| list.last_items(prompt::LOOK_BACK_MAX)).unwrap_or_default();
    let prompt = match input.filter(|input| input.string().is_some()) {
        Some(input) => prompt::last(&[input], prompt::joined_texts),
        None => prompt::last(&last, said),
    };
    let correlating_tool_call_id = asked_for(&last).and_then(tool_output);
    Ok(Asked { model, stream, prompt, correlating_tool_call_id })
}

/// What a person said in this item.
fn said(item: View<'_>) -> prompt::Said {
    if is_instruction(item) {
        return prompt::Said::Wrappers;
    }
    let [role, content] = item.fields(["role", "content"]);
    content.filter(|_| is(role, "user")).map_or(prompt::Said::Nothing, prompt::joined_texts)
}

/// The call whose output this item carries: `function_call_output`, `custom_tool_call_output` and the
/// like.
fn tool_output(item: View<'_>) -> Option<String> {
    let [kind, id] = item.fields(["type", "call_id"]);
    kind?.string()?.ends_with("_call_output").then(|| identifier(id)).flatten()
}
