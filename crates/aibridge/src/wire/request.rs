//! Reading the parts of a request that all APIs share.

use super::ledger::NAME_BYTES_MAX;
use super::{BadRequest, BadRequestKind, UNKNOWN_MODEL};
use crate::json::{self, View};

/// Longer model names are cut in records; upstream gets them whole.
const MODEL_BYTES_MAX: usize = 256;

/// A 400 that blames `param`.
pub(super) fn malformed(param: Option<&'static str>, message: String) -> BadRequest {
    BadRequest { kind: BadRequestKind::Malformed, message, param }
}

/// The request as an object.
pub(super) fn open(body: &[u8]) -> Result<View<'_>, BadRequest> {
    if body.trim_ascii().is_empty() {
        let message = "the request body is empty; send a JSON object with `model`";
        return Err(malformed(None, message.to_owned()));
    }
    let root = json::parse(body).map_err(|err| {
        malformed(None, format!("the request body is not valid JSON: {err}; send a JSON object"))
    })?;
    if root.is_object() {
        Ok(root)
    } else {
        let message = "the request body is not a JSON object; send one with `model`";
        Err(malformed(None, message.to_owned()))
    }
}

/// What the gateway reads of a request. Readers differ in which of two members with one key they take, so
/// what is recorded, priced or allowed would not be what the provider does.
pub(super) fn members<'a, const N: usize>(
    root: View<'a>,
    keys: [&'static str; N],
) -> Result<[Option<View<'a>>; N], BadRequest> {
    root.single_fields(keys).map_err(|key| {
        let message = format!("`{key}` is in the request more than once; send it once");
        malformed(Some(key), message)
    })
}

/// The member `model`.
pub(super) fn model(value: Option<View<'_>>) -> Result<String, BadRequest> {
    let Some(value) = value else { return Ok(UNKNOWN_MODEL.to_owned()) };
    let Some(name) = value.string() else {
        let message = "`model` is not a string; send the model's name as a JSON string";
        return Err(malformed(Some("model"), message.to_owned()));
    };
    Ok(match name.trim() {
        "" => UNKNOWN_MODEL.to_owned(),
        name => stdx::cut(name, MODEL_BYTES_MAX).to_owned(),
    })
}

/// A boolean member; absent means `false`.
pub(super) fn flag(value: Option<View<'_>>, name: &'static str) -> Result<bool, BadRequest> {
    value.map_or(Some(false), View::bool).ok_or_else(|| {
        malformed(Some(name), format!("`{name}` is not a boolean; send `true` or `false`"))
    })
}

/// An identifier that is not empty.
pub(super) fn identifier(value: Option<View<'_>>) -> Option<String> {
    let text = value.and_then(View::string).filter(|text| !text.is_empty())?;
    Some(stdx::cut(&text, NAME_BYTES_MAX).to_owned())
}

/// Whether a member is this very string.
pub(super) fn is(value: Option<View<'_>>, wanted: &str) -> bool {
    value.and_then(View::string).is_some_and(|text| text == wanted)
}

/// Whether a message is the client program's instruction, not part of the conversation. Programs put some
/// behind the user's last message.
pub(super) fn is_instruction(message: View<'_>) -> bool {
    let role = message.field("role");
    is(role, "system") || is(role, "developer")
}

/// The message that the model is to react to, given the last one first.
pub(super) fn asked_for<'a>(messages: &[View<'a>]) -> Option<View<'a>> {
    messages.iter().copied().find(|message| !is_instruction(*message))
}
