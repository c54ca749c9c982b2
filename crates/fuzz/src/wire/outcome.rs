//! What came out of an exchange, and what must hold of it.

use aibridge::json;
use aibridge::sse::{Piece, Splitter};
use aibridge::wire::{Ended, Finish, Interceptor, Note, Relay};
use bytes::Bytes;
use serde_json::Value;

use super::Api;
use super::told::Told;

/// Notes of one kind in one answer.
const NOTES_MAX: usize = 1024;

/// Identifiers and names are cut to this length.
const NAME_BYTES_MAX: usize = 512;

/// Names beyond texts: a note has at most this many.
const NAMES_MAX: usize = 8;

/// Sum of a few counts, each of which is at most 10^12.
const COUNT_MAX: i64 = 4_000_000_000_000;

/// What came out of one exchange.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    /// Bytes that the client got, without the trailer.
    relayed: Vec<u8>,
    /// Bytes of an event that never ended.
    withheld: Bytes,
    /// Frames that the client did not get.
    dropped: Vec<Bytes>,
    prompt: Option<String>,
    /// The client asked for a stream.
    streams: bool,
    /// A whole body came instead of one.
    whole: bool,
    pub(super) notes: Vec<Note>,
    pub(super) finish: Finish,
}

impl Outcome {
    /// Plays a stream the way the gateway does.
    pub(super) fn of_stream(
        mut interceptor: Box<dyn Interceptor>,
        mut splitter: Splitter,
        chunks: &[&[u8]],
        ended: Ended,
    ) -> Self {
        let mut out = Self::begun(&*interceptor);
        for chunk in chunks {
            for piece in splitter.push(Bytes::copy_from_slice(chunk)) {
                match piece {
                    Piece::Frame(frame) => {
                        match interceptor.relay(&frame) {
                            Relay::Forward => out.relayed.extend_from_slice(&frame.raw),
                            Relay::Replace(_) => unreachable!("nothing is replaced so far"),
                            Relay::Drop => out.dropped.push(frame.data.clone()),
                        }
                        interceptor.observe(&frame);
                    }
                    Piece::Raw(raw) => out.relayed.extend_from_slice(&raw),
                    Piece::Late(frame) => interceptor.observe(&frame),
                }
            }
            out.notes.extend(interceptor.take_notes());
        }
        out.withheld = splitter.finish().unwrap_or_default();
        out.end(interceptor, ended)
    }

    /// Plays an answer that is not a stream.
    pub(super) fn of_body(mut interceptor: Box<dyn Interceptor>, body: &[u8]) -> Self {
        let mut out = Self::begun(&*interceptor);
        interceptor.observe_body(body);
        out.relayed.extend_from_slice(body);
        out.whole = true;
        out.end(interceptor, Ended::Closed)
    }

    /// Whether the client got anything.
    pub(super) fn has_relayed(&self) -> bool {
        !self.relayed.is_empty()
    }

    fn begun(interceptor: &dyn Interceptor) -> Self {
        let asked = interceptor.asked();
        Self { prompt: asked.prompt.clone(), streams: asked.stream, ..Self::default() }
    }

    fn end(mut self, mut interceptor: Box<dyn Interceptor>, ended: Ended) -> Self {
        self.finish = interceptor.finish(ended, self.has_relayed());
        self.notes.extend(interceptor.take_notes());
        assert_eq!(interceptor.finish(ended, true), Finish::default(), "ended twice");
        assert_eq!(interceptor.take_notes(), [], "noted twice");
        self
    }

    /// What must hold of every answer to every request.
    pub(super) fn check(&self, api: Api, answer: &[u8], ended: Ended) {
        self.check_relay(api, answer);
        self.check_notes(answer);
        self.check_finish(api, answer, ended);
    }

    /// The end, the tokens and the tool calls are those that were told. Says nothing of an answer that a plain
    /// reader cannot judge.
    pub(super) fn check_told(&self, told: Option<Told>) {
        let Some(told) = told else { return };
        let failed = told.fault || !told.ended;
        assert_eq!(self.finish.error.is_some(), failed, "a failure: {told:?}");
        assert_eq!(self.finish.quotes_provider, told.fault, "whose words: {told:?}");
        let mut counts = self.notes.iter().filter_map(|note| match note {
            Note::Tokens { input, output, cache_read, cache_write, .. } => {
                Some([*input, *output, *cache_read, *cache_write])
            }
            _ => None,
        });
        // A success is noted even without usage.
        let wanted = told.counts.or((!failed).then_some([0; 4]));
        assert_eq!(counts.next(), wanted, "tokens: {told:?}");
        let calls = self.notes.iter().filter_map(|note| match note {
            Note::Tool { tool_call_id, .. } => Some(tool_call_id),
            _ => None,
        });
        let calls: Vec<&String> = calls.collect();
        for id in &told.calls {
            assert!(calls.contains(&id), "the call {id:?} was not noted: {calls:?}");
        }
        if let Some(tools) = told.tools {
            assert_eq!(calls.len(), tools, "calls: {told:?}");
        }
    }

