use stdx::ids::UserId;
use uuid::Uuid;

use super::*;
use crate::wire::{self, Mark};

const GRACE: Duration = Duration::from_hours(1);
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;
const TOKEN: Digest = [1; 32];

fn known() -> Known {
    Known::new(IdentitySettings::default(), GRACE)
}

fn at(seconds: i64) -> OffsetDateTime {
    NOW + time::Duration::seconds(seconds)
}

/// The identity of user 7 by key `k`, cached for 30 seconds, that expires after two hours.
fn found() -> Resolved {
    Resolved::Identity(wire::Identity {
        user_id: UserId::new(Uuid::from_u128(7)),
        username: "ann".to_owned(),
        api_key_id: "k".to_owned(),
        expires_at: at(7_200),
        cache_seconds: 30,
    })
}

fn revoked(revoked: Vec<Revoked>) -> Revocations {
    Revocations { mark: Mark { epoch: Uuid::nil(), seq: 1 }, all: false, revoked }
}

fn all() -> Revocations {
    Revocations { all: true, ..revoked(Vec::new()) }
}

fn learnt(known: &Known) -> Arc<Entry> {
    known.learn(TOKEN, found(), known.generation(), NOW).unwrap();
    known.find(&TOKEN).unwrap()
}

#[test]
fn a_grace_shorter_than_the_cache_counts_too() {
    use Verdict::{Ask, Fresh};
    for (grace, seconds, connected, want) in [
        (0, 0, false, Ask),
        (0, 0, true, Fresh),
        (10, 9, false, Fresh),
        (10, 10, false, Ask),
        (10, 29, true, Fresh),
    ] {
        let known = Known::new(IdentitySettings::default(), Duration::from_secs(grace));
        let entry = learnt(&known);
        let verdict = known.judge(&entry, at(seconds), connected);
        assert_eq!(verdict, want, "{grace} {seconds} {connected}");
    }
}

#[test]
fn age_standing_and_expiry_decide() {
    use Verdict::{Ask, Fresh, Stale, Unconfirmed};
    let known = known();
    let entry = learnt(&known);
    for (seconds, connected, want) in [
        (0, true, Fresh),
        (29, true, Fresh),
        (29, false, Fresh),
        (30, true, Stale),
        (329, true, Stale),
        (330, true, Ask),
        (30, false, Unconfirmed),
        (3_599, false, Unconfirmed),
        (3_600, false, Ask),
        (7_199, true, Ask),
        (7_200, true, Ask),
        (7_200, false, Ask),
        // The clock went back: the answer's age is not known, so it has to be confirmed.
        (-1, true, Ask),
        (-1, false, Unconfirmed),
    ] {
        assert_eq!(known.judge(&entry, at(seconds), connected), want, "{seconds} {connected}");
    }
}

#[test]
fn an_expired_token_is_never_served_however_long_the_grace() {
    let known = known();
    let Resolved::Identity(mut identity) = found() else { unreachable!() };
    identity.expires_at = at(60);
    let now = known.generation();
    known.learn(TOKEN, Resolved::Identity(identity.clone()), now, NOW).unwrap();
    let entry = known.find(&TOKEN).unwrap();
    assert_eq!(known.judge(&entry, at(59), false), Verdict::Unconfirmed);
    assert_eq!(known.judge(&entry, at(60), false), Verdict::Ask);
    assert!(known.is_within_grace(&entry, at(59)) && !known.is_within_grace(&entry, at(60)));
    // Already over when the answer comes in.
    let late = known.learn([2; 32], Resolved::Identity(identity), now, at(60));
    assert_eq!(late, Err(Refused::Credential));
    assert!(known.find(&[2; 32]).is_none());
}

#[test]
fn after_all_is_revoked_everybody_has_to_be_confirmed_first() {
    let known = known();
    let entry = learnt(&known);
    known.revoke(&all());
    assert_eq!(known.judge(&entry, at(1), true), Verdict::Ask);
    assert_eq!(known.judge(&entry, at(1), false), Verdict::Unconfirmed, "coderd went away again");
    // It is back, and too busy to say.
    assert!(entry.begin_refresh());
    entry.end_refresh(at(1));
    assert_eq!(known.judge(&entry, at(1), true), Verdict::Ask);
    assert!(known.is_suspected(&entry));
    let entry = learnt(&known);
    assert_eq!(known.judge(&entry, at(1), true), Verdict::Fresh);
    assert!(!known.is_suspected(&entry));
}

