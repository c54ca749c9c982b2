use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

/// Keys that were opened and not closed. They are random identifiers of our own making, so hashing them
/// takes no more than spreading their bits.
pub(crate) type Keys = HashSet<u128, BuildHasherDefault<Spread>>;

/// See [`Keys`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
    fn write_u128(&mut self, key: u128) {
        self.0 = ((key >> 64) as u64 ^ key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
