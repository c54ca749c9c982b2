use std::hint::black_box;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ring::pbkdf2;
use stdx::Secret;

/// Length of the stored output in bytes.
const OUTPUT_LEN: usize = 64;
/// Longest salt taken, in bytes; the usual one has 16.
const SALT_LEN_MAX: usize = 64;
/// Most iterations computed: about a second. Old rows have 1,024 or 65,535.
const ITERATIONS_MAX: u32 = 4_000_000;
/// Iterations of rows that were not made in tests.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(65_534);

/// A hash of the form `$pbkdf2-sha256$<iterations>$<salt>$<hash>` (PBKDF2, RFC 8018 section 5.2).
pub(super) struct Pbkdf2 {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl Pbkdf2 {
    /// `None` if the text has another form or asks for work beyond the limits.
    pub(super) fn parse(stored: &str) -> Option<Self> {
        let mut parts = stored.strip_prefix("$pbkdf2-sha256$")?.split('$');
        let iterations: NonZeroU32 = parts.next()?.parse().ok()?;
        let salt = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let output = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
        let fits = parts.next().is_none()
            && iterations.get() <= ITERATIONS_MAX
            && (1..=SALT_LEN_MAX).contains(&salt.len())
            && output.len() == OUTPUT_LEN;
        fits.then_some(Self { iterations, salt, output })
    }

    /// Works as long as [`verify`](Self::verify) does on a usual row.
    pub(super) fn dummy(given: &Secret<String>) {
        let mut output = [0; OUTPUT_LEN];
        let secret = given.expose().as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &[0; 16], secret, &mut output);
        black_box(output);
    }

    /// Compares in constant time.
    pub(super) fn verify(&self, given: &Secret<String>) -> bool {
        let secret = given.expose().as_bytes();
        pbkdf2::verify(
            pbkdf2::PBKDF2_HMAC_SHA256,
            self.iterations,
            &self.salt,
            secret,
            &self.output,
        )
        .is_ok()
    }
}
