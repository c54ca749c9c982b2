//! Taking off what client programs wrap around a person's words.

use std::borrow::Cow;

use aibridge::json::{View, parse_text};
use aibridge::prompt::{PROMPT_BYTES_MAX, Said, joined_texts, last_text, strip};

/// Strips a text, alone and as the content of messages.
///
/// Nothing is invented: words are left out, never added or moved. Words are never blank. A content that is a
/// string or one part says what the text says.
///
/// # Panics
/// When a check fails.
pub fn prompt(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let words = strip(&text);
    match &words {
        None => {}
        Some(Cow::Borrowed(same)) => assert_eq!(*same, text, "a part was lent out as the whole"),
        Some(Cow::Owned(words)) => {
            assert!(!words.trim().is_empty(), "blank words");
            let mut rest = text.bytes();
            assert!(words.bytes().all(|w| rest.any(|t| t == w)), "words that are not in the text");
        }
    }
    let said = words.map_or(Said::Wrappers, |words| Said::Words(words.into_owned()));
    if text.len() > PROMPT_BYTES_MAX {
        return;
    }
    let quoted = serde_json::Value::from(&*text).to_string();
    let part = |kind: &str| format!(r#"[{{"type":"image"}},{{"type":"{kind}","text":{quoted}}}]"#);
    for (content, read) in [
        (quoted.clone(), last_text as fn(View<'_>) -> Said),
        (part("text"), last_text),
        (quoted.clone(), joined_texts),
        (part("input_text"), joined_texts),
    ] {
        let Ok(view) = parse_text(&content) else { unreachable!("made by serde_json") };
        assert_eq!(read(view), said, "{content}");
    }
}
