//! What must hold of reading a request.

use std::fmt;

use aibridge::prompt::PROMPT_BYTES_MAX;
use aibridge::wire::{Asked, UNKNOWN_MODEL};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::Api;

/// Longer messages to the client would quote the request.
const MESSAGE_BYTES_MAX: usize = 300;

/// Identifiers and names are not recorded beyond this.
const NAME_BYTES_MAX: usize = 512;

/// Reads a request and compares with what a tree of it says. Returns whether it is accepted.
///
/// Upstream gets the client's bytes, but for `stream_options.include_usage` in a Chat stream, and would itself
/// be read the same. What is noted of a request is bounded, what is said of a bad one does not quote it.
pub(super) fn check(api: Api, body: &[u8]) -> bool {
    let tree: Option<Value> = serde_json::from_slice(body).ok();
    let Keys(keys) = serde_json::from_slice(body).unwrap_or_default();
    let mut interceptor = match api.open(body) {
        Ok(interceptor) => interceptor,
        Err(error) => {
            assert!(!error.message.is_empty() && error.message.len() <= MESSAGE_BYTES_MAX);
            assert!(!tree.is_some_and(|tree| well_formed(api, &tree, &keys)), "refused: {error}");
            return false;
        }
    };
    let sent = interceptor.take_upstream_body();
    let asked = interceptor.asked();
    bounded(asked, body);
    if let Some(tree) = &tree {
        assert!(well_formed(api, tree, &keys), "accepted");
        assert_eq!(asked.stream, tree.get("stream") == Some(&Value::Bool(true)));
        let model = tree.get("model").and_then(Value::as_str).unwrap_or_default().trim();
        let model = if model.is_empty() { UNKNOWN_MODEL } else { model };
        assert!(model.starts_with(&asked.model), "another model");
        assert!(asked.model.len() >= model.len().min(250), "the model was cut too short");
    }
    if api != Api::Chat || !asked.stream {
        assert_eq!(sent, body, "upstream gets something else");
        return true;
    }
    match api.open(&sent) {
        Ok(mut again) => {
            assert_eq!(again.asked(), asked, "read differently the second time");
            assert_eq!(again.take_upstream_body(), sent, "edited twice");
        }
        Err(error) => unreachable!("no request any more: {error}"),
    }
    // Without an edit all is said; with one, all but a single path is as it was.
    if let (Some(mut tree), true) = (tree, sent != body) {
        if let Value::Object(root) = &mut tree {
            let options = root.entry("stream_options").or_insert(Value::Null);
            if options.is_null() {
                *options = Value::Object(serde_json::Map::new());
            }
            if let Value::Object(options) = options {
                options.insert("include_usage".to_owned(), Value::Bool(true));
            }
        }
        assert_eq!(serde_json::from_slice::<Value>(&sent).ok(), Some(tree));
    }
    true
}

/// The keys of an object, those that are there again included.
#[derive(Default)]
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Self::default())
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((key, IgnoredAny)) = map.next_entry()? {
            self.0.push(key);
        }
        Ok(self)
    }
}

/// Whether the gateway has nothing to say against a request: what it reads is there once and of its type.
fn well_formed(api: Api, tree: &Value, keys: &[String]) -> bool {
    let Value::Object(root) = tree else { return false };
    let read: &[&str] = match api {
        Api::Messages => &["model", "stream", "messages"],
        Api::Chat => &["model", "stream", "stream_options", "messages"],
        Api::Responses => &["model", "stream", "background", "input"],
    };
    if read.iter().any(|read| keys.iter().filter(|key| key == read).count() > 1) {
        return false;
    }
    let is = |key: &str, fits: fn(&Value) -> bool| {
        root.get(key).is_none_or(|value| value.is_null() || fits(value))
    };
    is("model", Value::is_string)
        && is("stream", Value::is_boolean)
        && (api != Api::Responses || is("background", |value| *value == Value::Bool(false)))
}

fn bounded(asked: &Asked, body: &[u8]) {
    let Asked { model, prompt, correlating_tool_call_id, .. } = asked;
    assert!(!model.is_empty() && model.len() <= 256);
    let id = correlating_tool_call_id.as_ref();
    assert!(id.is_none_or(|id| !id.is_empty() && id.len() <= NAME_BYTES_MAX), "a long identifier");
    if let Some(prompt) = prompt {
        assert!(!prompt.trim().is_empty());
        assert!(prompt.len() <= 2 * body.len() && prompt.len() <= PROMPT_BYTES_MAX + 8);
    }
}
