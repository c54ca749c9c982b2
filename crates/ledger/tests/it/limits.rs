use std::sync::Arc;
use std::time::Duration;

use aibridge::facts::{ErrorType, Fact};
use aibridge::ports::RecordError;
use ledger::{FullPolicy, Health, MAX_BYTES_MIN, OpenError, read_all};

use crate::stage::*;

/// Bytes of all files in a directory.
fn disk_bytes(dir: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Appends starts and the rest of them until one start is refused; returns how many were taken.
fn fill(stage: &Stage, from: u128) -> u128 {
    for number in from.. {
        match stage.append(vec![start(number)]) {
            Ok(_) => {
                let rest = vec![prompt(number, &"x".repeat(9_000)), end(number)];
                drop(stage.append(rest).unwrap());
            }
            Err(error) => {
                assert_eq!(error, RecordError::Full);
                return number - from;
            }
        }
    }
    unreachable!()
}

#[test]
fn a_spool_that_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let small = Terms { max_bytes: MAX_BYTES_MIN - 1, ..Terms::of(dir.path()) }.try_open();
    let text = small.err().unwrap().to_string();
    assert!(text.contains("CODER_AI_GATEWAY_SPOOL_MAX_BYTES"), "{text}");

    let _first = Terms::of(dir.path()).open();
    let second = Terms::of(dir.path()).try_open().err().unwrap();
    let text = second.to_string();
    assert!(matches!(second, OpenError::InUse { .. }), "{text}");
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    assert!(text.contains("CODER_AI_GATEWAY_SPOOL_DIR"), "{text}");

    let file = dir.path().join("lock");
    let not_a_dir = Terms::of(&file).try_open().err().unwrap();
    assert!(matches!(not_a_dir, OpenError::Directory { .. }), "{not_a_dir}");
}

#[tokio::test]
async fn a_record_larger_than_a_segment_finds_room_at_once() {
    // However far the thread is that prepares files.
    for _ in 0..20 {
        let dir = tempfile::tempdir().unwrap();
        let stage = Terms { max_bytes: MAX_BYTES_MIN, ..Terms::of(dir.path()) }.open();
        stage.record(vec![start(1)]).await;
        stage.record(vec![prompt(1, &"x".repeat(100_000))]).await;
        stage.record(vec![end(1)]).await;
        stage.stop().await;
    }
}

#[tokio::test]
async fn a_full_spool_refuses_starts_takes_ends_and_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let terms = Terms { max_bytes: MAX_BYTES_MIN, ..Terms::of(dir.path()) };
    let stage = terms.open();
    let open = 10_000_000;
    for number in open..open + 10 {
        stage.record(vec![start(number)]).await;
    }
    let taken = fill(&stage, 1);
    assert!(taken > 30, "{taken}");
    assert!(disk_bytes(dir.path()) <= MAX_BYTES_MIN);
    let status = stage.ledger.status();
    assert_eq!((status.health, status.writable()), (Health::Full, false));
    assert_eq!(stage.append(vec![start(0)]).unwrap_err(), RecordError::Full);

    // The texts of what is open may have to go, its usage not.
    for number in open..open + 10 {
        let rest = vec![prompt(number, &"x".repeat(50_000)), tokens(number, 7), end(number)];
        stage.record(rest).await;
    }
    assert!(stage.ledger.status().lost_facts > 0);
    let place = Place::new(Mood::Willing);
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    within(stage.ledger.drained()).await;
    let facts = place.facts();
    let usage = facts.iter().filter(|fact| matches!(fact, Fact::Tokens(_))).count();
    let ends = facts.iter().filter(|fact| matches!(fact, Fact::End(_))).count();
    assert_eq!((usage, ends), (10, 10 + usize::try_from(taken).unwrap()));
    assert_eq!(stage.ledger.status().open_interceptions, 0);
    // Whoever asks before sending more is told, although nothing was appended.
    eventually(|| stage.ledger.status().health == Health::Writable).await;

    let again = fill(&stage, 1_000_000);
    assert!(again > 10, "{again}");
    within(stage.ledger.drained()).await;
    assert!(fill(&stage, 2_000_000) > 10, "and again");
    assert!(disk_bytes(dir.path()) <= MAX_BYTES_MIN);
    stage.stop().await;
}

