//! What a person asked, out of a request in which client programs have put much besides.
//!
//! The person's words are the last text of the last message, if that message is the user's. Client
//! programs add reminders, file lists, dates and instructions to it, mostly in tags of their own; these
//! are taken off (see [`strip`]). A message that is nothing but such additions is passed over when the
//! one before it is the user's too. Messages that only carry tool results have no prompt.

mod wrappers;

use stdx::cut;

use crate::json::View;

pub use wrappers::strip;

/// How many messages are looked at from the end.
pub const LOOK_BACK_MAX: usize = 8;

/// Longer prompts are cut in records.
pub const PROMPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What one message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// These words of a person.
    Words(String),
    /// Only what a client program added.
    Wrappers,
    /// Nothing, or it is not the user's.
    Nothing,
}

/// The prompt among messages, given the last one first.
#[must_use]
pub fn last(messages: &[View<'_>], read: fn(View<'_>) -> Said) -> Option<String> {
    for message in messages {
        match read(*message) {
            Said::Words(words) => return Some(words),
            Said::Wrappers => {}
            Said::Nothing => return None,
        }
    }
    None
}

/// Content of a user message in Messages and Chat Completions: a string, or the last part of type `text`
/// that has words.
#[must_use]
pub fn last_text(content: View<'_>) -> Said {
    if let Some(text) = content.string() {
        return words(strip(&text));
    }
    let mut said = Said::Nothing;
    let mut results = false;
    for part in content.items() {
        let [kind, text] = part.fields(["type", "text"]);
        match kind.and_then(View::string).as_deref() {
            Some("tool_result") => results = true,
            Some("text") => {
                let Some(text) = text.and_then(View::string) else { continue };
                match (words(strip(&text)), &said) {
                    (Said::Wrappers, Said::Words(_)) => {}
                    (new, _) => said = new,
                }
            }
            _ => {}
        }
    }
    // Reminders beside tool results do not make the message before this one the prompt.
    if results && said == Said::Wrappers { Said::Nothing } else { said }
}

/// Content of a user item in Responses: a string, or all parts of type `input_text`, one per line.
#[must_use]
pub fn joined_texts(content: View<'_>) -> Said {
    if let Some(text) = content.string() {
        return words(strip(&text));
    }
    let mut all = String::new();
    let mut seen = false;
    for part in content.items() {
        let [kind, text] = part.fields(["type", "text"]);
        let is_text = kind.and_then(View::string).is_some_and(|kind| kind == "input_text");
        let Some(text) = text.and_then(View::string).filter(|_| is_text) else { continue };
        seen = true;
        if let Some(words) = strip(&text) {
            if !all.is_empty() {
                all.push('\n');
            }
            all.push_str(&words);
        }
    }
    if seen { words((!all.is_empty()).then_some(all.into())) } else { Said::Nothing }
}

fn words(text: Option<std::borrow::Cow<'_, str>>) -> Said {
    match text {
        None => Said::Wrappers,
        Some(text) if text.len() <= PROMPT_BYTES_MAX => Said::Words(text.into_owned()),
        Some(text) => Said::Words(format!("{}\n[cut]", cut(&text, PROMPT_BYTES_MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_text;

    #[test]
    fn last_text_is_the_last_part_with_words() {
        for (content, want) in [
            (r#""hello""#, Some("hello")),
            (r#"[{"type":"text","text":"one"},{"type":"text","text":"two"}]"#, Some("two")),
            (
                r#"[{"type":"text","text":"one"},{"type":"text","text":"<system-reminder>x</system-reminder>"}]"#,
                Some("one"),
            ),
            (r#"[{"type":"text","text":7},{"type":"image","source":{}}]"#, None),
            (
                r#"[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"no"}]}]"#,
                None,
            ),
            (
                r#"[{"type":"tool_result","tool_use_id":"t"},{"type":"text","text":"stop it"}]"#,
                Some("stop it"),
            ),
            ("{}", None),
            ("12", None),
            ("[]", None),
        ] {
            let want = want.map(|words| Said::Words(words.to_owned()));
            let said = last_text(parse_text(content).unwrap());
            assert_eq!(Some(said).filter(|s| matches!(s, Said::Words(_))), want, "{content}");
        }
    }

    #[test]
    fn wrappers_beside_tool_results_do_not_reach_back() {
        let reminder = r#"{"type":"text","text":"<system-reminder>x</system-reminder>"}"#;
        let alone = format!("[{reminder}]");
        let beside = format!(r#"[{{"type":"tool_result","tool_use_id":"t"}},{reminder}]"#);
        assert_eq!(last_text(parse_text(&alone).unwrap()), Said::Wrappers);
        assert_eq!(last_text(parse_text(&beside).unwrap()), Said::Nothing);
    }

    #[test]
    fn joined_texts_join_by_line() {
        let content = parse_text(
            r#"[{"type":"input_text","text":"a"},{"type":"input_image"},{"type":"input_text","text":"b"},
                {"type":"input_text","text":"<environment_context>x</environment_context>"}]"#,
        );
        assert_eq!(joined_texts(content.unwrap()), Said::Words("a\nb".into()));
        assert_eq!(
            joined_texts(parse_text("[{\"type\":\"input_image\"}]").unwrap()),
            Said::Nothing
        );
    }

    #[test]
    fn long_prompts_are_cut() {
        let text = format!("\"{}\"", "x".repeat(PROMPT_BYTES_MAX + 1));
        let Said::Words(words) = last_text(parse_text(&text).unwrap()) else { panic!("no words") };
        assert_eq!(words.len(), PROMPT_BYTES_MAX + "\n[cut]".len());
    }
}
