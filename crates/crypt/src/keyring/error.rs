use super::key::DIGEST_LEN;

/// Why a keyring cannot be made. Keys are counted from 1 and never shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// Not standard base64 with padding.
    #[error("encryption key {position} is not standard base64")]
    NotBase64 {
        /// Which key, from 1.
        position: usize,
    },
    /// The decoded key has another length than AES-256 needs.
    #[error("encryption key {position} is {found} bytes long, it must be exactly 32")]
    Length {
        /// Which key, from 1.
        position: usize,
        /// Its length in bytes.
        found: usize,
    },
    /// Two keys have the same digest, so stored rows could not tell them apart.
    #[error("encryption keys {first} and {position} are the same, remove one")]
    Twice {
        /// The earlier one, from 1.
        first: usize,
        /// The later one, from 1.
        position: usize,
    },
}

/// A value could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is too long for the cipher")]
pub struct SealError;

/// Why a stored value does not open. Never contains the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The row names a key that is not in the keyring.
    #[error("no encryption key with digest {digest} is configured")]
    UnknownKey {
        /// The digest named by the row, or a placeholder if that column does not hold one.
        digest: String,
    },
    /// Not base64, or too short to hold a nonce and a tag.
    #[error("the sealed value is malformed")]
    Malformed,
    /// The tag does not fit: the value was changed, belongs to another place, or was sealed by a
    /// different key.
    #[error("the sealed value was changed, moved, or sealed by another key")]
    Tampered,
    /// The value opened, but it is not UTF-8 text.
    #[error("the sealed value is not text")]
    NotText,
    /// The value stored to recognise a key opened to something else.
    #[error("the sealed sentinel has an unexpected content")]
    Sentinel,
}

impl OpenError {
    /// Shows the digest only if it looks like one: a mix-up of columns must not print a secret.
    pub(super) fn unknown_key(digest: &str) -> Self {
        let is_digest = digest.len() <= DIGEST_LEN && digest.bytes().all(|b| b.is_ascii_hexdigit());
        let shown = if is_digest { digest } else { "(malformed)" };
        Self::UnknownKey { digest: shown.to_owned() }
    }
}