#[tokio::test]
async fn a_full_spool_may_let_pass_and_counts_what_it_loses() {
    let dir = tempfile::tempdir().unwrap();
    let terms = Terms { max_bytes: MAX_BYTES_MIN, full: FullPolicy::Pass, ..Terms::of(dir.path()) };
    let stage = terms.open();
    let mut taken = 0;
    while stage.ledger.status().lost_facts == 0 {
        taken += 1;
        stage.record(vec![start(taken)]).await;
        if stage.ledger.status().lost_facts == 0 {
            stage.record(vec![prompt(taken, &"x".repeat(9_000)), end(taken)]).await;
        }
    }
    // The start of the last one was let pass; so is the rest, even when there is room again.
    let place = Place::new(Mood::Willing);
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    within(stage.ledger.drained()).await;
    stage.record(rest(taken)).await;
    assert_eq!(stage.ledger.status().lost_facts, 4);
    stage.record(vec![start(taken + 1)]).await;
    stage.record(rest(taken + 1)).await;
    within(stage.ledger.drained()).await;
    assert_eq!(place.facts().len() as u128, (taken - 1) * 3 + 4);
    eventually(|| {
        stage.registry.encode().contains("spool_lost_facts_total{reason=\"full_passed\"} 4\n")
    })
    .await;
    stage.stop().await;
}

#[tokio::test]
async fn a_record_larger_than_a_segment_is_taken_shipped_in_parts_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Terms { max_bytes: 64 << 20, ..Terms::of(dir.path()) }.open();
    let place = Place::new(Mood::Willing);
    let texts: Vec<Fact> = (0..8).map(|n| prompt(1 << 20 | n, &"y".repeat(600_000))).collect();
    stage.record(vec![start(1)]).await;
    stage.record(texts.clone()).await;
    stage.record(vec![end(1)]).await;
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    within(stage.ledger.drained()).await;
    assert_eq!(place.facts(), [vec![start(1)], texts, vec![end(1)]].concat());
    let sizes = place.batch_sizes();
    assert!(sizes.iter().all(|size| *size <= 2), "{sizes:?}");
    let too_large = vec![start(2), prompt(2, &"z".repeat(70 << 20))];
    assert_eq!(stage.append(too_large).unwrap_err(), RecordError::Full);
    stage.record(vec![start(3)]).await;
    stage.stop().await;
}

#[tokio::test]
async fn the_next_process_ends_what_was_open() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Terms::of(dir.path()).open();
    for number in [3, 1, 2] {
        stage.record(vec![start(number)]).await;
    }
    stage.record(rest(1)).await;
    assert_eq!(stage.ledger.status().open_interceptions, 2);
    stage.stop().await;

    let stage = Terms::of(dir.path()).open();
    assert_eq!(stage.ledger.status().open_interceptions, 0);
    let place = Place::new(Mood::Willing);
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    within(stage.ledger.drained()).await;
    let ends: Vec<_> = place.facts().into_iter().skip(6).collect();
    let mut ended = Vec::new();
    for end in ends {
        let Fact::End(end) = end else { panic!("{end:?}") };
        assert_eq!(end.error_type, Some(ErrorType::Unknown));
        let message = end.error_message.unwrap();
        assert_eq!(message, "the gateway stopped before the request ended");
        assert_eq!(end.ended_at, NOW);
        assert_eq!(end.id.uuid().get_version_num(), 7);
        ended.push(end.interception);
    }
    ended.sort_unstable();
    assert_eq!(ended, [id(2), id(3)]);
    stage.stop().await;
}

#[tokio::test]
async fn ages_are_never_negative_and_order_is_not_by_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Terms::of(dir.path()).open();
    stage.record(vec![start(1)]).await;
    stage.clock.advance(Duration::from_secs(90));
    assert_eq!(stage.ledger.status().oldest_age, Some(Duration::from_secs(90)));
    stage.clock.set(NOW - Duration::from_hours(1));
    assert_eq!(stage.ledger.status().oldest_age, Some(Duration::ZERO));
    stage.record(rest(1)).await;
    let place = Place::new(Mood::Away(None));
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    place.called(1).await;
    stage.clock.set(NOW + Duration::from_secs(10));
    assert_eq!(stage.ledger.status().oldest_age, Some(Duration::from_secs(10)));
    place.set(Mood::Willing);
    within(stage.ledger.drained()).await;
    assert_eq!(place.facts(), [vec![start(1)], rest(1)].concat());
    let stored = read_all(dir.path()).unwrap();
    let times: Vec<_> = stored.map(|record| record.appended_at).collect();
    assert_eq!(times, [NOW, NOW - Duration::from_hours(1)]);
    stage.stop().await;
}
