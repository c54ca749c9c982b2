use aibridge::facts::{Metadata, Thought};
use stdx::ids::{FactId, InterceptionId};
use time::OffsetDateTime;

use super::*;
use crate::wire::{Records, Refused};

fn fact(number: u128, content: &str) -> Fact {
    Fact::Thought(Thought {
        id: FactId::new(Uuid::from_u128(number)),
        interception: InterceptionId::new(Uuid::nil()),
        content: content.to_owned(),
        created_at: OffsetDateTime::UNIX_EPOCH,
        metadata: Metadata::default(),
    })
}

#[test]
fn a_body_holds_as_many_facts_as_it_may_and_says_the_same_as_the_wire_type() {
    let facts: Vec<Fact> = (0..10).map(|number| fact(number, "a \"thought\"\n")).collect();
    let one = serde_json::to_vec(&facts[0]).unwrap().len();
    let empty = body(Uuid::nil(), &[], 10, usize::MAX).unwrap().1.len();
    for (count_max, bytes_max, want) in [
        (100, usize::MAX, 10),
        (3, usize::MAX, 3),
        (100, empty + one, 1),
        (100, empty + 2 * one, 1),
        (100, empty + 2 * one + 1, 2),
        (100, empty + one - 1, 0),
        (100, 0, 0),
    ] {
        let (count, body) = body(Uuid::from_u128(9), &facts, count_max, bytes_max).unwrap();
        assert_eq!(count, want, "{count_max} {bytes_max}");
        let records: Records = serde_json::from_slice(&body).unwrap();
        assert_eq!(records.batch_id, Uuid::from_u128(9));
        assert_eq!(records.facts, facts[..count]);
        assert!(count == 0 || body.len() <= bytes_max);
    }
}

#[test]
fn an_acknowledgement_must_cover_what_was_sent() {
    let facts = [fact(1, "a"), fact(2, "b")];
    let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let refused = |index| vec![Refused { index, reason: "no".to_owned() }];
    for (accepted, want) in [
        (Accepted { accepted: ids.to_vec(), refused: Vec::new() }, None),
        (Accepted { accepted: ids[..1].to_vec(), refused: refused(1) }, None),
        (Accepted { accepted: ids[..1].to_vec(), refused: refused(0) }, Some("1 of 2")),
        (Accepted { accepted: vec![Uuid::nil()], refused: Vec::new() }, Some("2 of 2")),
        (Accepted { accepted: ids.to_vec(), refused: refused(2) }, Some("not sent")),
        (Accepted::default(), Some("2 of 2")),
    ] {
        let checked = check(&facts, &accepted).map_err(|error| error.to_string());
        match (checked, want) {
            (Ok(()), None) => {}
            (Err(text), Some(part)) => assert!(text.contains(part), "{text}"),
            (checked, want) => panic!("{accepted:?}: {checked:?} instead of {want:?}"),
        }
    }
}
