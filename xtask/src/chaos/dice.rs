//! Numbers that look random and are the same for the same seed.

use std::time::Duration;

/// `SplitMix64`: good enough to choose, useless for secrets.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice for one thing out of many, so that its numbers do not depend on the order of the others.
    pub(super) fn of(seed: u64, number: u64) -> Self {
        Self(Self(seed ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03)).roll())
    }

    pub(super) const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub(super) const fn below(&mut self, end: u64) -> u64 {
        let roll = self.roll();
        if end == 0 { 0 } else { roll % end }
    }

    /// Whether one of `many` cases is this one.
    pub(super) const fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    /// A span of whole milliseconds between two.
    pub(super) fn span(&mut self, from: Duration, to: Duration) -> Duration {
        let width = to.saturating_sub(from).as_millis();
        from + Duration::from_millis(self.below(u64::try_from(width).unwrap_or(u64::MAX)))
    }

    /// Takes one out of a list; none if it is empty.
    pub(super) fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        let at = self.below(from.len() as u64);
        (!from.is_empty()).then(|| from.swap_remove(usize::try_from(at).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_rolls_the_same_numbers() {
        // The published first numbers of the generator for this seed.
        let mut dice = Dice(1_234_567);
        assert_eq!(dice.roll(), 6_457_827_717_110_365_317);
        assert_eq!(dice.roll(), 3_203_168_211_198_807_973);
        assert_ne!(Dice::of(1, 2).roll(), Dice::of(1, 3).roll());
        assert_eq!(Dice::of(1, 2).roll(), Dice::of(1, 2).roll());
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.take::<u8>(&mut Vec::new()), None);
    }
}
