//! The engine against the policy in Rego, on random questions.
#![cfg(test)]

use std::collections::BTreeSet;
use std::hint::black_box;

use allocation_counter::measure;
use rbac::{Catalog, Resource};
use rbac_proof::coverage::FEATURES;
use rbac_proof::question::Catalogs;
use rbac_proof::{differ, everyday, parts};
use stdx::ids::OrganizationId;
use uuid::Uuid;

/// Only matters for repeating a difference; any other must do as well.
const SEED: u64 = 4;
const QUESTIONS: u64 = 20_000;

#[test]
fn the_engine_and_the_policy_agree() {
    let tally = differ::run_all(SEED, QUESTIONS, 2, |_| ()).unwrap();
    assert_eq!(tally.questions, QUESTIONS);
    // Questions that are all refused, or never turn on a rule, would prove nothing.
    let share = tally.allowed * 100 / tally.questions;
    assert!((15..60).contains(&share), "{tally:#?}");
    assert!(tally.filtered * 100 / tally.questions > 80, "{tally:#?}");
    assert_eq!(tally.reasons.len(), 17, "{tally:#?}");
    assert!(tally.reasons.values().all(|times| *times >= 20), "{tally:#?}");
    assert_eq!(tally.features.keys().copied().collect::<Vec<_>>(), FEATURES);
    assert!(tally.features.values().all(|times| *times >= 20), "{:#?}", tally.features);
    let declared: usize = Resource::ALL.iter().map(|kind| kind.actions().iter().count()).sum();
    assert_eq!(tally.actions.len(), declared, "an action was never asked about");

    // Every role but the one that only forbids was once the reason for a yes, and every one that forbids
    // for a no.
    let (catalog, org) = (Catalog::default(), OrganizationId::new(Uuid::from_u128(1)));
    let ban = "organization-workspace-creation-ban";
    let implied = ["organization-member", "organization-service-account"];
    let mut granting: BTreeSet<String> = catalog
        .site_roles()
        .chain(catalog.org_roles(org))
        .map(|role| role.name().name().to_owned())
        .chain(parts::ALONE.iter().chain(parts::PERSONAL).map(|part| part.role().to_owned()))
        .chain(implied.map(str::to_owned))
        .chain(["custom".to_owned()])
        .collect();
    granting.remove(ban);
    let seen: BTreeSet<String> = tally.granted_by.into_keys().collect();
    assert_eq!(seen, granting);
    let forbidding = ["custom", "member", implied[0], implied[1], ban];
    assert_eq!(tally.forbidden_by.into_keys().collect::<Vec<_>>(), forbidding);
}

#[test]
fn every_part_of_the_deployment_is_asked() {
    let roles = |parts: &[parts::Part]| parts.iter().map(parts::Part::role).collect::<Vec<_>>();
    let alone: Vec<_> = rbac::system::ALL.iter().map(|part| part.role).collect();
    let personal: Vec<_> = rbac::system::PERSONAL.iter().map(|part| part.role).collect();
    assert_eq!((roles(parts::ALONE), roles(parts::PERSONAL)), (alone, personal));
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