    /// Nothing is lost, invented, repeated or put out of order.
    fn check_relay(&self, api: Api, answer: &[u8]) {
        if self.dropped.is_empty() {
            let head = answer.get(..self.relayed.len()).unwrap_or_default();
            let tail = answer.get(self.relayed.len()..).unwrap_or_default();
            assert_eq!((&self.relayed[..], &self.withheld[..]), (head, tail));
            return;
        }
        assert!(api == Api::Chat && self.streams);
        let mut rest = answer.iter();
        let kept = self.relayed.iter().chain(&self.withheld);
        assert!(kept.copied().all(|byte| rest.any(|&have| have == byte)));
        for data in &self.dropped {
            // Usage alone, which the client has not asked for.
            let Ok(chunk) = json::parse(data) else { unreachable!("dropped without being read") };
            let choices = chunk.field("choices");
            assert!(chunk.field("usage").is_some() && chunk.field("error").is_none());
            assert!(choices.is_none_or(|list| list.text().trim_matches(['[', ']']).trim() == ""));
        }
    }

    /// Notes are few, short and, where they count, neither negative nor absurd.
    fn check_notes(&self, answer: &[u8]) {
        let [mut prompts, mut tokens, mut tools, mut thoughts] = [0, 0, 0, 0];
        let mut texts_bytes = 0;
        for note in &self.notes {
            match note {
                Note::Prompt { response_id, prompt } => {
                    prompts += 1;
                    assert_eq!(Some(prompt), self.prompt.as_ref());
                    assert!(response_id.len() <= NAME_BYTES_MAX);
                }
                Note::Tokens {
                    response_id,
                    input,
                    output,
                    cache_read,
                    cache_write,
                    extra,
                    metadata,
                } => {
                    tokens += 1;
                    assert!(response_id.len() <= NAME_BYTES_MAX);
                    let main = [input, output, cache_read, cache_write].into_iter();
                    for count in main.chain(extra.values()) {
                        assert!((0..=COUNT_MAX).contains(count), "{note:?}");
                    }
                    assert!(extra.len() <= NAMES_MAX && metadata.len() <= NAMES_MAX);
                }
                Note::Tool { response_id, tool_call_id, item_id, tool, input, metadata } => {
                    tools += 1;
                    texts_bytes += input.len();
                    let item_id = item_id.as_deref().unwrap_or_default();
                    for name in [response_id, tool_call_id, item_id, tool] {
                        assert!(name.len() <= NAME_BYTES_MAX, "a long name");
                    }
                    assert!(metadata.len() <= NAMES_MAX);
                    for text in metadata.values().filter_map(Value::as_str) {
                        assert!(text.len() <= NAME_BYTES_MAX, "a long detail");
                    }
                }
                Note::Thought { content, source } => {
                    thoughts += 1;
                    texts_bytes += content.len();
                    assert!(!content.is_empty());
                    assert!(["thinking", "reasoning_summary", "commentary"].contains(source));
                }
            }
        }
        assert!(tools <= NOTES_MAX && thoughts <= NOTES_MAX && tokens <= 1);
        assert_eq!(prompts, usize::from(self.prompt.is_some()), "a prompt lost or doubled");
        // Half a surrogate pair is six bytes of JSON and nine of text; a broken byte is one and three; a call
        // without arguments has `null`.
        assert!(texts_bytes <= 3 * answer.len() + 4 * tools, "texts out of nothing");
    }

    /// The end is a success, or the client is told that it is none, or cannot be told any more.
    fn check_finish(&self, api: Api, answer: &[u8], ended: Ended) {
        let Finish { trailer, error, quotes_provider } = &self.finish;
        match error {
            None => {
                assert!(trailer.is_none() && !quotes_provider);
                assert!(self.has_end(api, answer), "cut short and passed off as complete");
            }
            Some((_, message)) => {
                assert!(!message.trim().is_empty() && message.len() <= 1024);
                assert!(!quotes_provider || trailer.is_none(), "the provider said it already");
            }
        }
        let Some(trailer) = trailer else { return };
        assert!(
            self.streams && !self.whole && !self.relayed.is_empty() && ended != Ended::ClientGone
        );
        let mut splitter = Splitter::new();
        let pieces = splitter.push(trailer.clone());
        assert_eq!(splitter.finish(), None, "a trailer without end");
        let [Piece::Frame(error), rest @ ..] = &pieces[..] else {
            unreachable!("a trailer without frame")
        };
        let event = serde_json::from_slice::<Value>(&error.data).unwrap_or_default();
        let shape = match api {
            Api::Messages | Api::Chat => event.pointer("/error/message"),
            Api::Responses => event.get("message"),
        };
        assert!(shape.is_some_and(Value::is_string), "{event}");
        assert_eq!(rest.len(), usize::from(api == Api::Chat), "what follows the error");
    }

    /// Whether the answer holds what its API ends with. Escapes may hide it.
    fn has_end(&self, api: Api, answer: &[u8]) -> bool {
        let ends: &[&str] = match api {
            _ if self.whole => &["{"],
            Api::Messages => &["message_stop"],
            Api::Chat => &["[DONE]", "finish_reason"],
            Api::Responses => &[
                "response.completed",
                "response.incomplete",
                "response.failed",
                "response.cancelled",
            ],
        };
        let has = |end: &str| answer.windows(end.len()).any(|window| window == end.as_bytes());
        ends.iter().any(|end| has(end)) || has("\\u")
    }
}
