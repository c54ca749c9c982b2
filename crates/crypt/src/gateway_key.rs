//! The keys of gateway daemons: `cgw_` and 39 characters from `A-Z`, `a-z`, `0-9`.
//!
//! The first eleven characters are shown in lists; the 32 behind them are 190 bits of secret, so one plain
//! SHA-256 of the whole key is a good hash.

use stdx::{Rng, Secret};

/// What every key begins with.
pub const SCHEME: &str = "cgw_";
/// Length of a key in characters.
pub const LEN: usize = 43;
/// How much of a key may be shown, in characters.
pub const PREFIX_LEN: usize = 11;

/// Draws a new key.
#[must_use]
pub fn generate(rng: &dyn Rng) -> Secret<String> {
    Secret::new(format!("{SCHEME}{}", rng.alphanumeric(LEN - SCHEME.len())))
}

/// The part of a key that may be shown; nothing if it is no key.
#[must_use]
pub fn prefix(key: &str) -> Option<&str> {
    is_shaped(key).then(|| key.get(..PREFIX_LEN)).flatten()
}

/// Whether a text has the form of a key.
#[must_use]
pub fn is_shaped(text: &str) -> bool {
    text.len() == LEN
        && text
            .strip_prefix(SCHEME)
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use stdx::SystemRng;

    use super::*;

    #[test]
    fn what_is_no_key_is_told_apart_without_looking_it_up() {
        let body = "a".repeat(39);
        for text in [
            String::new(),
            "cgw_".to_owned(),
            body.clone(),
            format!("CGW_{body}"),
            format!("cgw_{}", "a".repeat(38)),
            format!("cgw_{body}a"),
            format!("cgw_{}-", "a".repeat(38)),
            format!("cgw_{}\u{e4}", "a".repeat(37)),
        ] {
            assert!(!is_shaped(&text), "{text:?}");
            assert_eq!(prefix(&text), None, "{text:?}");
        }
        assert_eq!(prefix(&format!("cgw_{body}")), Some("cgw_aaaaaaa"));
    }

    #[test]
    fn a_new_key_has_the_form_and_is_new() {
        let (one, other) = (generate(&SystemRng), generate(&SystemRng));
        assert!(is_shaped(one.expose()) && is_shaped(other.expose()));
        assert_ne!(prefix(one.expose()), prefix(other.expose()));
    }
}
