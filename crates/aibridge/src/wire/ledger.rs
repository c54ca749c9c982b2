//! The notes of one exchange in the making, and the limits on them.

use std::collections::BTreeMap;

use serde_json::Value;
use stdx::cut;

use super::faults::Fault;
use super::{Ended, Note};
use crate::facts::{ErrorType, Metadata};
use crate::json::View;

/// Tool calls recorded per answer; further ones are only counted.
pub(super) const TOOLS_MAX: usize = 1024;

/// Thoughts recorded per answer; further ones are only counted.
const THOUGHTS_MAX: usize = 1024;

/// One text (arguments, a thought) is recorded up to this length.
const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// All texts of one answer together.
const TEXTS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Identifiers and names are cut to this length, those of requests too: the two are compared.
pub(super) const NAME_BYTES_MAX: usize = 512;

/// At the end of a thought that was cut, which has no metadata of its own.
const CUT_MARK: &str = "\n[cut]";

/// A text that comes in pieces.
#[derive(Default)]
pub(super) struct Gathered {
    text: String,
    cut: bool,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// A tool call that has been read.
#[derive(Default)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) item_id: Option<String>,
    pub(super) tool: String,
    pub(super) input: Gathered,
    pub(super) metadata: Metadata,
}

/// Token counts of one answer. Names of extra counts as in aibridge's records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) input: i64,
    pub(super) output: i64,
    pub(super) cache_read: i64,
    pub(super) cache_write: i64,
    pub(super) extra: BTreeMap<String, i64>,
}

/// How the exchange ended, for [`super::Finish`].
#[derive(Default)]
pub(super) struct Verdict {
    /// Why it is not a success.
    pub(super) error: Option<Fault>,
    /// The client waits for an end that upstream did not send: tell it.
    pub(super) trailer_due: bool,
    /// The words of `error` are the provider's.
    pub(super) quotes_provider: bool,
}

/// What the answer looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The client asked for a stream.
    Stream,
    /// The client did not.
    Body,
    /// A whole body came, whatever the client asked for.
    BodySeen,
}

/// What is known of one exchange.
pub(super) struct Ledger {
    notes: Vec<Note>,
    prompt: Option<String>,
    response_id: String,
    texts_bytes_left: usize,
    tools: usize,
    tools_omitted: usize,
    thoughts: usize,
    thoughts_omitted: usize,
    form: Form,
    /// Something came that is not JSON.
    pub(super) malformed: bool,
    /// The provider said that it failed.
    pub(super) fault: Option<Fault>,
    closed: bool,
}

impl Ledger {
    pub(super) fn new(prompt: Option<String>, asked_stream: bool) -> Self {
        Self {
            notes: Vec::new(),
            prompt,
            response_id: String::new(),
            texts_bytes_left: TEXTS_BYTES_MAX,
            tools: 0,
            tools_omitted: 0,
            thoughts: 0,
            thoughts_omitted: 0,
            form: if asked_stream { Form::Stream } else { Form::Body },
            malformed: false,
            fault: None,
            closed: false,
        }
    }

    /// A whole body came instead of events.
    pub(super) fn body_seen(&mut self) {
        self.form = Form::BodySeen;
    }

    /// Whether a whole body came that is not JSON.
    pub(super) fn is_nonsense(&self) -> bool {
        self.form == Form::BodySeen && self.malformed
    }

    /// The answer's identifier; the first one counts. It completes the prompt.
    pub(super) fn answer(&mut self, id: Option<View<'_>>) {
        if !self.response_id.is_empty() {
            return;
        }
        let Some(id) = id.and_then(View::string).filter(|id| !id.is_empty()) else { return };
        cut(&id, NAME_BYTES_MAX).clone_into(&mut self.response_id);
        self.note_prompt();
    }

    fn note_prompt(&mut self) {
        if let Some(prompt) = self.prompt.take() {
            self.notes.push(Note::Prompt { response_id: self.response_id.clone(), prompt });
        }
    }

    /// Appends to a text as far as the limits allow.
    pub(super) fn gather(&mut self, text: &mut Gathered, more: &str) {
        let room = TEXT_BYTES_MAX.saturating_sub(text.text.len()).min(self.texts_bytes_left);
        let fits = if text.cut { "" } else { cut(more, room) };
        text.cut |= fits.len() < more.len();
        text.text.push_str(fits);
        self.texts_bytes_left -= fits.len();
    }

    /// A name or identifier, bounded.
    pub(super) fn name(value: Option<View<'_>>) -> String {
        let text = value.and_then(View::string).unwrap_or_default();
        cut(&text, NAME_BYTES_MAX).to_owned()
    }

