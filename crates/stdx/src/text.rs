/// Shows the ends of a credential: 4+4 characters from 20 on, 2+2 from 10, 1+1 from 5, else `...`.
///
/// Source: the credential mask of the gateway's log fields.
#[must_use]
pub fn mask(credential: &str) -> String {
    let len = credential.chars().count();
    let shown = match len {
        0 => return String::new(),
        20.. => 4,
        10.. => 2,
        5.. => 1,
        _ => return "...".to_owned(),
    };
    let head: String = credential.chars().take(shown).collect();
    let tail: String = credential.chars().skip(len - shown).collect();
    format!("{head}...{tail}")
}

/// The longest prefix of `text` that has at most `bytes_max` bytes and ends between two characters.
#[must_use]
pub fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mask_shows_less_of_shorter_credentials() {
        for (credential, shown) in [
            ("", ""),
            ("abcd", "..."),
            ("abcde", "a...e"),
            ("abcdefghij", "ab...ij"),
            ("abcdefghijklmnopqrst", "abcd...qrst"),
        ] {
            assert_eq!(mask(credential), shown, "{credential}");
        }
    }

    #[test]
    fn cut_never_splits_a_character() {
        assert_eq!(cut("héllo", 2), "h");
        assert_eq!(cut("héllo", 3), "hé");
        assert_eq!(cut("abc", 10), "abc");
    }
}
