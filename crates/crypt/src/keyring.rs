mod error;
mod key;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stdx::{Rng, Secret};
use zeroize::Zeroizing;

pub use self::error::{KeyringError, OpenError, SealError};
use self::key::{DIGEST_LEN, Key, LEGACY_DIGEST_LEN, NONCE_LEN, TAG_LEN};
use crate::place::Place;

/// What is sealed beside a key's digest to find out later whether the same key is still in hand.
pub const SENTINEL: &str = "coder";

/// Starts every value that is bound to its place. A colon is not in the alphabet of base64, so no value
/// of the unbound form can start like this.
const PREFIX: &str = "v1:";

/// The keys that seal and open stored secrets.
///
/// The first key is the primary one: it seals and opens. The others only open. A keyring without keys
/// is how encryption is switched off: values pass through as they are.
///
/// Keys are wiped from memory when the keyring is dropped; it cannot be cloned, share it in an `Arc`.
#[derive(Default)]
pub struct Keyring {
    keys: Vec<Key>,
    opens_only: bool,
}

/// A secret in the form it is stored in.
///
/// `Debug` shows the digest alone, because without keys the text is the secret itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedText {
    /// Goes into the value column: sealed, or the plain value if the keyring has no primary key.
    pub text: String,
    /// Goes into the key-id column, in the same statement. `None` means that the text is plain.
    pub key_digest: Option<String>,
}

impl Keyring {
    /// A keyring without keys: everything passes through unsealed, nothing sealed can be opened.
    #[must_use]
    pub const fn empty() -> Self {
        Self { keys: Vec::new(), opens_only: false }
    }

    /// Reads keys in standard base64, the primary one first. White space around a key is ignored. No
    /// keys give an empty keyring.
    ///
    /// # Errors
    /// A key that is not base64, is not exactly 32 bytes long, or appears twice. Errors count keys from
    /// 1 and never show them.
    pub fn from_base64(keys: &[Secret<String>]) -> Result<Self, KeyringError> {
        let mut ring = Self::empty();
        for (index, text) in keys.iter().enumerate() {
            let position = index + 1;
            let bytes = Zeroizing::new(
                STANDARD
                    .decode(text.expose().trim())
                    .map_err(|_| KeyringError::NotBase64 { position })?,
            );
            let key =
                Key::new(&bytes).ok_or(KeyringError::Length { position, found: bytes.len() })?;
            if let Some(first) = ring.keys.iter().position(|held| held.digest() == key.digest()) {
                return Err(KeyringError::Twice { first: first + 1, position });
            }
            ring.keys.push(key);
        }
        Ok(ring)
    }

    /// The same keys without a primary one: everything opens, nothing is sealed any more. For walking
    /// over the tables to take encryption away.
    #[must_use]
    pub fn without_primary(mut self) -> Self {
        self.opens_only = true;
        self
    }

    /// Digest of the key that seals, if there is one.
    #[must_use]
    pub fn primary_digest(&self) -> Option<&str> {
        self.primary().map(Key::digest)
    }

    /// Digests of all keys, in the order in which they were given. Each is 16 hexadecimal characters.
    pub fn digests(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(Key::digest)
    }

    /// Whether a key with this digest, in its full or its old 7-character form, is in hand.
    #[must_use]
    pub fn holds(&self, digest: &str) -> bool {
        self.named(digest).next().is_some()
    }

    /// Seals `plain` for `place` under the primary key. Without one the text is the plain value.
    ///
    /// The stored text is `v1:` and the standard base64 of nonce (12 bytes), ciphertext and tag (16
    /// bytes). Nonces are random, so one key should not seal more than 2^32 values (NIST SP 800-38D
    /// section 8.3).
    ///
    /// # Errors
    /// [`SealError`] if the value is longer than the cipher allows (64 GiB).
    pub fn seal(
        &self,
        place: Place<'_>,
        plain: &Secret<String>,
        rng: &dyn Rng,
    ) -> Result<SealedText, SealError> {
        let Some(key) = self.primary() else {
            return Ok(SealedText { text: plain.expose().clone(), key_digest: None });
        };
        let sealed = key.seal(plain.expose().as_bytes(), &place.associated_data(), rng)?;
        let mut text = PREFIX.to_owned();
        STANDARD.encode_string(sealed, &mut text);
        Ok(SealedText { text, key_digest: Some(key.digest().to_owned()) })
    }

