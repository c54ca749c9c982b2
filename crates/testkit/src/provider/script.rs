//! What to answer: the same for all three APIs.

use serde_json::{Map, Value, json};

use super::ledger::Usage;

/// Words beyond this number are not made, whatever the prompt asks for.
const WORDS_MAX: usize = 100_000;
/// Calls beyond this number are not made.
const CALLS_MAX: usize = 32;
/// How much of the prompt the answer repeats, in characters.
const ECHO_MAX: usize = 120;

/// A request, reduced to what decides the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) stream: bool,
    /// The text of the last message, if the user wrote it.
    pub(super) prompt: String,
    /// The results of tools in the last turn. Not empty: the answer is about them, in text.
    pub(super) results: Vec<String>,
    pub(super) tools: Vec<Tool>,
    pub(super) choice: Choice,
    /// Whether the client asked the model to reason.
    pub(super) reason: bool,
    /// The schema that the answer's text must satisfy.
    pub(super) schema: Option<Value>,
    /// Bytes of the request, the base of the input's token count.
    pub(super) bytes: usize,
}

/// A tool that the client offers.
#[derive(Clone, Debug, Default)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) schema: Value,
    /// Takes free text instead of an object.
    pub(super) custom: bool,
}

/// Which tool must be called whatever the prompt says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Choice {
    #[default]
    Auto,
    Forbidden,
    Any,
    Named(String),
}

/// The answer before it is put into an API's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) thinking: Option<String>,
    pub(super) text: Option<String>,
    pub(super) calls: Vec<PlannedCall>,
    pub(super) usage: Usage,
    /// The text is the model's refusal to answer.
    pub(super) refused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedCall {
    pub(super) name: String,
    pub(super) arguments: Value,
    pub(super) custom: bool,
}

/// The words in a prompt that steer the answer.
///
/// - `use-tool:NAME {"a": 1}`: calls the tool of that name with that object, if the client offers it;
///   without an object, with the least one that the tool's schema allows. Several make parallel calls.
/// - `cache:` or `cache:READ/WRITE`: counts tokens as read from and written to a cache, and as reasoning.
/// - `words:N`: answers with that many words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    /// Tools to call, in order, each with its arguments if some were given.
    pub tools: Vec<(String, Option<Value>)>,
    /// Tokens read from and written to the cache.
    pub cache: Option<(u64, u64)>,
    /// The length of the answer.
    pub words: Option<usize>,
}

impl Directives {
    /// Finds the directives in a prompt. What does not parse is plain text.
    #[must_use]
    pub fn parse(prompt: &str) -> Self {
        let mut found = Self::default();
        for (at, _) in prompt.match_indices("use-tool:").take(CALLS_MAX) {
            let rest = prompt.get(at + "use-tool:".len()..).unwrap_or_default();
            let end = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
                .unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            if name.is_empty() {
                continue;
            }
            let arguments = serde_json::Deserializer::from_str(rest)
                .into_iter::<Map<String, Value>>()
                .next()
                .and_then(Result::ok)
                .map(Value::Object);
            found.tools.push((name.to_owned(), arguments));
        }
        if let Some(rest) = after(prompt, "cache:") {
            let (read, rest) = leading_number(rest);
            let write = rest.strip_prefix('/').and_then(|rest| leading_number(rest).0);
            found.cache = Some((read.unwrap_or(64), write.unwrap_or(32)));
        }
        found.words = after(prompt, "words:")
            .and_then(|rest| leading_number(rest).0)
            .and_then(|count| usize::try_from(count).ok())
            .map(|count| count.min(WORDS_MAX));
        found
    }
}

fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.find(word).and_then(|at| text.get(at + word.len()..))
}

fn leading_number(text: &str) -> (Option<u64>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (digits.parse().ok(), rest)
}

impl Ask {
    /// The answer to this request, decided by the request alone.
    pub(super) fn plan(&self) -> Plan {
        let directives = Directives::parse(&self.prompt);
        let calls = self.calls(&directives);
        let thinking =
            self.reason.then(|| format!("The user says {}. A short answer will do.", self.echo()));
        let text = self.text(&directives, calls.is_empty());
        let (cache_read, cache_write) = directives.cache.unwrap_or_default();
        let said = text.as_ref().map_or(0, |t| tokens(t.len()));
        let called: u64 =
            calls.iter().map(|c| tokens(c.name.len() + c.arguments.to_string().len())).sum();
        let thought = match &thinking {
            Some(thinking) => tokens(thinking.len()),
            None if directives.cache.is_some() => 16,
            None => 0,
        };
        Plan {
            usage: Usage {
                input: tokens(self.bytes),
                output: said + called + thought,
                cache_read,
                cache_write,
                reasoning: thought,
            },
            thinking,
            text,
            calls,
            refused: false,
        }
    }

    fn calls(&self, directives: &Directives) -> Vec<PlannedCall> {
        let call = |tool: &Tool, arguments: Option<Value>| PlannedCall {
            name: tool.name.clone(),
            arguments: match arguments {
                Some(given) if tool.custom => Value::String(given.to_string()),
                None if tool.custom => Value::String("input".to_owned()),
                Some(given) => given,
                None => sample(&tool.schema, 0),
            },
            custom: tool.custom,
        };
        if self.choice == Choice::Forbidden || !self.results.is_empty() {
            return Vec::new();
        }
        let wanted: Vec<PlannedCall> = directives
            .tools
            .iter()
            .filter_map(|(name, arguments)| {
                let tool = self.tools.iter().find(|tool| tool.name == *name)?;
                Some(call(tool, arguments.clone()))
            })
            .collect();
        let forced = match &self.choice {
            Choice::Any if wanted.is_empty() => self.tools.first(),
            Choice::Named(name) if wanted.iter().all(|c| c.name != *name) => {
                self.tools.iter().find(|tool| tool.name == *name)
            }
            _ => None,
        };
        match forced {
            Some(tool) => vec![call(tool, None)],
            None => wanted,
        }
    }

