//! Turns an interceptor's notes into facts: the driver's identifiers and times are added here.

use std::collections::BTreeMap;

use serde_json::Value;
use stdx::ids::{FactId, InterceptionId};
use stdx::{Clock, Rng};
use time::OffsetDateTime;

use crate::facts::{Fact, Metadata, Prompt, Thought, Tokens, Tool};
use crate::wire::Note;

/// Makes facts about one interception.
pub(crate) struct Stamp<'a> {
    pub(crate) rng: &'a dyn Rng,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) interception: InterceptionId,
}

impl Stamp<'_> {
    pub(crate) fn fact_id(&self, at: OffsetDateTime) -> FactId {
        FactId::new(self.rng.uuid_v7(at))
    }

    /// All of one instant, with identifiers that keep their order.
    pub(crate) fn facts(&self, notes: Vec<Note>) -> Vec<Fact> {
        let created_at = self.clock.now();
        let numbered = notes.into_iter().enumerate();
        numbered.map(|(place, note)| self.fact(note, place, created_at)).collect()
    }

    fn fact(&self, note: Note, place: usize, created_at: OffsetDateTime) -> Fact {
        let id = FactId::new(self.rng.uuid_v7_at(created_at, place));
        let interception = self.interception;
        match note {
            Note::Prompt { response_id, prompt } => Fact::Prompt(Prompt {
                id,
                interception,
                response_id,
                prompt,
                created_at,
                metadata: Metadata::new(),
            }),
            Note::Tokens {
                response_id,
                input,
                output,
                cache_read,
                cache_write,
                extra,
                metadata,
            } => Fact::Tokens(Tokens {
                id,
                interception,
                response_id,
                input,
                output,
                cache_read,
                cache_write,
                extra,
                created_at,
                metadata,
            }),
            Note::Tool { response_id, tool_call_id, item_id, tool, input, metadata } => {
                Fact::Tool(Tool {
                    id,
                    interception,
                    response_id,
                    tool_call_id,
                    item_id,
                    tool,
                    input,
                    server_url: None,
                    injected: false,
                    invocation_error: None,
                    created_at,
                    metadata,
                })
            }
            Note::Thought { content, source } => Fact::Thought(Thought {
                id,
                interception,
                content,
                created_at,
                metadata: BTreeMap::from([("source".to_owned(), Value::from(source))]),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use stdx::{ManualClock, SeededRng};

    use super::*;

    #[test]
    fn facts_get_distinct_ids_that_sort_by_time_and_keep_their_order() {
        let clock = ManualClock::new(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000));
        let rng = SeededRng::shared(7);
        let stamp = Stamp { rng: &*rng, clock: &*clock, interception: InterceptionId::nil() };
        let notes = vec![
            Note::Prompt { response_id: "r".to_owned(), prompt: "hi".to_owned() },
            Note::Thought { content: "hm".to_owned(), source: "thinking" },
        ];
        let facts = stamp.facts(notes);
        let [Fact::Prompt(prompt), Fact::Thought(thought)] = &facts[..] else {
            panic!("{facts:?}");
        };
        assert_ne!(prompt.id, thought.id);
        assert_eq!(prompt.id.uuid().get_version_num(), 7);
        assert_eq!(prompt.created_at, clock.now());
        assert_eq!(thought.metadata["source"], "thinking");
    }
}
