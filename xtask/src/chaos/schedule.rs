//! What goes wrong when: made from a seed before anything starts.

use std::fmt;
use std::time::Duration;

use super::dice::Dice;

/// Shortest and longest time that something stays away.
const AWAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// The load runs undisturbed for this long at first.
const LEAD: Duration = Duration::from_millis(1_500);
/// What came back is left alone for at least this long, so that it gets to work again.
const REST: Duration = Duration::from_millis(1_200);

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// aibridged is killed.
    Daemon,
    /// coderd is killed.
    Coderd,
    /// PostgreSQL is killed: its first process and all children.
    Postgres,
    /// Connections between aibridged and coderd are reset, new ones too.
    LinkCut,
    /// Connections between aibridged and coderd stand still.
    LinkSilent,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Daemon => "kill -9 aibridged",
            Self::Coderd => "kill -9 coderd",
            Self::Postgres => "kill -9 postgres",
            Self::LinkCut => "cut the link",
            Self::LinkSilent => "silence on the link",
        })
    }
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Since the load began.
    pub(super) at: Duration,
    pub(super) target: Target,
    /// How long it stays away.
    pub(super) lasts: Duration,
}

/// Faults in the order in which they happen: each target at least once if `length` allows, often several
/// at once.
pub(super) fn make(seed: u64, length: Duration, targets: &[Target]) -> Vec<Fault> {
    let mut dice = Dice::of(seed, u64::MAX);
    // A short run has room for each target, a long one does not need to hurry.
    let pace = length / 30;
    let pace = pace.clamp(Duration::from_millis(900), Duration::from_millis(2_500));
    let away = (AWAY.0, AWAY.1.min(length / 8));
    let mut due: Vec<Target> = targets.to_vec();
    let mut faults: Vec<Fault> = Vec::new();
    let mut at = LEAD;
    while at < length {
        let many = if dice.one_in(4) { 2 + dice.below(2) } else { 1 };
        for _ in 0..many {
            let free = |target: &Target| !faults.iter().any(|fault| fault.blocks(*target, at));
            let mut choice: Vec<Target> = due.iter().copied().filter(free).collect();
            if choice.is_empty() {
                choice = targets.iter().copied().filter(free).collect();
            }
            let Some(target) = dice.take(&mut choice) else { break };
            due.retain(|still| *still != target);
            faults.push(Fault { at, target, lasts: dice.span(away.0, away.1) });
        }
        at += dice.span(pace / 2, pace * 2);
    }
    faults
}

impl Fault {
    /// Whether `target` must be left alone at `at` because of this fault. Both faults of the link are one.
    fn blocks(&self, target: Target, at: Duration) -> bool {
        let link = [Target::LinkCut, Target::LinkSilent];
        let same = self.target == target || (link.contains(&self.target) && link.contains(&target));
        same && at < self.at + self.lasts + REST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Target; 5] =
        [Target::Daemon, Target::Coderd, Target::Postgres, Target::LinkCut, Target::LinkSilent];

    #[test]
    fn every_target_is_hit_and_none_twice_at_a_time() {
        for (seed, seconds) in (0..200).flat_map(|seed| [(seed, 20), (seed, 120)]) {
            let length = Duration::from_secs(seconds);
            let faults = make(seed, length, &ALL);
            assert_eq!(faults, make(seed, length, &ALL), "seed {seed}");
            for target in ALL {
                assert!(faults.iter().any(|fault| fault.target == target), "{target} {seed}");
            }
            for (at, fault) in faults.iter().enumerate() {
                assert!(fault.at >= LEAD && fault.at < length);
                assert!(fault.lasts >= AWAY.0 && fault.lasts < AWAY.1);
                let before = faults.get(..at).unwrap();
                assert!(!before.iter().any(|other| other.blocks(fault.target, fault.at)));
            }
            if seconds == 120 {
                let together = faults.windows(2).filter(|pair| pair[0].at == pair[1].at).count();
                assert!(together > 0 && faults.len() > 20, "{}", faults.len());
            }
        }
    }

    #[test]
    fn only_what_is_asked_for_goes_wrong() {
        let faults = make(7, Duration::from_mins(2), &[Target::Coderd]);
        assert!(faults.len() > 5 && faults.iter().all(|fault| fault.target == Target::Coderd));
    }
}
