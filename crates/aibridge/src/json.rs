//! Reads and edits JSON text where it lies, without building a tree of it.
//!
//! A document is validated once, without recursion, so that depth costs nothing; after that a [`View`]
//! finds its way by skipping. Strings are decoded only when asked for, and leniently: half a surrogate
//! pair, which clients that cut text by UTF-16 units do send, becomes U+FFFD instead of an error.

mod edit;
mod scan;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use serde::Deserializer as _;
use serde::de::Visitor;
use serde_json::value::RawValue;

pub use edit::{EditError, remove, set};
use scan::{Items, Members};

/// Token counts and the like beyond this are taken for nonsense.
const COUNT_MAX: i64 = 1_000_000_000_000;

/// Why a text is not JSON, and where. Quotes nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at line {line} column {column}")]
pub struct Malformed {
    /// What was wrong.
    pub reason: String,
    /// Counted from 1.
    pub line: usize,
    /// In bytes, counted from 1; 0 when the line is empty.
    pub column: usize,
}

/// A value inside a valid JSON text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct View<'a> {
    text: &'a str,
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} bytes)", self.text.len())
    }
}

/// Validates a whole document.
///
/// # Errors
/// [`Malformed`] when `body` is not UTF-8 or not exactly one JSON value.
pub fn parse(body: &[u8]) -> Result<View<'_>, Malformed> {
    parse_text(std::str::from_utf8(body).map_err(|err| not_utf8(body, err.valid_up_to()))?)
}

/// Validates a whole document that is known to be UTF-8.
///
/// # Errors
/// [`Malformed`] when `text` is not exactly one JSON value.
pub fn parse_text(text: &str) -> Result<View<'_>, Malformed> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|err| malformed(&err))?;
    Ok(View { text: raw.get() })
}

/// A whole document that has been validated before. Of one that is not valid less is found, or something
/// that a validating reader would not have got to; nothing worse.
#[must_use]
pub fn valid(body: &[u8]) -> Option<View<'_>> {
    let text = std::str::from_utf8(body).ok()?;
    Some(View { text: text.trim_ascii() })
}

/// The value at the end of a path of object keys. Absent when a key is missing or `null`.
///
/// # Errors
/// [`Malformed`] when `body` is not a JSON document.
pub fn get<'a>(body: &'a [u8], path: &[&str]) -> Result<Option<View<'a>>, Malformed> {
    let root = parse(body)?;
    Ok(path.iter().try_fold(root, |at, key| at.field(key)))
}

fn not_utf8(body: &[u8], at: usize) -> Malformed {
    let before = body.get(..at).unwrap_or_default();
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |lf| lf + 1);
    Malformed {
        reason: "invalid UTF-8".to_owned(),
        line: memchr::memchr_iter(b'\n', before).count() + 1,
        column: at - line_start + 1,
    }
}

fn malformed(err: &serde_json::Error) -> Malformed {
    let text = err.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    Malformed { reason: reason.to_owned(), line: err.line(), column: err.column() }
}

impl<'a> View<'a> {
    /// The value as it was written.
    #[must_use]
    pub const fn text(self) -> &'a str {
        self.text
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// Whether it is an array.
    #[must_use]
    pub fn is_array(self) -> bool {
        self.text.starts_with('[')
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.text == "null"
    }

    /// Several members of an object in one pass. A missing one and `null` are the same; of members with
    /// the same key the last one counts. Other values than objects have no members.
    #[must_use]
    pub fn fields<const N: usize>(self, keys: [&str; N]) -> [Option<View<'a>>; N] {
        let mut found = [None; N];
        for member in Members::of(self.text) {
            let Some(value) = self.text.get(member.value.clone()) else { continue };
            for (slot, key) in found.iter_mut().zip(keys) {
                if member.is(self.text, key) {
                    *slot = Some(View { text: value }).filter(|v| !v.is_null());
                }
            }
        }
        found
    }

    /// Several members of an object in one pass, each of which may be there once.
    ///
    /// # Errors
    /// The first key that is there again.
    pub fn single_fields<const N: usize>(
        self,
        keys: [&'static str; N],
    ) -> Result<[Option<View<'a>>; N], &'static str> {
        let mut found = [None; N];
        for member in Members::of(self.text) {
            let Some(value) = self.text.get(member.value.clone()) else { continue };
            for (slot, key) in found.iter_mut().zip(keys) {
                if member.is(self.text, key) && slot.replace(View { text: value }).is_some() {
                    return Err(key);
                }
            }
        }
        Ok(found.map(|value| value.filter(|value| !value.is_null())))
    }

    /// One member of an object, by the rules of [`View::fields`].
    #[must_use]
    pub fn field(self, key: &str) -> Option<View<'a>> {
        let [found] = self.fields([key]);
        found
    }

    /// The items of an array; nothing for other values.
    pub fn items(self) -> impl Iterator<Item = View<'a>> {
        Items::of(self.text).filter_map(move |item| self.text.get(item)).map(|text| View { text })
    }

