//! The requests of the load, and how their answers are read.

use serde_json::{Value, json};

use super::dice::Dice;
use crate::served::Tokens;

/// A wire API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Messages,
    Chat,
    Responses,
}

/// One request. Everything follows from the seed and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    /// Counts from 1.
    pub(super) number: u64,
    pub(super) api: Api,
    pub(super) stream: bool,
    pub(super) prompt: String,
    /// The client offers a tool, and the prompt has it called.
    pub(super) tool: bool,
    /// A stream of Chat Completions tells its usage only if asked to.
    pub(super) tells_usage: bool,
    /// The client goes away after this many bytes.
    pub(super) leave_after: Option<usize>,
    /// Which of the tokens it brings.
    pub(super) token: usize,
}

/// What an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// The API's own sign that this was all.
    pub(super) ended: bool,
    /// The answer says that it failed.
    pub(super) failed: bool,
    pub(super) tokens: Option<Tokens>,
    pub(super) text: String,
}

impl Ask {
    pub(super) fn make(seed: u64, number: u64, tokens: usize, marker: &str) -> Self {
        let mut dice = Dice::of(seed, number);
        let api = match dice.below(3) {
            0 => Api::Messages,
            1 => Api::Chat,
            _ => Api::Responses,
        };
        let stream = !dice.one_in(3);
        let tool = dice.one_in(6);
        let mut words = vec![format!("{marker} {number} words:{}", 3 + dice.below(60))];
        if dice.one_in(2) {
            words.push(format!("cache:{}/{}", dice.below(900), dice.below(90)));
        }
        if tool {
            words.push(format!("use-tool:look_up {{\"row\": {number}}}"));
        }
        let leaves = stream && dice.one_in(40);
        Self {
            number,
            api,
            stream,
            prompt: words.join(" "),
            tool,
            tells_usage: api != Api::Chat || !stream || dice.one_in(2),
            leave_after: leaves.then(|| 200 + usize::try_from(dice.below(4_000)).unwrap_or(0)),
            token: usize::try_from(dice.below(tokens as u64)).unwrap_or_default(),
        }
    }

