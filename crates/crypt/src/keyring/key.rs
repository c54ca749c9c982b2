use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use stdx::Rng;
use zeroize::Zeroizing;

use super::error::SealError;
use crate::digest::{hex, sha256_of};

/// Length of a key in bytes.
const KEY_LEN: usize = 32;
/// Length of a nonce in bytes (NIST SP 800-38D section 8.2).
pub(super) const NONCE_LEN: usize = 12;
/// Length of the authentication tag in bytes.
pub(super) const TAG_LEN: usize = 16;
/// Length of a key's digest in characters: 64 bits, so that two keys do not meet by chance.
pub(super) const DIGEST_LEN: usize = 16;
/// Length of the digest in rows written by older products.
pub(super) const LEGACY_DIGEST_LEN: usize = 7;
/// Keeps digests of the same bytes under different ciphers apart.
const CIPHER: &str = "aes256gcm";

/// One AES-256 key. Holds the bytes rather than `ring`'s expanded key, because the latter is not wiped;
/// expanding costs less than a microsecond.
pub(super) struct Key {
    bytes: Zeroizing<[u8; KEY_LEN]>,
    digest: String,
}

impl Key {
    /// `None` unless there are exactly 32 bytes.
    pub(super) fn new(bytes: &[u8]) -> Option<Self> {
        let bytes = Zeroizing::new(<[u8; KEY_LEN]>::try_from(bytes).ok()?);
        let mut digest = hex(&sha256_of(&[CIPHER.as_bytes(), bytes.as_slice()]));
        digest.truncate(DIGEST_LEN);
        Some(Self { bytes, digest })
    }

    /// First 16 hexadecimal characters of the SHA-256 of cipher name and key.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// Nonce, ciphertext and tag in one piece.
    pub(super) fn seal(
        &self,
        plain: &[u8],
        associated_data: &[u8],
        rng: &dyn Rng,
    ) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce);
        // Sized once: growing would leave a copy of the plain bytes behind.
        let mut out = Vec::with_capacity(NONCE_LEN + plain.len() + TAG_LEN);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let body = out.get_mut(NONCE_LEN..).ok_or(SealError)?;
        let tag = self
            .expand()
            .ok_or(SealError)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated_data),
                body,
            )
            .map_err(|_| SealError)?;
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// The plain bytes, or `None` if the tag does not fit.
    pub(super) fn open(&self, sealed: &[u8], associated_data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let plain_len = self
            .expand()?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(associated_data),
                &mut buffer,
            )
            .ok()?
            .len();
        buffer.truncate(plain_len);
        Some(buffer)
    }

    /// Always `Some`: the length was checked when the key was made.
    fn expand(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, self.bytes.as_slice()).ok().map(LessSafeKey::new)
    }
}
