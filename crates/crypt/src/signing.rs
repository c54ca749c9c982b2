//! Signatures that outsiders can check: Ed25519 (RFC 8032).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use stdx::{Rng, Secret};
use zeroize::Zeroize as _;

/// Bytes of a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Why a private key is none. Never holds it.
#[derive(Debug, thiserror::Error)]
#[error("the private key is not base64 of 32 bytes")]
pub struct NotASigningKey;

/// A private key and its public half.
pub struct SigningKey(Ed25519KeyPair);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    /// A new private key, as text that [`SigningKey::read`] takes.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Secret<String> {
        let mut seed = [0; 32];
        rng.fill(&mut seed);
        let text = Secret::new(STANDARD.encode(seed));
        seed.zeroize();
        text
    }

    /// The key of such a text.
    ///
    /// # Errors
    /// [`NotASigningKey`].
    pub fn read(text: &Secret<String>) -> Result<Self, NotASigningKey> {
        let mut seed = STANDARD.decode(text.expose()).map_err(|_| NotASigningKey)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NotASigningKey);
        seed.zeroize();
        pair.map(Self)
    }

    /// The public half, 32 bytes.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }

    /// The signature of `message`, 64 bytes.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

/// Whether the owner of `public_key` signed `message`.
#[must_use]
pub fn is_signed(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 section 7.1, test 2.
    const SEED: [u8; 32] = [
        0x4c, 0xcd, 0x08, 0x9b, 0x28, 0xff, 0x96, 0xda, 0x9d, 0xb6, 0xc3, 0x46, 0xec, 0x11, 0x4e,
        0x0f, 0x5b, 0x8a, 0x31, 0x9f, 0x35, 0xab, 0xa6, 0x24, 0xda, 0x8c, 0xf6, 0xed, 0x4f, 0xb8,
        0xa6, 0xfb,
    ];

    #[test]
    fn signs_as_published() {
        let key = SigningKey::read(&Secret::new(STANDARD.encode(SEED))).unwrap();
        assert_eq!(
            crate::hex(&key.public_key()),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        let signature = key.sign(&[0x72]);
        assert_eq!(
            crate::hex(&signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert!(is_signed(&key.public_key(), &[0x72], &signature));
    }

    #[test]
    fn what_was_changed_is_not_signed() {
        let key = SigningKey::read(&SigningKey::generate(&stdx::SystemRng)).unwrap();
        let (public, signature) = (key.public_key(), key.sign(b"text"));
        assert!(is_signed(&public, b"text", &signature));
        assert!(!is_signed(&public, b"texT", &signature));
        for bit in 0..signature.len() * 8 {
            let mut other = signature.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_signed(&public, b"text", &other), "bit {bit}");
        }
        assert!(!is_signed(&public[1..], b"text", &signature));
        assert!(!is_signed(&public, b"text", &[]));
    }

    #[test]
    fn only_32_bytes_are_a_key() {
        for text in ["", "%%", "c2hvcnQ="] {
            assert!(SigningKey::read(&Secret::from(text)).is_err(), "{text}");
        }
        let secret = SigningKey::generate(&stdx::SystemRng);
        let shown = format!("{:?}", SigningKey::read(&secret).unwrap());
        assert_eq!(shown, "SigningKey");
    }
}
