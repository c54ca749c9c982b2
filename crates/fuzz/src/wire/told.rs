//! What an answer tells, read from trees of its events, after all of them are there.

use std::collections::BTreeSet;

use aibridge::wire::Interceptor;
use serde_json::Value;

use super::Api;
use crate::splitter::events;

/// Identifiers are compared whole up to this length.
const NAME_BYTES_MAX: usize = 512;

/// Tool calls of one answer that are surely recorded.
const CALLS_MAX: usize = 1000;

/// Tokens: input, output, read from a cache, written to one; nothing when no count was told.
type Counts = Option<[i64; 4]>;

/// A number was told of which a tree does not say how it was written.
struct Unsure;

/// What the provider told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The answer has the end that its API demands.
    pub(super) ended: bool,
    /// The provider said that it failed.
    pub(super) fault: bool,
    /// Tokens: input, output, read from a cache, written to one.
    pub(super) counts: Counts,
    /// Identifiers of tool calls.
    pub(super) calls: BTreeSet<String>,
    /// How many tool calls, if that can be told plainly.
    pub(super) tools: Option<usize>,
}

impl Told {
    /// Reads a stream; nothing where a tree does not say for sure.
    pub(super) fn by_stream(api: Api, answer: &[u8]) -> Option<Self> {
        let mut done = false;
        let mut trees = Vec::new();
        for frame in events(answer).0 {
            match frame.data.trim_ascii() {
                _ if frame.data.is_empty() => {}
                b"[DONE]" => done = true,
                _ => trees.push(serde_json::from_str(&String::from_utf8_lossy(&frame.data)).ok()?),
            }
        }
        match api {
            Api::Messages => messages(&trees),
            Api::Chat => chat(&trees, done),
            Api::Responses => responses(&trees),
        }
    }

    /// Reads an answer that is not a stream.
    pub(super) fn by_body(api: Api, answer: &[u8]) -> Option<Self> {
        let tree: Value = serde_json::from_str(&String::from_utf8_lossy(answer)).ok()?;
        if !tree.is_object() {
            return Some(Self::default());
        }
        match api {
            Api::Messages if text(&tree, "type") == "error" => {
                Some(Self { fault: true, ..Self::default() })
            }
            Api::Messages => {
                let blocks = items(get(&tree, "content"));
                let blocks: Vec<&Value> = blocks.iter().collect();
                let usages: Vec<&Value> = get(&tree, "usage").into_iter().collect();
                let (calls, tools) = tool_uses(&blocks)?;
                let counts = cumulative(&usages).ok()?;
                Some(Self { ended: true, fault: false, counts, calls, tools: Some(tools) })
            }
            Api::Chat => {
                let told = chat(&[tree], false)?;
                Some(Self { ended: !told.fault, ..told })
            }
            Api::Responses => {
                let state = text(&tree, "status").to_owned();
                let state = if get(&tree, "error").is_some() { "failed".to_owned() } else { state };
                let kind = format!("response.{state}");
                let fault = ["failed", "cancelled"].contains(&&*state);
                let told = responses(&[serde_json::json!({ "type": kind, "response": tree })])?;
                // Without a state that is final the list of items has still to be read.
                let told = if told.ended {
                    told
                } else {
                    responses(&[
                        serde_json::json!({ "type": "response.completed", "response": tree }),
                    ])?
                };
                Some(Self { ended: true, fault, ..told })
            }
        }
    }
}

/// The frames with which clients take an answer for whole are known as such before they are understood, or they
/// would leave before the records are durable.
pub(super) fn check_last(api: Api, interceptor: &dyn Interceptor, answer: &[u8]) {
    let types: &[&str] = match api {
        Api::Messages => &["message_stop"],
        Api::Chat => &[],
        Api::Responses => {
            &["response.completed", "response.incomplete", "response.failed", "response.cancelled"]
        }
    };
    for frame in events(answer).0 {
        let data = String::from_utf8_lossy(&frame.data);
        let last = match serde_json::from_str::<Value>(&data) {
            _ if api == Api::Chat => frame.data.trim_ascii() == b"[DONE]",
            // Nobody writes letters as escapes, and nobody looks for them.
            Ok(tree) if !data.contains("\\u") => types.contains(&text(&tree, "type")),
            _ => continue,
        };
        assert_eq!(interceptor.is_last(&frame), last, "the last: {data}");
    }
}