    /// The last `count` items of an array, the last one first.
    #[must_use]
    pub fn last_items(self, count: usize) -> Vec<View<'a>> {
        let mut last = VecDeque::with_capacity(count);
        for item in self.items() {
            if last.len() == count {
                last.pop_back();
            }
            last.push_front(item);
        }
        last.into()
    }

    /// The text of a string; absent for other values.
    #[must_use]
    pub fn string(self) -> Option<Cow<'a, str>> {
        let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
        if !inner.contains('\\') {
            return Some(Cow::Borrowed(inner));
        }
        let mut decoder = serde_json::Deserializer::from_str(self.text);
        // Read as bytes, because only then does serde_json let lone surrogates pass.
        let bytes = decoder.deserialize_byte_buf(ByteBuf).ok()?;
        Some(Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(err) => String::from_utf8_lossy(err.as_bytes()).into_owned(),
        }))
    }

    /// A boolean; absent for other values.
    #[must_use]
    pub fn bool(self) -> Option<bool> {
        match self.text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// A count: a whole number from 0 to 10^12. Anything else counts as unknown.
    #[must_use]
    pub fn count(self) -> Option<i64> {
        let whole = match self.text.split_once('.') {
            Some((whole, zeros)) if zeros.bytes().all(|b| b == b'0') => whole,
            Some(_) => return None,
            None => self.text,
        };
        whole.parse().ok().filter(|n| (0..=COUNT_MAX).contains(n))
    }
}

struct ByteBuf;

impl Visitor<'_> for ByteBuf {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        Ok(text.as_bytes().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_line_and_column() {
        for (body, want) in [
            (&b""[..], "EOF while parsing a value at line 1 column 0"),
            (b"{\"a\":1,}", "key must be a string at line 1 column 8"),
            (b"{}\n {}", "trailing characters at line 2 column 2"),
            (b"{\"a\":\n\"\xff\"}", "invalid UTF-8 at line 2 column 2"),
        ] {
            assert_eq!(parse(body).unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        let body = format!("{{\"x\":{deep},\"model\":\"m\"}}");
        let view = get(body.as_bytes(), &["model"]).unwrap().unwrap();
        assert_eq!(view.string().as_deref(), Some("m"));
    }

    #[test]
    fn the_last_of_equal_keys_counts_and_null_is_absence() {
        let view = parse(br#"{"a":1,"b":2,"a":3,"b":null}"#).unwrap();
        let [a, b, c] = view.fields(["a", "b", "c"]);
        assert_eq!(a.map(View::text), Some("3"));
        assert_eq!((b, c), (None, None));
    }

    #[test]
    fn a_key_that_is_there_again_is_named_however_it_is_written() {
        for (text, want) in [
            (&br#"{"a":1,"b":null,"c":{"a":2,"a":3}}"#[..], Ok([Some("1"), None])),
            (br#"{"x":1,"x":2}"#, Ok([None, None])),
            (br#"{"a":1,"b":2,"a":1}"#, Err("a")),
            (br#"{"b":null,"b":2}"#, Err("b")),
            (br#"{"a":1,"\u0061":2}"#, Err("a")),
            (b"[1]", Ok([None, None])),
        ] {
            let found = parse(text).unwrap().single_fields(["a", "b"]);
            let found = found.map(|found| found.map(|view| view.map(View::text)));
            assert_eq!(found, want, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn strings_decode_leniently() {
        for (text, want) in [
            (r#""plain""#, "plain"),
            (r#""a\n\"b\" \u00e9 \ud83d\ude00""#, "a\n\"b\" é 😀"),
            (r#""\ud83d""#, "\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(parse_text(text).unwrap().string().as_deref(), Some(want), "{text}");
        }
        assert_eq!(parse_text("12").unwrap().string(), None);
    }

    #[test]
    fn counts_are_whole_and_sane() {
        for (text, want) in [
            ("0", Some(0)),
            ("17", Some(17)),
            ("17.0", Some(17)),
            ("1000000000000", Some(1_000_000_000_000)),
            ("1000000000001", None),
            ("99999999999999999999", None),
            ("-1", None),
            ("1.5", None),
            ("1e3", None),
            ("\"5\"", None),
            ("null", None),
            ("[]", None),
            ("true", None),
        ] {
            assert_eq!(parse_text(text).unwrap().count(), want, "{text}");
        }
    }

    #[test]
    fn last_items_come_backwards() {
        let view = parse(b"[1, 2, [3], 4]").unwrap();
        let texts: Vec<&str> = view.last_items(3).into_iter().map(View::text).collect();
        assert_eq!(texts, ["4", "[3]", "2"]);
    }

    #[test]
    fn debug_output_shows_no_content() {
        assert_eq!(format!("{:?}", parse(b"\"secret\"").unwrap()), "View(8 bytes)");
    }
}
