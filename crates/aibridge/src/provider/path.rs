use std::fmt;

/// Why a path is not looked up at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPath;

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the path has empty, relative or disguised segments")
    }
}

impl std::error::Error for BadPath {}

/// Accepts a path only if every reader of it agrees on its segments.
///
/// The allow-list guards a central key, so nothing that one side may resolve and the other not gets past
/// it: no empty segment but the last, no `.` or `..` (percent-encoded or not), no encoded slash, backslash
/// or percent sign, no control character, no broken escape. The path itself is returned unchanged.
///
/// # Errors
/// [`BadPath`] for all of these.
pub fn clean(path: &str) -> Result<&str, BadPath> {
    let rest = path.strip_prefix('/').ok_or(BadPath)?;
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if segment.is_empty() && !last {
            return Err(BadPath);
        }
        check(segment)?;
    }
    Ok(path)
}

fn check(segment: &str) -> Result<(), BadPath> {
    let mut plain = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let high = bytes.next().and_then(hex).ok_or(BadPath)?;
        let low = bytes.next().and_then(hex).ok_or(BadPath)?;
        let byte = high << 4 | low;
        if matches!(byte, b'/' | b'%') {
            return Err(BadPath);
        }
        plain.push(byte);
    }
    if plain == b"." || plain == b".." {
        return Err(BadPath);
    }
    if plain.iter().any(|&byte| byte < 0x20 || byte == 0x7f || byte == b'\\') {
        return Err(BadPath);
    }
    Ok(())
}

const fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn disguised_segments_are_refused() {
        for path in [
            "",
            "x",
            "//",
            "/a//b",
            "/a/../b",
            "/a/./b",
            "/a/..",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a/%2fb",
            "/a%5cb",
            "/a\\b",
            "/a/%00",
            "/a/%",
            "/a/%2",
            "/a/%zz",
            "/a/%252e",
            "/a\u{7f}",
        ] {
            assert_eq!(clean(path), Err(BadPath), "{path:?}");
        }
        for path in ["/", "/a", "/a/", "/a/b.c", "/a/...", "/a/%20b", "/a/gpt-4o%3Afree", "/a/é"] {
            assert_eq!(clean(path), Ok(path), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn what_passes_has_the_same_segments_decoded_once_or_twice(path in "/[a./%25eEfF\\\\]{0,16}") {
            if clean(&path).is_ok() {
                let once = percent_decode_str(&path).decode_utf8_lossy().into_owned();
                let twice = percent_decode_str(&once).decode_utf8_lossy().into_owned();
                prop_assert_eq!(&once, &twice);
                prop_assert_eq!(path.matches('/').count(), once.matches('/').count());
                prop_assert!(once.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }
    }
}