#[test]
fn a_revocation_hits_its_key_or_user_and_nobody_else() {
    let user = |number| Revoked::User(UserId::new(Uuid::from_u128(number)));
    let key = |id: &str| Revoked::ApiKey(id.to_owned());
    for (list, gone) in [
        (vec![key("k")], true),
        (vec![user(7)], true),
        (vec![key("other"), user(8), key("k")], true),
        (vec![key("other"), key("K"), user(8)], false),
    ] {
        let known = known();
        let entry = learnt(&known);
        known.revoke(&revoked(list.clone()));
        assert_eq!(known.find(&TOKEN).is_none(), gone, "{list:?}");
        if !gone {
            assert_eq!(known.judge(&entry, at(1), true), Verdict::Fresh, "{list:?}");
        }
    }
}

#[test]
fn what_was_asked_before_a_revocation_is_not_remembered_after_it() {
    for revocation in [revoked(vec![Revoked::ApiKey("k".to_owned())]), all()] {
        let known = known();
        let asked_at = known.generation();
        known.revoke(&revocation);
        assert!(known.learn(TOKEN, found(), asked_at, NOW).is_ok(), "it counts for who asked");
        assert!(known.find(&TOKEN).is_none(), "{revocation:?}");
        assert!(known.learn(TOKEN, found(), known.generation(), NOW).is_ok());
        assert!(known.find(&TOKEN).is_some());
    }
}

#[test]
fn a_refusal_drops_the_identity_and_is_remembered_for_a_moment() {
    for (reason, want) in
        [(RefusedReason::Credential, Refused::Credential), (RefusedReason::Scope, Refused::Scope)]
    {
        let known = known();
        learnt(&known);
        let refused = known.learn(TOKEN, Resolved::Refused { reason }, known.generation(), at(10));
        assert_eq!(refused, Err(want));
        assert!(known.find(&TOKEN).is_none());
        assert_eq!(known.refusal(&TOKEN, at(12)), Some(want));
        assert_eq!(known.refusal(&TOKEN, at(13)), None);
        assert_eq!(known.refusal(&TOKEN, at(9)), None, "the clock went back");
        known.learn(TOKEN, found(), known.generation(), at(12)).unwrap();
        assert_eq!(known.refusal(&TOKEN, at(12)), None, "it became good");
    }
}

#[test]
fn when_coderd_cannot_say_it_is_left_alone_for_a_moment() {
    let known = known();
    let entry = learnt(&known);
    assert_eq!(known.judge(&entry, at(30), true), Verdict::Stale);
    assert!(entry.begin_refresh());
    assert!(!entry.begin_refresh(), "one confirmation at a time");
    entry.end_refresh(at(30));
    assert_eq!(known.judge(&entry, at(31), true), Verdict::Unconfirmed);
    assert_eq!(known.judge(&entry, at(32), true), Verdict::Stale);
    assert_eq!(
        known.judge(&entry, at(-1_000), true),
        Verdict::Ask,
        "a hold does not outlive a clock that went back"
    );
    assert!(entry.begin_refresh());
}

#[test]
fn no_more_are_remembered_than_there_is_room_for() {
    let settings =
        IdentitySettings { known_max: 100, refused_max: 100, ..IdentitySettings::default() };
    let known = Known::new(settings, GRACE);
    for number in 0..1_000_u16 {
        let [high, low] = number.to_be_bytes();
        let mut digest = [high; 32];
        digest[31] = low;
        known.learn(digest, found(), known.generation(), NOW).unwrap();
        digest[30] = !digest[30];
        let reason = RefusedReason::Credential;
        known.learn(digest, Resolved::Refused { reason }, known.generation(), NOW).unwrap_err();
    }
    assert_eq!(known.count(), 100);
    known.refusals.run_pending_tasks();
    assert_eq!(known.refusals.entry_count(), 100);
}