    fn text(&self, directives: &Directives, alone: bool) -> Option<String> {
        if let Some(count) = directives.words {
            let words: Vec<String> = (1..=count).map(|n| format!("word{n}")).collect();
            return Some(words.join(" "));
        }
        if let Some(schema) = &self.schema {
            return alone.then(|| sample(schema, 0).to_string());
        }
        if !self.results.is_empty() {
            let results = self.results.join("; ");
            return Some(format!("The tool answered: {}", short(&results)));
        }
        if !alone {
            return None;
        }
        Some(format!(
            "This is the demo provider. You said {} ({} words).",
            self.echo(),
            self.prompt.split_whitespace().count()
        ))
    }

    fn echo(&self) -> String {
        format!("\"{}\"", short(&self.prompt))
    }
}

fn short(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(ECHO_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Four bytes to the token, as a rule of thumb, and never none.
pub(super) fn tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(4)).unwrap_or(u64::MAX).max(1)
}

/// The least value that a JSON schema allows, as far as `type`, `enum`, `const`, `properties` and
/// `required` tell. Deep or circular schemas end in null.
pub(super) fn sample(schema: &Value, depth: usize) -> Value {
    if depth > 8 {
        return Value::Null;
    }
    if let Some(value) = schema.get("const").or_else(|| schema.pointer("/enum/0")) {
        return value.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("string") => json!("text"),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(true),
        Some("null") => Value::Null,
        Some("array") => match schema["minItems"].as_u64() {
            Some(1..) => json!([sample(&schema["items"], depth + 1)]),
            _ => json!([]),
        },
        _ => {
            let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
            let fields = required.iter().filter_map(Value::as_str).map(|name| {
                let value =
                    schema["properties"].get(name).map_or(Value::Null, |s| sample(s, depth + 1));
                (name.to_owned(), value)
            });
            Value::Object(fields.collect())
        }
    }
}

/// Cuts a text into the pieces in which a stream brings it: a word and its space each.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_found_and_everything_else_is_text() {
        let cases = [
            ("", Directives::default()),
            ("use-tool:", Directives::default()),
            ("use-tool: x", Directives::default()),
            ("words:many", Directives::default()),
            (
                "use-tool:a {\"x\": [1]} and use-tool:b.c-d, use-tool:e {broken",
                Directives {
                    tools: vec![
                        ("a".into(), Some(json!({"x": [1]}))),
                        ("b.c-d".into(), None),
                        ("e".into(), None),
                    ],
                    ..Directives::default()
                },
            ),
            (
                "cache: words:3",
                Directives { cache: Some((64, 32)), words: Some(3), ..Directives::default() },
            ),
            (
                "cache:7/9 words:99999999",
                Directives { cache: Some((7, 9)), words: Some(WORDS_MAX), ..Directives::default() },
            ),
        ];
        for (prompt, wanted) in cases {
            assert_eq!(Directives::parse(prompt), wanted, "{prompt}");
        }
    }

    #[test]
    fn a_tool_is_called_only_if_it_is_offered_allowed_and_not_yet_answered() {
        let ask = Ask {
            prompt: "use-tool:get use-tool:absent".into(),
            tools: vec![Tool {
                name: "get".into(),
                schema: json!({"type": "object", "required": ["city"],
                    "properties": {"city": {"type": "string"}, "unit": {"enum": ["c"]}}}),
                custom: false,
            }],
            ..Ask::default()
        };
        let plan = ask.plan();
        assert_eq!(plan.text, None);
        assert_eq!(plan.calls.len(), 1);
        assert_eq!(plan.calls.first().unwrap().arguments, json!({"city": "text"}));

        let mut forbidden = ask.clone();
        forbidden.choice = Choice::Forbidden;
        assert!(forbidden.plan().calls.is_empty());

        let mut answered = ask.clone();
        answered.results = vec!["12 degrees".into()];
        let plan = answered.plan();
        assert!(plan.calls.is_empty());
        assert_eq!(plan.text.unwrap(), "The tool answered: 12 degrees");

        for choice in [Choice::Any, Choice::Named("get".into())] {
            let mut forced = ask.clone();
            forced.prompt = "no directive".into();
            forced.choice = choice;
            assert_eq!(forced.plan().calls.len(), 1);
        }
    }

    #[test]
    fn reasoning_and_cache_show_in_the_counts() {
        let plain = Ask { prompt: "hello".into(), ..Ask::default() }.plan();
        assert_eq!((plain.usage.reasoning, plain.usage.cache_read), (0, 0));
        let rich = Ask { prompt: "hello cache:5/6".into(), ..Ask::default() }.plan();
        assert_eq!((rich.usage.cache_read, rich.usage.cache_write), (5, 6));
        assert!(rich.usage.reasoning > 0 && rich.usage.output > rich.usage.reasoning);
        let thought = Ask { reason: true, ..Ask::default() }.plan();
        assert!(thought.thinking.is_some() && thought.usage.reasoning > 0);
    }
}
