//! Secrets at rest and in transit: keyring, sealed values, passwords, tokens.
//!
//! The only crate that uses `ring` and `argon2`. It knows three kinds of secret and treats each as its
//! kind deserves:
//!
//! - What we must read again (provider keys, OAuth2 tokens of users) is sealed with AES-256-GCM under
//!   the [`Keyring`] and bound to its [`Place`]: table, column and row.
//! - What people choose ([`password`]) is hashed slowly, with argon2id.
//! - What we generate ([`token`], [`gateway_key`]) has enough entropy for one plain SHA-256.
//!
//! Beside that it signs what outsiders shall be able to check ([`signing`]).
//!
//! It refuses to know where values are stored, who may read them, and what time it is. Randomness comes
//! in as a `stdx::Rng`.
//!
//! Invariants: no error, `Debug` or panic shows a key, a password or a sealed or plain value; keys are
//! wiped from memory when dropped; secrets are compared in constant time; a value moved to another row
//! or column does not open.
//!
//! Start with [`Keyring::seal`] and [`Keyring::open`].

mod digest;
pub mod gateway_key;
mod keyring;
pub mod password;
mod place;
pub mod signing;
pub mod token;

pub use digest::{equal, hex, sha256, unhex};
pub use keyring::{Keyring, KeyringError, OpenError, SENTINEL, SealError, SealedText};
pub use place::{Place, Row};