/// A member that is there and not `null`.
fn get<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    tree.get(key).filter(|value| !value.is_null())
}

fn text<'a>(tree: &'a Value, key: &str) -> &'a str {
    get(tree, key).and_then(Value::as_str).unwrap_or_default()
}

fn items(list: Option<&Value>) -> &[Value] {
    list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A name that is not cut in records.
fn name(tree: &Value, key: &str) -> Option<String> {
    let name = text(tree, key);
    (name.len() <= NAME_BYTES_MAX).then(|| name.to_owned())
}

/// A count, if it is one.
fn count(tree: &Value, key: &str) -> Result<Option<i64>, Unsure> {
    let Some(Value::Number(number)) = get(tree, key) else { return Ok(None) };
    let sane = |count: &i64| (0..=1_000_000_000_000).contains(count);
    if number.is_f64() { Err(Unsure) } else { Ok(number.as_i64().filter(sane)) }
}

fn messages(events: &[Value]) -> Option<Told> {
    let mut told = Told::default();
    let (mut usages, mut blocks) = (Vec::new(), Vec::new());
    for event in events {
        match text(event, "type") {
            "message_start" => usages.extend(get(event, "message").and_then(|m| get(m, "usage"))),
            "message_delta" => usages.extend(get(event, "usage")),
            "message_stop" => told.ended = true,
            "error" => told.fault = true,
            "content_block_start" => blocks.extend(get(event, "content_block")),
            _ => {}
        }
    }
    let (calls, tools) = tool_uses(&blocks)?;
    Some(Told { counts: cumulative(&usages).ok()?, calls, tools: Some(tools), ..told })
}

/// Every block that begins a call is one, whatever follows.
fn tool_uses(blocks: &[&Value]) -> Option<(BTreeSet<String>, usize)> {
    let calls = blocks.iter().filter(|block| text(block, "type").ends_with("tool_use"));
    let calls: Vec<String> = calls.map(|block| name(block, "id")).collect::<Option<_>>()?;
    let count = calls.len();
    (count <= CALLS_MAX).then(|| (calls.into_iter().collect(), count))
}

/// Counts of the Messages API: each is the last one that is not zero.
fn cumulative(usages: &[&Value]) -> Result<Counts, Unsure> {
    let last = |inner: Option<&str>, key: &str| -> Result<Option<i64>, Unsure> {
        let objects = usages.iter().filter_map(|usage| match inner {
            Some(inner) => get(usage, inner),
            None => Some(usage),
        });
        let all: Vec<_> = objects.map(|usage| count(usage, key)).collect::<Result<_, _>>()?;
        let all = all.into_iter().flatten();
        Ok(all.reduce(|before: i64, now| if now > 0 { now } else { before }))
    };
    let short = last(Some("cache_creation"), "ephemeral_5m_input_tokens")?;
    let long = last(Some("cache_creation"), "ephemeral_1h_input_tokens")?;
    let by_age = short.map_or(long, |short| Some(short + long.unwrap_or_default()));
    let main = [
        last(None, "input_tokens")?,
        last(None, "output_tokens")?,
        last(None, "cache_read_input_tokens")?,
        last(None, "cache_creation_input_tokens")?.or(by_age),
    ];
    let any = main.iter().any(Option::is_some);
    Ok(any.then(|| main.map(Option::unwrap_or_default)))
}

/// Counts of the other APIs, where `keys` are those of input and output and `cached` says what of the input was
/// read from a cache.
fn inclusive(
    usage: &Value,
    keys: [&str; 2],
    details: &str,
    cached: &[&str],
) -> Result<Counts, Unsure> {
    let [input, output] = keys.map(|key| count(usage, key));
    let (input, output) = (input?, output?);
    if input.is_none() && output.is_none() {
        return Ok(None);
    }
    let inner = |key| get(usage, details).map_or(Ok(None), |details| count(details, key));
    let mut read = inner("cached_tokens")?;
    for key in cached {
        read = read.or(count(usage, key)?);
    }
    let (read, written) = (read.unwrap_or_default(), inner("cache_write_tokens")?.unwrap_or(0));
    let fresh = (input.unwrap_or_default() - read - written).max(0);
    Ok(Some([fresh, output.unwrap_or_default(), read, written]))
}

fn chat(chunks: &[Value], done: bool) -> Option<Told> {
    const KEYS: [&str; 2] = ["prompt_tokens", "completion_tokens"];
    let mut told = Told::default();
    let (mut begun, mut finished, mut pieces) = (BTreeSet::new(), BTreeSet::new(), 0);
    for chunk in chunks {
        if get(chunk, "error").is_some() {
            told.fault = true;
            continue;
        }
        let usage = get(chunk, "usage").or_else(|| get(get(chunk, "x_groq")?, "usage"));
        if let Some(usage) = usage {
            let cached = ["prompt_cache_hit_tokens", "cached_tokens"];
            let counts = inclusive(usage, KEYS, "prompt_tokens_details", &cached).ok()?;
            let zeros = KEYS.iter().all(|key| count(usage, key).is_ok_and(|n| n.unwrap_or(0) == 0));
            if told.counts.is_none() || !zeros {
                told.counts = counts.or(told.counts);
            }
        }
        for choice in items(get(chunk, "choices")) {
            let index = count(choice, "index").ok()?.unwrap_or_default();
            begun.insert(index);
            if !text(choice, "finish_reason").is_empty() {
                finished.insert(index);
            }
            let Some(delta) = get(choice, "delta").or_else(|| get(choice, "message")) else {
                continue;
            };
            pieces += 1;
            for call in items(get(delta, "tool_calls")) {
                pieces += 1;
                let body = get(call, "function").or_else(|| get(call, "custom"));
                let (id, tool) = (name(call, "id")?, body.map_or("", |body| text(body, "name")));
                // A piece that says who it is and what is called begins a call, if none has begun.
                if !id.is_empty() && !tool.is_empty() {
                    told.calls.insert(id);
                }
            }
        }
    }
    told.ended = done || !begun.is_empty() && begun == finished;
    (begun.len() <= 100 && pieces <= CALLS_MAX).then_some(told)
}

fn responses(events: &[Value]) -> Option<Told> {
    const KEYS: [&str; 2] = ["input_tokens", "output_tokens"];
    let mut told = Told::default();
    let (mut seen, mut unnamed, mut tools) = (BTreeSet::new(), 0, 0);
    for event in events {
        let kind = text(event, "type");
        let mut given: Vec<&Value> = Vec::new();
        let mut response = get(event, "response");
        match kind {
            "response.output_item.done" => {
                given.extend(get(event, "item"));
                response = None;
            }
            "error" => {
                told.fault = true;
                response = None;
            }
            "response.completed"
            | "response.incomplete"
            | "response.failed"
            | "response.cancelled" => {
                told.ended = true;
                told.fault |= ["response.failed", "response.cancelled"].contains(&kind);
                if let Some(output) = response.and_then(|response| get(response, "output")) {
                    unnamed = 0;
                    given.extend(items(Some(output)));
                }
            }
            _ => {}
        }
        if let Some(usage) = response.and_then(|response| get(response, "usage")) {
            let counts = inclusive(usage, KEYS, "input_tokens_details", &[]).ok()?;
            told.counts = counts.or(told.counts);
        }
        for item in given {
            let (kind, id) = (name(item, "type")?, name(item, "id")?);
            let call_id = name(item, "call_id")?;
            let mut keys = vec![id.clone(), call_id.clone()];
            keys.retain(|key| !key.is_empty());
            if keys.is_empty() {
                unnamed += 1;
                keys.push(format!("{kind} {unnamed}"));
            }
            // Who has the identifier of another is the other.
            let is_new = keys.iter().all(|key| !seen.contains(key));
            if is_new {
                seen.extend(keys);
            }
            if is_new && kind.ends_with("_call") {
                tools += 1;
                told.calls.insert(if call_id.is_empty() { id } else { call_id });
            }
        }
    }
    told.tools = Some(tools);
    (seen.len() <= CALLS_MAX).then_some(told)
}
