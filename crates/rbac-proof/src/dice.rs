//! A seeded stream of choices: the same seed asks the same questions.

/// `SplitMix64`: small, fast, and good enough to choose from short lists.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Starts the stream of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; zero if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0).checked_rem(end).unwrap_or(0)
    }

    /// True that many times out of a hundred.
    pub fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    /// One of the list.
    ///
    /// # Panics
    /// On an empty list.
    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        let at = self.below(list.len());
        match list.get(at) {
            Some(chosen) => *chosen,
            None => unreachable!("a choice from an empty list"),
        }
    }

    /// Some of the list, at most `most`, perhaps one of them twice.
    pub fn some<T: Copy>(&mut self, list: &[T], most: usize) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| self.of(list)).collect()
    }
}
