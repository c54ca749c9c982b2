//! Passwords: hashed slowly, verified at whatever cost they were stored, rated before they are taken.
//!
//! New hashes are argon2id with 19 MiB of memory, two passes and one lane, 16 bytes of salt and 32 of
//! output, as a PHC string (the second choice of the OWASP password storage recommendations). Hashes of
//! the older form `$pbkdf2-sha256$<iterations>$<salt>$<hash>` (salt and 64 bytes of hash in base64
//! without padding) verify as well and ask to be replaced.
//!
//! [`hash`], [`verify`] and [`dummy`] **block** for tens of milliseconds and take 19 MiB each. Call them
//! through `spawn_blocking`, behind a semaphore that bounds how many run at once.

mod legacy;
mod strength;

use std::hint::black_box;

use argon2::{
    Algorithm, Argon2, Params, ParamsBuilder, PasswordHash, PasswordHasher as _,
    PasswordVerifier as _, Version,
};
use stdx::{Rng, Secret};

pub use self::strength::check_strength;

/// Memory of one hash in KiB.
const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over the memory.
const PASSES: u32 = 2;
/// Lanes of one hash.
const LANES: u32 = 1;
/// Length of the salt in bytes (RFC 9106 section 3.1).
const SALT_LEN: usize = 16;
/// A stored hash that asks for more memory than this (in KiB) is not computed.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
/// A stored hash that asks for more passes or lanes than this is not computed.
const PASSES_MAX: u32 = 16;

/// What came of comparing a password with a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not the password, or the stored text is no hash we know.
    Wrong,
    /// The password.
    Right,
    /// The password, but stored in an older form: replace it by [`hash`] while the password is in hand.
    RightRehash,
}

impl Verdict {
    /// Whether the password was right, stored in whatever form.
    #[must_use]
    pub const fn is_right(self) -> bool {
        matches!(self, Self::Right | Self::RightRehash)
    }
}

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash the password")]
pub struct HashError(#[source] argon2::password_hash::Error);

/// Hashes a password with a fresh salt; the result is a PHC string. Blocks.
///
/// Does not judge the password: call [`check_strength`] first.
///
/// # Errors
/// [`HashError`] if the function refuses its input, say a password of more than 4 GiB.
pub fn hash(password: &Secret<String>, rng: &dyn Rng) -> Result<String, HashError> {
    let mut salt = [0; SALT_LEN];
    rng.fill(&mut salt);
    let hashed = current()
        .hash_password_with_salt(password.expose().as_bytes(), &salt)
        .map_err(HashError)?;
    Ok(hashed.to_string())
}

/// Compares `given` with a stored hash, in constant time for that hash. Blocks.
///
/// A wrong password costs the same whatever is stored, the older form, the current one or nothing: so neither the
/// accounts without a password stand out nor those that were imported.
#[must_use]
pub fn verify(stored: &str, given: &Secret<String>) -> Verdict {
    if let Some(old) = legacy::Pbkdf2::parse(stored) {
        if old.verify(given) {
            return Verdict::RightRehash;
        }
        dummy_current(given);
        return Verdict::Wrong;
    }
    let Some((hash, params)) = parse(stored) else {
        dummy(given);
        return Verdict::Wrong;
    };
    if current().verify_password(given.expose().as_bytes(), &hash).is_err() {
        legacy::Pbkdf2::dummy(given);
        return Verdict::Wrong;
    }
    let is_current =
        (params.m_cost(), params.t_cost(), params.p_cost()) == (MEMORY_KIB, PASSES, LANES);
    if is_current { Verdict::Right } else { Verdict::RightRehash }
}

/// Works as long as [`verify`] does on a wrong password and tells nothing. For accounts that do not exist. Blocks.
pub fn dummy(given: &Secret<String>) {
    dummy_current(given);
    legacy::Pbkdf2::dummy(given);
}

fn dummy_current(given: &Secret<String>) {
    let mut out = [0; Params::DEFAULT_OUTPUT_LEN];
    let result = current().hash_password_into(given.expose().as_bytes(), &[0; SALT_LEN], &mut out);
    // Without this the optimiser may drop the work, whose result nobody needs.
    let _ = black_box((result, out));
}

fn current() -> Argon2<'static> {
    // These parameters are within every limit of the function; the default could only be reached if
    // the constants above were changed to something invalid, which a test would show.
    let params = ParamsBuilder::new().m_cost(MEMORY_KIB).t_cost(PASSES).p_cost(LANES).build();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.unwrap_or_default())
}

/// A stored argon2id hash whose cost we are willing to pay.
fn parse(stored: &str) -> Option<(PasswordHash, Params)> {
    let hash = PasswordHash::new(stored).ok()?;
    let params = Params::try_from(&hash).ok()?;
    let known = hash.algorithm == argon2::ARGON2ID_IDENT
        && hash.version == Some(Version::V0x13.into())
        && hash.salt.is_some()
        && hash.hash.as_ref().is_some_and(|output| output.len() >= 32);
    let bounded = params.m_cost() <= MEMORY_KIB_MAX
        && params.t_cost() <= PASSES_MAX
        && params.p_cost() <= PASSES_MAX;
    (known && bounded).then_some((hash, params))
}

#[cfg(test)]
mod tests;
