//! Generated credentials: enough entropy that one plain SHA-256 is a good hash.
//!
//! An API token is `<id>-<secret>`: the id (10 characters) finds the row and is no secret, the secret
//! (22 characters, 131 bits) is stored as its SHA-256. Both are drawn from `A-Z`, `a-z`, `0-9`.

use stdx::{Rng, Secret};

use crate::digest::{equal, sha256};

/// Length of a token's id in characters.
pub const ID_LEN: usize = 10;
/// Length of a token's secret in characters.
pub const SECRET_LEN: usize = 22;

/// A token just made. Its secret can be shown once; only [`ApiToken::hashed_secret`] is stored.
#[derive(Clone, Debug)]
pub struct ApiToken {
    id: String,
    secret: Secret<String>,
}

impl ApiToken {
    /// Draws a new token.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Self {
        Self { id: rng.alphanumeric(ID_LEN), secret: Secret::new(rng.alphanumeric(SECRET_LEN)) }
    }

    /// What finds the row. Not a secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is stored in place of the secret.
    #[must_use]
    pub fn hashed_secret(&self) -> [u8; 32] {
        hash_secret(self.secret.expose())
    }

    /// The whole token, `<id>-<secret>`, as the client will present it.
    #[must_use]
    pub fn to_wire(&self) -> Secret<String> {
        Secret::new(format!("{}-{}", self.id, self.secret.expose()))
    }
}

/// Why a text is no API token. Tells counts only, never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not exactly one `-`.
    #[error("an API key must have 2 parts joined by \"-\", found {found}")]
    Parts {
        /// Number of parts.
        found: usize,
    },
    /// The part before the `-` has another length than [`ID_LEN`].
    #[error("the id of an API key must have {ID_LEN} characters, found {found}")]
    IdLength {
        /// Its length in bytes.
        found: usize,
    },
    /// The part after the `-` has another length than [`SECRET_LEN`].
    #[error("the secret of an API key must have {SECRET_LEN} characters, found {found}")]
    SecretLength {
        /// Its length in bytes.
        found: usize,
    },
    /// A character outside `A-Z`, `a-z`, `0-9`.
    #[error(
        "an API key must consist of the letters A-Z and a-z and digits, found another character"
    )]
    Alphabet,
}

/// Splits a token into id and secret.
///
/// # Errors
/// [`FormatError`] names what was expected and what was found.
pub fn parse(token: &str) -> Result<(&str, &str), FormatError> {
    let parts = token.split('-').count();
    let (id, secret) = match token.split_once('-') {
        Some(halves) if parts == 2 => halves,
        _ => return Err(FormatError::Parts { found: parts }),
    };
    if id.len() != ID_LEN {
        return Err(FormatError::IdLength { found: id.len() });
    }
    if secret.len() != SECRET_LEN {
        return Err(FormatError::SecretLength { found: secret.len() });
    }
    if !id.bytes().chain(secret.bytes()).all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(FormatError::Alphabet);
    }
    Ok((id, secret))
}

/// SHA-256 of a generated secret, the form in which it is stored.
#[must_use]
pub fn hash_secret(secret: &str) -> [u8; 32] {
    sha256(secret.as_bytes())
}

/// Whether `secret` is the one behind the stored hash, in constant time.
#[must_use]
pub fn secret_matches(stored: &[u8], secret: &str) -> bool {
    equal(stored, &hash_secret(secret))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stdx::{SeededRng, SystemRng};

    use super::*;

    #[test]
    fn malformed_tokens_are_refused_with_what_was_expected_and_found() {
        let ten = "a".repeat(10);
        let long = "b".repeat(22);
        for (token, want) in [
            (String::new(), FormatError::Parts { found: 1 }),
            (format!("{ten}{long}"), FormatError::Parts { found: 1 }),
            (format!("{ten}-{long}-"), FormatError::Parts { found: 3 }),
            (format!("-{long}"), FormatError::IdLength { found: 0 }),
            (format!("{ten}a-{long}"), FormatError::IdLength { found: 11 }),
            (format!("{ten}-"), FormatError::SecretLength { found: 0 }),
            (format!("{ten}-{long}b"), FormatError::SecretLength { found: 23 }),
            (format!("aaaaaaaaa\0-{long}"), FormatError::Alphabet),
            (format!("aaaaaaaa\u{e4}-{long}"), FormatError::Alphabet),
        ] {
            assert_eq!(parse(&token), Err(want), "{token:?}");
        }
        assert_eq!(
            FormatError::SecretLength { found: 3 }.to_string(),
            "the secret of an API key must have 22 characters, found 3"
        );
    }

    #[test]
    fn a_token_parses_back_and_only_its_secret_matches() {
        let rng = SeededRng::shared(3);
        let (token, other) = (ApiToken::generate(&*rng), ApiToken::generate(&*rng));
        let wire = token.to_wire();
        let (id, secret) = parse(wire.expose()).unwrap();
        assert_eq!(id, token.id());
        assert!(secret_matches(&token.hashed_secret(), secret));
        assert!(!secret_matches(&other.hashed_secret(), secret));
        assert!(!secret_matches(&[], secret));
        assert!(!secret_matches(secret.as_bytes(), secret));
        assert!(!format!("{token:?}").contains(secret));
        assert_ne!(ApiToken::generate(&SystemRng).id(), ApiToken::generate(&SystemRng).id());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_accepts_only_its_own_form(text in ".{0,40}") {
            if let Ok((id, secret)) = parse(&text) {
                prop_assert_eq!(format!("{id}-{secret}"), text);
            }
        }
    }
}
