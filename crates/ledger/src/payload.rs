//! Facts as bytes of a record: the interceptions that begin and end as keys, then a JSON array.

use aibridge::facts::Fact;
use serde_json::value::RawValue;

use crate::spool::{Frame, Kind};

/// Buffers larger than this are given back after use.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Writes facts into a frame. False if they are too many or too long for one record.
pub(crate) fn encode(frame: &mut Frame, facts: &[Fact], at_micros: i64) -> bool {
    frame.trim(BUFFER_BYTES_MAX);
    frame.opens.clear();
    frame.closes.clear();
    for fact in facts {
        match fact {
            Fact::Start(start) => frame.opens.push(start.id.uuid().as_u128()),
            Fact::End(end) => frame.closes.push(end.interception.uuid().as_u128()),
            Fact::Prompt(_) | Fact::Tokens(_) | Fact::Tool(_) | Fact::Thought(_) => {}
        }
    }
    let written = serde_json::to_writer(frame.begin(), facts);
    written.is_ok() && frame.finish(Kind::Facts, facts.len(), at_micros)
}

/// What a payload held.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) facts: Vec<Fact>,
    /// JSON of what is no fact that this release knows, e.g. one of a kind of a later release.
    pub(crate) unknown: Vec<String>,
}

/// Reads the payload of a record, without its keys.
pub(crate) fn decode(json: &[u8]) -> Decoded {
    if let Ok(facts) = serde_json::from_slice(json) {
        return Decoded { facts, unknown: Vec::new() };
    }
    let mut out = Decoded::default();
    match serde_json::from_slice::<Vec<&RawValue>>(json) {
        Ok(items) => {
            for item in items {
                match serde_json::from_str(item.get()) {
                    Ok(fact) => out.facts.push(fact),
                    Err(_) => out.unknown.push(item.get().to_owned()),
                }
            }
        }
        Err(_) => out.unknown.push(String::from_utf8_lossy(json).into_owned()),
    }
    out
}

/// Bytes that clients and models decide on, and something for the rest.
pub(crate) fn weight(fact: &Fact) -> usize {
    let text = match fact {
        Fact::Prompt(f) => f.prompt.len(),
        Fact::Tool(f) => f.input.len(),
        Fact::Thought(f) => f.content.len(),
        Fact::Start(_) | Fact::End(_) | Fact::Tokens(_) => 0,
    };
    text + 512
}