    /// A tool was called. Without `whole` the call broke off in the middle of its arguments.
    pub(super) fn tool(&mut self, call: Call, whole: bool) {
        if self.tools == TOOLS_MAX {
            return self.tool_omitted();
        }
        self.tools += 1;
        let mut metadata = call.metadata;
        if call.input.cut {
            metadata.insert("truncated".to_owned(), Value::Bool(true));
        }
        if !whole {
            metadata.insert("partial".to_owned(), Value::Bool(true));
        }
        self.notes.push(Note::Tool {
            response_id: self.response_id.clone(),
            tool_call_id: call.id,
            item_id: call.item_id,
            tool: call.tool,
            input: call.input.text,
            metadata,
        });
    }

    /// A tool was called of which nothing is kept.
    pub(super) fn tool_omitted(&mut self) {
        self.tools_omitted += 1;
    }

    /// The model thought something.
    pub(super) fn thought(&mut self, thought: Gathered, source: &'static str) {
        if thought.is_empty() {
            return;
        }
        if self.thoughts == THOUGHTS_MAX {
            self.thoughts_omitted += 1;
            return;
        }
        self.thoughts += 1;
        let mut content = thought.text;
        if thought.cut {
            content.push_str(CUT_MARK);
        }
        self.notes.push(Note::Thought { content, source });
    }

    /// A thought that is there as a whole.
    pub(super) fn whole_thought(&mut self, text: Option<View<'_>>, source: &'static str) {
        let mut thought = Gathered::default();
        self.gather(&mut thought, &text.and_then(View::string).unwrap_or_default());
        self.thought(thought, source);
    }

    /// Ends the exchange. `complete` tells whether the API's own end was seen, `counts` what is known of
    /// usage.
    pub(super) fn close(
        &mut self,
        complete: bool,
        counts: Option<Counts>,
        ended: Ended,
        relayed: bool,
    ) -> Verdict {
        if std::mem::replace(&mut self.closed, true) {
            return Verdict::default();
        }
        self.note_prompt();
        let mut metadata = Metadata::new();
        // A client that understands the events cannot have got over it, whatever came behind.
        let broken = self.malformed && self.form == Form::Stream;
        if !complete || broken {
            metadata.insert("partial".to_owned(), Value::Bool(true));
        }
        if counts.is_none() {
            metadata.insert("usage_missing".to_owned(), Value::Bool(true));
        }
        for (name, count) in
            [("tools_omitted", self.tools_omitted), ("thoughts_omitted", self.thoughts_omitted)]
        {
            if count > 0 {
                metadata.insert(name.to_owned(), Value::from(count));
            }
        }
        // A complete answer is noted even without usage, so that it cannot go unseen.
        if counts.is_some() || (complete && self.fault.is_none()) {
            let Counts { input, output, cache_read, cache_write, extra } =
                counts.unwrap_or_default();
            self.notes.push(Note::Tokens {
                response_id: self.response_id.clone(),
                input,
                output,
                cache_read,
                cache_write,
                extra,
                metadata,
            });
        }
        if let Some(fault) = self.fault.take() {
            return Verdict { error: Some(fault), trailer_due: false, quotes_provider: true };
        }
        if complete && broken {
            let message = "the provider sent an event that is not JSON";
            return Verdict {
                error: Some((ErrorType::ServerError, message.to_owned())),
                ..Verdict::default()
            };
        }
        if complete {
            return Verdict::default();
        }
        Verdict {
            error: Some(self.incomplete(ended)),
            trailer_due: relayed && self.form == Form::Stream && ended != Ended::ClientGone,
            quotes_provider: false,
        }
    }

    fn incomplete(&self, ended: Ended) -> Fault {
        let (kind, message) = match ended {
            Ended::Closed if self.form == Form::BodySeen => {
                (ErrorType::ServerError, "the provider's answer is not a JSON object of this API")
            }
            Ended::Closed if self.malformed => (
                ErrorType::ServerError,
                "the provider sent an event that is not JSON and ended before its answer was complete",
            ),
            Ended::Closed => {
                (ErrorType::ServerError, "the provider ended before its answer was complete")
            }
            Ended::UpstreamBroke => {
                (ErrorType::ServerError, "the provider broke off before its answer was complete")
            }
            Ended::TimedOut => (ErrorType::Timeout, "the provider stopped sending its answer"),
            Ended::ClientGone => {
                (ErrorType::ClientGone, "the client left before the answer was complete")
            }
            Ended::ShuttingDown => {
                (ErrorType::ServerError, "the gateway was shut down before the answer was complete")
            }
        };
        (kind, message.to_owned())
    }

    pub(super) fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}
