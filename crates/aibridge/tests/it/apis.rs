//! The wire APIs as a table, for tests that hold for all of them.

use aibridge::ProviderKind::{self, Anthropic, OpenAi};

use crate::happy::{CHAT, CHAT_STREAM, MESSAGE, MESSAGE_STREAM, RESPONSE, owned, response_stream};
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{World, row};

/// One wire API, with a good answer and what is recorded of it.
pub(crate) struct Api {
    pub(crate) kind: ProviderKind,
    /// At provider `p`.
    pub(crate) path: &'static str,
    /// What a provider's base URL ends in.
    pub(crate) base: &'static str,
    /// The request without the closing brace.
    request: &'static str,
    /// The good answer in one piece.
    pub(crate) body: &'static str,
    /// The good answer as a stream; the first event tells its identifier.
    pub(crate) frames: Vec<String>,
    /// The usage that the first event tells, as recorded.
    pub(crate) early_tokens: Option<&'static str>,
    /// What the good answer leaves in the book.
    body_notes: &'static [&'static str],
    stream_notes: &'static [&'static str],
    id: &'static str,
}

pub(crate) fn apis() -> [Api; 3] {
    const TOKENS: &str =
        r#"tokens "msg_1" in=10 out=7 read=3 write=2 cache_creation_input=2 cache_read_input=3"#;
    const CHAT_NOTES: &[&str] =
        &[r#"tokens "chatcmpl-1" in=7 out=4 read=5 write=0 prompt_cached=5"#];
    const RESPONSE_NOTES: &[&str] = &[
        r#"tokens "resp_1" in=7 out=4 read=5 write=0 input_cached=5 output_reasoning=1 total_tokens=16"#,
    ];
    [
        Api {
            kind: Anthropic,
            path: "/p/v1/messages",
            base: "",
            request: r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]"#,
            body: MESSAGE,
            frames: owned(MESSAGE_STREAM),
            early_tokens: Some(
                r#"tokens "msg_1" in=10 out=1 read=3 write=2 cache_creation_input=2 cache_read_input=3 partial=true"#,
            ),
            body_notes: &[
                r#"thought "let me see" source="thinking""#,
                r#"tool "msg_1" "toolu_1" bash {"cmd":"ls"}"#,
                TOKENS,
            ],
            stream_notes: &[TOKENS],
            id: "msg_1",
        },
        Api {
            kind: OpenAi,
            path: "/p/v1/chat/completions",
            base: "/v1",
            request: r#"{"model":"m","stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}]"#,
            body: CHAT,
            frames: owned(CHAT_STREAM),
            early_tokens: None,
            body_notes: CHAT_NOTES,
            stream_notes: CHAT_NOTES,
            id: "chatcmpl-1",
        },
        Api {
            kind: OpenAi,
            path: "/p/v1/responses",
            base: "/v1",
            request: r#"{"model":"m","input":"Hi""#,
            body: RESPONSE,
            frames: response_stream(),
            early_tokens: None,
            body_notes: RESPONSE_NOTES,
            stream_notes: RESPONSE_NOTES,
            id: "resp_1",
        },
    ]
}

/// An error of the gateway as the APIs word it: type of Anthropic, type and code of OpenAI.
#[derive(Clone, Copy)]
pub(crate) struct Wording(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
);

impl Api {
    pub(crate) fn request(&self, stream: bool) -> String {
        let rest = if stream { r#","stream":true}"# } else { "}" };
        format!("{}{rest}", self.request)
    }

    /// A gateway whose provider `p` is at `url`.
    pub(crate) fn world_at(&self, url: &str) -> World {
        let world = World::new();
        world.install(&[row(self.kind, "p", &format!("{url}{}", self.base), &["k"])]);
        world
    }

    /// A gateway whose provider `p` always answers the same.
    pub(crate) async fn world(&self, reply: Reply) -> (World, Upstream) {
        let world = World::new();
        let provider = Upstream::always(&world.lifecycle, reply).await;
        world.install(&[row(self.kind, "p", &provider.url(self.base), &["k"])]);
        (world, provider)
    }

    /// The body of an error answer.
    pub(crate) fn error(&self, Wording(anthropic, openai, code): Wording, message: &str) -> String {
        let message = serde_json::Value::from(message);
        if self.kind == Anthropic {
            format!(r#"{{"error":{{"message":{message},"type":"{anthropic}"}},"type":"error"}}"#)
        } else {
            format!(
                r#"{{"error":{{"code":"{code}","message":{message},"param":null,"type":"{openai}"}}}}"#
            )
        }
    }

    /// The end of a stream that broke off after its first event.
    pub(crate) fn trailer(&self, message: &str) -> String {
        match self.id {
            "msg_1" => format!(
                "event: error\ndata: {{\"error\":{{\"message\":\"{message}\",\"type\":\"api_error\"}},\"type\":\"error\"}}\n\n"
            ),
            "chatcmpl-1" => format!(
                "data: {{\"error\":{{\"code\":\"stream_interrupted\",\"message\":\"{message}\",\"param\":null,\"type\":\"server_error\"}}}}\n\ndata: [DONE]\n\n"
            ),
            _ => format!(
                "event: error\ndata: {{\"code\":\"server_error\",\"message\":\"{message}\",\"param\":null,\"sequence_number\":1,\"type\":\"error\"}}\n\n"
            ),
        }
    }

    fn start(&self) -> String {
        let kind = self.kind.as_str();
        format!(r#"start {kind} p m "Unknown" centralized "" session=None result-of=None"#)
    }

    /// The book after an answer of which nothing was understood.
    pub(crate) fn book_without_answer(&self, end: &str) -> Vec<String> {
        vec![self.start(), r#"prompt "" "Hi""#.to_owned(), end.to_owned()]
    }

    /// The book after a stream of which only the first event was understood.
    pub(crate) fn book_of_first_event(&self, end: &str) -> Vec<String> {
        let mut lines = vec![self.start(), format!(r#"prompt "{}" "Hi""#, self.id)];
        lines.extend(self.early_tokens.map(str::to_owned));
        lines.push(end.to_owned());
        lines
    }

    /// The book after the whole good answer.
    pub(crate) fn book_of_answer(&self, stream: bool, end: &str) -> Vec<String> {
        let notes = if stream { self.stream_notes } else { self.body_notes };
        let mut lines = vec![self.start(), format!(r#"prompt "{}" "Hi""#, self.id)];
        lines.extend(notes.iter().map(|&note| note.to_owned()));
        lines.push(end.to_owned());
        lines
    }
}

/// An answer in these steps, as a stream or as JSON of undeclared length.
pub(crate) fn reply(stream: bool, steps: Vec<Step>) -> Reply {
    let mut reply = Reply::stream(steps);
    if !stream {
        reply.headers = vec![("content-type", "application/json".to_owned())];
    }
    reply
}

/// Each piece as a step.
pub(crate) fn sends(pieces: &[String]) -> Vec<Step> {
    pieces.iter().map(|piece| send(piece)).collect()
}
