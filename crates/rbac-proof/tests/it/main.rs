//! The engine against the policy in Rego, on random questions.
#![cfg(test)]

use rbac_proof::differ;

/// The seed only matters for repeating a difference; any other must do as well.
const SEED: u64 = 4;
const QUESTIONS: u64 = 20_000;

#[test]
fn the_engine_and_the_policy_agree() {
    let tally = differ::run(SEED, QUESTIONS, |_| ()).unwrap();
    assert_eq!(tally.questions, QUESTIONS);
    // Questions that are all refused, or never turn on a rule, would prove nothing.
    let share = tally.allowed * 100 / tally.questions;
    assert!((15..60).contains(&share), "{tally:#?}");
    assert!(tally.filtered * 100 / tally.questions > 80, "{tally:#?}");
    assert_eq!(tally.reasons.len(), 17, "{tally:#?}");
    for (reason, times) in &tally.reasons {
        assert!(*times >= 20, "{reason}: {tally:#?}");
    }
}