    /// Below the gateway's prefix.
    pub(super) const fn path(&self) -> &'static str {
        match self.api {
            Api::Messages => "/anthropic/v1/messages",
            Api::Chat => "/openai/v1/chat/completions",
            Api::Responses => "/openai/v1/responses",
        }
    }

    /// The program that the client claims to be: how a record is found whose answer never came.
    pub(super) fn user_agent(&self) -> String {
        format!("{AGENT}{}", self.number)
    }

    pub(super) fn body(&self) -> String {
        let schema = json!({"type": "object", "properties": {"row": {"type": "integer"}}});
        let messages = json!([{"role": "user", "content": self.prompt}]);
        let mut body = match self.api {
            Api::Messages => json!({
                "model": "claude-sonnet-5", "max_tokens": 2_000, "messages": messages,
                "tools": [{"name": "look_up", "input_schema": schema}],
            }),
            Api::Chat => json!({
                "model": "gpt-5.1", "messages": messages, "stream_options": {"include_usage": true},
                "tools": [{"type": "function", "function": {"name": "look_up", "parameters": schema}}],
            }),
            Api::Responses => json!({
                "model": "gpt-5.1", "input": self.prompt,
                "tools": [{"type": "function", "name": "look_up", "parameters": schema, "strict": false}],
            }),
        };
        if let Value::Object(fields) = &mut body {
            fields.insert("stream".to_owned(), json!(self.stream));
            if !self.tool {
                fields.remove("tools");
            }
            if !self.stream || !self.tells_usage {
                fields.remove("stream_options");
            }
        }
        body.to_string()
    }

    /// Reads what came of an answer.
    pub(super) fn read(&self, body: &[u8]) -> Said {
        let mut said = Said::default();
        if self.stream {
            // The last line may be torn: a frame counts once its blank line is there.
            let text = String::from_utf8_lossy(body);
            for frame in text.split_inclusive("\n\n").filter(|frame| frame.ends_with("\n\n")) {
                for line in frame.lines() {
                    match line.strip_prefix("data:").map(str::trim) {
                        Some("[DONE]") => said.ended = self.api == Api::Chat,
                        Some(data) => match serde_json::from_str(data) {
                            Ok(event) => self.event(&event, &mut said),
                            Err(_) => said.failed = true,
                        },
                        None => {}
                    }
                }
            }
        } else if let Ok(whole) = serde_json::from_slice::<Value>(body) {
            said.ended = true;
            said.failed = whole.get("error").is_some_and(|error| !error.is_null());
            said.tokens = self.tokens(at(&whole, "/usage"));
            said.text = self.text(&whole);
        }
        said
    }

    fn event(&self, event: &Value, said: &mut Said) {
        let kind = event["type"].as_str().unwrap_or_default();
        let delta = match (self.api, kind) {
            (Api::Messages, "message_delta") => {
                said.tokens = self.tokens(&event["usage"]);
                &Value::Null
            }
            (Api::Messages, "message_stop") => {
                said.ended = true;
                &Value::Null
            }
            (Api::Messages, "content_block_delta") => at(event, "/delta/text"),
            (Api::Responses, "response.output_text.delta") => &event["delta"],
            (Api::Responses, "response.completed") => {
                said.ended = true;
                said.tokens = self.tokens(at(event, "/response/usage"));
                &Value::Null
            }
            (_, "error" | "response.failed" | "response.incomplete") => {
                said.failed = true;
                &Value::Null
            }
            (Api::Chat, _) => {
                said.failed |= event.get("error").is_some_and(|error| !error.is_null());
                said.tokens = said.tokens.or_else(|| self.tokens(&event["usage"]));
                at(event, "/choices/0/delta/content")
            }
            _ => &Value::Null,
        };
        said.text.push_str(delta.as_str().unwrap_or_default());
    }

    fn tokens(&self, usage: &Value) -> Option<Tokens> {
        let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_i64);
        let of_openai = |input: &str, output: &str| {
            let (read, write, thought) = (
                count(&format!("/{input}_tokens_details/cached_tokens"))?,
                count(&format!("/{input}_tokens_details/cache_write_tokens"))?,
                count(&format!("/{output}_tokens_details/reasoning_tokens"))?,
            );
            Some(Tokens {
                input: count(&format!("/{input}_tokens"))? - read - write,
                output: count(&format!("/{output}_tokens"))?,
                cache_read: read,
                cache_write: write,
                reasoning: thought,
            })
        };
        match self.api {
            Api::Messages => Some(Tokens {
                input: count("/input_tokens")?,
                output: count("/output_tokens")?,
                cache_read: count("/cache_read_input_tokens")?,
                cache_write: count("/cache_creation_input_tokens")?,
                reasoning: count("/output_tokens_details/thinking_tokens")?,
            }),
            Api::Chat => of_openai("prompt", "completion"),
            Api::Responses => of_openai("input", "output"),
        }
    }

    fn text(&self, whole: &Value) -> String {
        let items = |list: &Value, field: &str| -> String {
            let list = list.as_array().map_or(&[][..], Vec::as_slice);
            list.iter().filter_map(|item| item[field].as_str()).collect()
        };
        match self.api {
            Api::Messages => items(&whole["content"], "text"),
            Api::Chat => {
                at(whole, "/choices/0/message/content").as_str().unwrap_or_default().into()
            }
            Api::Responses => {
                let output = whole["output"].as_array().map_or(&[][..], Vec::as_slice);
                output.iter().map(|item| items(&item["content"], "text")).collect()
            }
        }
    }
}

/// What stands at a place; null if nothing does.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

const AGENT: &str = "chaos/";

