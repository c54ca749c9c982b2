//! Bringing a spool back from files that were damaged, or that somebody made up.

mod edit;
mod forged;
mod place;
mod scene;

use std::collections::BTreeSet;

use aibridge::facts::Fact;
use ledger::read_all;

use self::edit::Damage;
use self::place::{Place, STOPPED, Shipped, ids};
use self::scene::{Record, Scene};
use crate::input::Input;

/// Times at most that a process opens a spool and ends before it can ship.
const WAITS_MAX: usize = 2;

/// Damages a spool and brings it back. The first knob chooses what was written, the second how often a process
/// opens it and ends before one ships it; the rest of the material are edits of its files, eight bytes each, see
/// [`Damage`].
///
/// Whatever is damaged, the spool opens. Nothing comes out of it but what was written, in order and once, and
/// ends of interceptions that had none; what waits and no edit has touched comes out for certain. No more is said
/// to be lost than was. The spool goes on taking facts, and ships them behind the others.
///
/// # Panics
/// When a check fails.
pub fn spool(data: &[u8]) {
    let input = Input::new(data);
    let scene = Scene::of(input.knob(0));
    let damage = Damage::of(&scene.files, &scene.records, input.material);
    let place = Place::new(&damage.files);

    outside(scene, &damage, &place);
    place.wait(input.knob(1) % (WAITS_MAX + 1));
    let new = scene::interception(scene::NEW, 40);
    let Some(shipped) = place.ship(Some(&new)) else { unreachable!("the spool does not open") };
    assert!(shipped.taken || damage.crowds, "takes no more");
    check(scene, &damage, if shipped.taken { &new } else { &[] }, &shipped);
    assert_eq!(place.ship(None), Some(Shipped::default()), "shipped again after a clean end");
}

/// What is seen of a damaged spool without opening it.
fn outside(scene: &Scene, damage: &Damage, place: &Place) {
    let Ok(records) = read_all(place.path()) else { unreachable!("of another format") };
    let mut left = scene.records.iter().enumerate();
    let mut seen = BTreeSet::new();
    for record in records {
        assert_eq!(record.unknown, 0, "what is no fact came out whole");
        let found = left.find(|(_, have)| have.facts == record.facts);
        let Some((at, _)) = found else { unreachable!("made up, repeated or out of order") };
        seen.insert(at);
    }
    for at in 0..scene.records.len() {
        assert!(damage.touched.contains(&at) || seen.contains(&at), "not seen: record {at}");
    }
}

/// What came out of a damaged spool.
fn check(scene: &Scene, damage: &Damage, new: &[Fact], shipped: &Shipped) {
    let written: Vec<&Fact> = scene.records.iter().flat_map(|record| &record.facts).collect();
    let mut left = written.iter().copied().chain(new);
    let mut ended = Vec::new();
    let mut seen = Vec::new();
    for fact in &shipped.facts {
        match fact {
            Fact::End(end) if end.error_message.as_deref() == Some(STOPPED) => {
                ended.push(end.interception);
            }
            fact => {
                assert!(
                    left.any(|have| have == fact),
                    "made up, repeated or out of order: {fact:?}"
                );
                seen.push(fact);
            }
        }
    }
    assert!(seen.ends_with(&new.iter().collect::<Vec<_>>()), "what came last is not there");
    let all = ended.len();
    ended.sort_unstable();
    ended.dedup();
    assert_eq!(ended.len(), all, "ended twice");
    for end in &ended {
        assert!(written.iter().any(|fact| fact.interception() == *end), "a made-up end");
    }
    for (at, record) in scene.records.iter().enumerate() {
        let safe = !record.acknowledged && !damage.touched.contains(&at);
        assert!(!safe || record.facts.iter().all(|fact| seen.contains(&fact)), "lost: record {at}");
    }
    if !damage.misleads {
        let unseen = |record: &&Record| record.facts.iter().any(|fact| !seen.contains(&fact));
        let unseen = scene.records.iter().filter(|record| !record.acknowledged).filter(unseen);
        let unseen: usize = unseen.map(|record| record.facts.len()).sum();
        assert!(shipped.lost <= unseen as u64, "{} of {unseen} said to be lost", shipped.lost);
    }
    if damage.is_none() {
        let waiting = |record: &&Record| !record.acknowledged;
        let waits = scene.records.iter().filter(waiting).flat_map(|record| &record.facts);
        assert_eq!(ids(seen.iter().copied()), ids(waits.chain(new)), "more than what waited");
        assert_eq!(ended, scene.open, "interceptions that were open");
    }
}

/// Opens a spool of made-up segments whose checksums are right, see [`forged::files`].
///
/// It opens, or says that it is of another format; it takes neither long nor much memory; whatever facts it
/// takes afterwards are shipped, and shipped once. What comes out is the same when processes opened it and ended
/// before one ships it.
///
/// # Panics
/// When a check fails.
pub fn segments(data: &[u8]) {
    let forged = forged::files(data);
    let place = Place::new(&forged.files);
    if let Ok(records) = read_all(place.path()) {
        let facts: usize = records.map(|record| record.facts.len() + record.unknown).sum();
        assert!(facts <= data.len(), "facts out of nothing");
    }
    let new = scene::interception(scene::NEW, 40);
    let Some(shipped) = place.ship(Some(&new)) else { return };
    let seen = shipped.facts.iter().filter(|fact| new.contains(fact)).count();
    assert_eq!(seen, if shipped.taken { new.len() } else { 0 }, "taken and not shipped, or twice");
    assert_eq!(place.ship(None), Some(Shipped::default()), "shipped again after a clean end");

    if forged.waits > 0 {
        let other = Place::new(&forged.files);
        other.wait(forged.waits);
        let later = other.ship(Some(&new)).unwrap_or_default();
        assert_eq!(
            (later.facts, later.taken),
            (shipped.facts, shipped.taken),
            "changed by waiting"
        );
    }
}
