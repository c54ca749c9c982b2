//! Finding one's way in JSON text that is known to be valid. Nothing here fails or loops on text that is
//! not; it just finds less.

use std::ops::Range;

use memchr::memchr2;

/// The first position from `pos` on that is not white space.
pub(super) fn skip_space(text: &[u8], mut pos: usize) -> usize {
    while matches!(text.get(pos), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        pos += 1;
    }
    pos
}

/// The end of the string whose opening quote is at `pos`.
fn skip_string(text: &[u8], pos: usize) -> usize {
    let mut at = pos + 1;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let Some(found) = memchr2(b'"', b'\\', rest) else { return text.len() };
        if rest.get(found) == Some(&b'"') {
            return at + found + 1;
        }
        at += found + 2;
    }
}

/// The end of the value that begins at `pos`.
pub(super) fn skip_value(text: &[u8], pos: usize) -> usize {
    let mut at = pos;
    let mut depth = 0_usize;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at = skip_string(text, at);
                if depth == 0 {
                    return at;
                }
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                if depth == 0 {
                    return at;
                }
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return at;
                }
            }
            b',' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => at += 1,
        }
    }
    text.len()
}

/// Where one member of an object is.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The key with its quotes.
    pub(super) key: Range<usize>,
    /// The value.
    pub(super) value: Range<usize>,
}

impl Member {
    /// Whether this is the member `key` of the object `text`.
    pub(super) fn is(&self, text: &str, key: &str) -> bool {
        let Some(quoted) = text.get(self.key.clone()) else { return false };
        let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        if inner.contains('\\') {
            return super::View { text: quoted }.string().is_some_and(|k| k == key);
        }
        inner == key
    }
}

/// The members of an object, in order; nothing for other values.
pub(super) struct Members<'a> {
    text: &'a [u8],
    pos: Option<usize>,
}

impl<'a> Members<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text: text.as_bytes(), pos: text.starts_with('{').then_some(1) }
    }
}

impl Iterator for Members<'_> {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        let key_start = skip_space(self.text, self.pos.take()?);
        if self.text.get(key_start) != Some(&b'"') {
            return None;
        }
        let key_end = skip_string(self.text, key_start);
        let colon = skip_space(self.text, key_end);
        let value_start = skip_space(self.text, colon + 1);
        let value_end = skip_value(self.text, value_start);
        let after = skip_space(self.text, value_end);
        self.pos = (self.text.get(after) == Some(&b',')).then_some(after + 1);
        Some(Member { key: key_start..key_end, value: value_start..value_end })
    }
}

/// The items of an array, in order; nothing for other values.
pub(super) struct Items<'a> {
    text: &'a [u8],
    pos: Option<usize>,
}

impl<'a> Items<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self { text: text.as_bytes(), pos: text.starts_with('[').then_some(1) }
    }
}

impl Iterator for Items<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = skip_space(self.text, self.pos.take()?);
        if matches!(self.text.get(start), None | Some(b']')) {
            return None;
        }
        let end = skip_value(self.text, start);
        let after = skip_space(self.text, end);
        self.pos = (self.text.get(after) == Some(&b',')).then_some(after + 1);
        Some(start..end)
    }
}