/// The number of the request that came from this program.
pub(super) fn number_of(user_agent: &str) -> Option<u64> {
    user_agent.strip_prefix(AGENT)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(api: Api, stream: bool) -> Ask {
        let ask = Ask::make(1, 1, 4, "marker");
        Ask { api, stream, tells_usage: true, ..ask }
    }

    const TOKENS: Tokens =
        Tokens { input: 5, output: 3, cache_read: 2, cache_write: 1, reasoning: 1 };

    #[test]
    fn the_mix_holds_every_kind_and_repeats_with_its_seed() {
        let all: Vec<Ask> = (1..500).map(|number| Ask::make(9, number, 4, "m")).collect();
        assert_eq!(all, (1..500).map(|number| Ask::make(9, number, 4, "m")).collect::<Vec<_>>());
        for api in [Api::Messages, Api::Chat, Api::Responses] {
            for stream in [false, true] {
                assert!(all.iter().any(|ask| ask.api == api && ask.stream == stream && ask.tool));
            }
        }
        assert!(all.iter().any(|ask| !ask.tells_usage && ask.stream));
        assert!(all.iter().any(|ask| ask.leave_after.is_some()));
        assert!((0..4).all(|token| all.iter().any(|ask| ask.token == token)));
        assert!(all.iter().all(|ask| number_of(&ask.user_agent()) == Some(ask.number)));
        assert_eq!(number_of("curl/8"), None);
    }

    #[test]
    fn a_stream_has_ended_only_with_its_own_last_event_and_a_whole_frame() {
        let usage_messages = json!({"input_tokens": 5, "output_tokens": 3, "cache_read_input_tokens": 2,
            "cache_creation_input_tokens": 1, "output_tokens_details": {"thinking_tokens": 1}});
        let details = json!({"cached_tokens": 2, "cache_write_tokens": 1});
        let usage_chat = json!({"prompt_tokens": 8, "completion_tokens": 3, "prompt_tokens_details": details,
            "completion_tokens_details": {"reasoning_tokens": 1}});
        let usage_responses = json!({"input_tokens": 8, "output_tokens": 3, "input_tokens_details": details,
            "output_tokens_details": {"reasoning_tokens": 1}});
        let cases = [
            (
                Api::Messages,
                format!(
                    "event: x\ndata: {}\n\ndata: {}\n\n",
                    json!({"type": "content_block_delta", "delta": {"text": "hi"}}),
                    json!({"type": "message_delta", "usage": usage_messages}),
                ),
                "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            ),
            (
                Api::Chat,
                format!(
                    "data: {}\n\ndata: {}\n\n",
                    json!({"choices": [{"delta": {"content": "hi"}}], "usage": null}),
                    json!({"choices": [], "usage": usage_chat}),
                ),
                "data: [DONE]\n\n",
            ),
            (
                Api::Responses,
                format!(
                    "data: {}\n\n",
                    json!({"type": "response.output_text.delta", "delta": "hi"})
                ),
                &format!(
                    "data: {}\n\n",
                    json!({"type": "response.completed", "response": {"usage": usage_responses}})
                ),
            ),
        ];
        for (api, body, last) in cases {
            let ask = ask(api, true);
            for cut in 0..last.len() {
                let said = ask.read(format!("{body}{}", &last[..cut]).as_bytes());
                assert!(
                    !said.ended && !said.failed && said.text == "hi",
                    "{api:?} {cut}: {said:?}"
                );
            }
            let said = ask.read(format!("{body}{last}").as_bytes());
            assert!(said.ended && !said.failed, "{api:?}: {said:?}");
            assert_eq!(said.tokens, Some(TOKENS), "{api:?}");
        }
    }

    #[test]
    fn an_answer_that_tells_of_a_failure_is_told_apart() {
        let error = |kind: &str| format!("data: {{\"type\":\"{kind}\",\"error\":{{}}}}\n\n");
        assert!(ask(Api::Messages, true).read(error("error").as_bytes()).failed);
        assert!(ask(Api::Responses, true).read(error("response.failed").as_bytes()).failed);
        assert!(ask(Api::Chat, true).read(error("").as_bytes()).failed);
        assert!(ask(Api::Chat, true).read(b"data: {torn\n\n").failed);
        for api in [Api::Messages, Api::Chat, Api::Responses] {
            assert!(ask(api, false).read(b"{\"error\":{}}").failed);
            assert!(!ask(api, false).read(b"{\"usage\":").ended);
        }
    }

    #[test]
    fn a_blocking_answer_tells_its_text() {
        let cases = [
            (
                Api::Messages,
                json!({"content": [{"type": "text", "text": "a"}, {"type": "tool_use"}]}),
            ),
            (Api::Chat, json!({"choices": [{"message": {"content": "a"}}]})),
            (
                Api::Responses,
                json!({"error": null, "output": [{"type": "x"}, {"content": [{"text": "a"}]}]}),
            ),
        ];
        for (api, body) in cases {
            let said = ask(api, false).read(body.to_string().as_bytes());
            assert_eq!(
                (said.text.as_str(), said.ended, said.failed),
                ("a", true, false),
                "{api:?}"
            );
        }
    }
}