    /// Opens a stored value. `key_digest` is the key-id column; if it is null or empty, the text is
    /// plain and returned as is.
    ///
    /// Also opens the older form without prefix, which is not bound to a place, and finds keys by the
    /// older 7-character digest.
    ///
    /// # Errors
    /// [`OpenError`]; it never contains the text. Trying again cannot help.
    pub fn open(
        &self,
        place: Place<'_>,
        text: &str,
        key_digest: Option<&str>,
    ) -> Result<Secret<String>, OpenError> {
        let Some(digest) = key_digest.filter(|digest| !digest.is_empty()) else {
            return Ok(Secret::from(text));
        };
        if !self.holds(digest) {
            return Err(OpenError::unknown_key(digest));
        }
        let (encoded, associated_data) = match text.strip_prefix(PREFIX) {
            Some(encoded) => (encoded, place.associated_data()),
            None => (text, Vec::new()),
        };
        let sealed = STANDARD.decode(encoded).map_err(|_| OpenError::Malformed)?;
        if sealed.len() < NONCE_LEN + TAG_LEN {
            return Err(OpenError::Malformed);
        }
        // More than one key can share an old, short digest: the cipher's tag decides.
        self.named(digest)
            .find_map(|key| key.open(&sealed, &associated_data))
            .ok_or(OpenError::Tampered)
            .and_then(|plain| into_text(&plain))
    }

    /// Seals [`SENTINEL`] under the primary key, to be stored beside its digest. `None` without one.
    ///
    /// # Errors
    /// As [`Keyring::seal`].
    pub fn seal_sentinel(&self, rng: &dyn Rng) -> Result<Option<SealedText>, SealError> {
        match self.primary_digest() {
            Some(digest) => {
                let sentinel = Secret::from(SENTINEL);
                self.seal(sentinel_place(digest), &sentinel, rng).map(Some)
            }
            None => Ok(None),
        }
    }

    /// Whether the key behind `digest` is in hand and is the one that sealed `text`.
    ///
    /// # Errors
    /// As [`Keyring::open`], and [`OpenError::Sentinel`] if the value opens to something else.
    pub fn check_sentinel(&self, text: &str, digest: &str) -> Result<(), OpenError> {
        if digest.is_empty() {
            return Err(OpenError::unknown_key(digest));
        }
        let opened = self.open(sentinel_place(digest), text, Some(digest))?;
        if crate::equal(opened.expose().as_bytes(), SENTINEL.as_bytes()) {
            Ok(())
        } else {
            Err(OpenError::Sentinel)
        }
    }

    fn primary(&self) -> Option<&Key> {
        self.keys.first().filter(|_| !self.opens_only)
    }

    /// The keys that `digest` may mean: at most one unless it is of the short form.
    fn named(&self, digest: &str) -> impl Iterator<Item = &Key> {
        let full = digest.len() == DIGEST_LEN || digest.len() == LEGACY_DIGEST_LEN;
        self.keys.iter().filter(move |key| full && key.digest().starts_with(digest))
    }
}

/// The row of a sentinel is its key's digest: it is known before the row has a number.
fn sentinel_place(digest: &str) -> Place<'_> {
    Place::new("dbcrypt_keys", "test", digest)
}

fn into_text(plain: &[u8]) -> Result<Secret<String>, OpenError> {
    match std::str::from_utf8(plain) {
        Ok(text) => Ok(Secret::from(text)),
        Err(_) => Err(OpenError::NotText),
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SealedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedText").field("key_digest", &self.key_digest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
