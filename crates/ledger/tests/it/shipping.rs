use std::sync::Arc;
use std::time::Duration;

use aibridge::facts::Fact;
use aibridge::ports::RecordError;
use ledger::{Shipping, SyncPolicy};

use crate::stage::*;

#[tokio::test]
async fn what_is_recorded_arrives_in_order_and_is_acknowledged() {
    for sync in [SyncPolicy::Os, SyncPolicy::Strict] {
        let dir = tempfile::tempdir().unwrap();
        let stage = Terms { sync, ..Terms::of(dir.path()) }.open();
        let place = Place::new(Mood::Willing);
        stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
        let mut want = Vec::new();
        for number in 0..50 {
            let facts = [vec![start(number)], rest(number)];
            for batch in facts {
                stage.record(batch.clone()).await;
                want.extend(batch);
            }
        }
        within(stage.ledger.drained()).await;
        assert_eq!(place.facts(), want);
        let status = stage.ledger.status();
        assert_eq!((status.waiting_facts, status.waiting_bytes, status.oldest_age), (0, 0, None));
        stage.stop().await;
    }
}

#[tokio::test]
async fn what_was_left_is_shipped_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let terms = Terms::of(dir.path());
    let stage = terms.open();
    stage.record(vec![start(1)]).await;
    stage.record(rest(1)).await;
    assert_eq!(stage.ledger.status().waiting_facts, 4);
    stage.stop().await;

    let stage = terms.open();
    assert_eq!(stage.ledger.status().waiting_facts, 4);
    let place = Place::new(Mood::Willing);
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    within(stage.ledger.drained()).await;
    assert_eq!(place.facts(), [vec![start(1)], rest(1)].concat());
    stage.stop().await;

    let stage = terms.open();
    assert_eq!(stage.ledger.status().waiting_facts, 0, "acknowledged for good");
    assert_eq!(stage.ledger.status().open_interceptions, 0);
    stage.stop().await;
}

#[tokio::test]
async fn a_closed_ledger_takes_nothing_and_has_shipped_all() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Terms::of(dir.path()).open();
    let place = Place::new(Mood::Willing);
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    stage.record(vec![start(1)]).await;
    let ledger = stage.ledger.clone();
    stage.stop().await;
    assert_eq!(place.facts().len(), 1);
    assert_eq!(ledger.status().shipping, Shipping::Stopped);
    let refused = aibridge::ports::Recorder::append(&ledger, rest(1));
    assert_eq!(refused.unwrap_err(), RecordError::Closed);
}

#[tokio::test]
async fn a_batch_is_repeated_under_its_name_until_it_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Terms::of(dir.path()).open();
    let place = Place::new(Mood::Away(None));
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    stage.record(vec![start(1)]).await;
    place.called(4).await;
    assert_eq!(stage.ledger.status().shipping, Shipping::Waiting);
    assert_eq!(stage.ledger.status().waiting_facts, 1);
    place.set(Mood::Willing);
    within(stage.ledger.drained()).await;
    let calls = place.calls();
    assert!(calls.iter().all(|id| *id == calls[0]), "{calls:?}");
    assert_eq!(place.facts(), [start(1)]);
    stage.stop().await;
}

#[tokio::test]
async fn the_pause_that_the_place_asks_for_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Terms::of(dir.path()).open();
    let place = Place::new(Mood::Away(Some(Duration::from_millis(400))));
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    stage.record(vec![start(1)]).await;
    place.called(1).await;
    let before = tokio::time::Instant::now();
    place.called(2).await;
    assert!(before.elapsed() >= Duration::from_millis(400));
    stage.stop().await;
}

#[tokio::test]
async fn a_gateway_that_is_denied_ships_nothing_until_told() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Terms::of(dir.path()).open();
    let place = Place::new(Mood::Denying);
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    stage.record(vec![start(1)]).await;
    eventually(|| stage.ledger.status().shipping == Shipping::Denied).await;
    stage.record(rest(1)).await;
    assert_eq!(stage.ledger.status().waiting_facts, 4);
    assert_eq!(place.calls().len(), 1);
    place.set(Mood::Willing);
    stage.ledger.resume_shipping();
    within(stage.ledger.drained()).await;
    assert_eq!(place.facts().len(), 4);
    stage.stop().await;
}

#[tokio::test]
async fn refused_facts_are_kept_in_a_file_and_hold_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Terms::of(dir.path()).open();
    let place = Place::new(Mood::Picky);
    stage.ledger.ship(Arc::clone(&place), &stage.lifecycle);
    stage.record(vec![start(1)]).await;
    stage.record(rest(1)).await;
    within(stage.ledger.drained()).await;
    assert_eq!(stage.ledger.status().lost_facts, 1);
    let text = std::fs::read_to_string(dir.path().join("refused.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(line["reason"], "too odd");
    let fact: Fact = serde_json::from_value(line["fact"].clone()).unwrap();
    assert_eq!(fact, prompt(1, "hi"));
    stage.stop().await;
}
