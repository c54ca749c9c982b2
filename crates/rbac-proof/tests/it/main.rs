//! The engine against the policy in Rego, on random questions.
#![cfg(test)]

use std::hint::black_box;
use std::thread;

use allocation_counter::measure;
use rbac_proof::differ::{self, Tally};
use rbac_proof::everyday;
use rbac_proof::question::Catalogs;

/// Seeds only matter for repeating a difference; any others must do as well. One thread for each.
const SEEDS: [u64; 2] = [4, 5];
const QUESTIONS: u64 = 20_000;

#[test]
fn the_engine_and_the_policy_agree() {
    let each = QUESTIONS / SEEDS.len() as u64;
    let tallies = thread::scope(|scope| {
        SEEDS
            .map(|seed| scope.spawn(move || differ::run(seed, each, |_| ()).unwrap()))
            .map(|thread| thread.join().unwrap())
    });
    let tally = tallies.into_iter().reduce(Tally::with).unwrap();
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

/// A decision, and testing a row against a filter, must not wait for an allocator.
#[test]
fn nothing_is_allocated_on_the_way_to_a_decision() {
    let catalogs = Catalogs::default();
    for orgs in [1, 100] {
        let questions = everyday::questions(orgs);
        assert!(questions.len() > 50);
        for question in questions {
            let subject = question.subject(&catalogs).unwrap();
            let acl = question.acl();
            let object = question.object(&acl);
            let filter = subject.row_filter(question.action, question.what.resource);
            let counted = measure(|| {
                let allowed = subject.authorize(question.action, &object).is_ok();
                black_box((allowed, filter.matches(&object)));
            });
            assert_eq!(counted.count_total, 0, "{question:#?}");
        }
    }
    assert!(measure(|| drop(black_box(vec![0_u8; 9]))).count_total > 0, "nothing is counted");
}
