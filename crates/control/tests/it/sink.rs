//! Shipping facts: what was acknowledged, what was not, and what it means.

use aibridge::facts::{Fact, Metadata, Thought};
use control::client::{ControlSink, Ended, Link};
use control::wire::Records;
use ledger::{Batch, Receipt, RefusedFact, Sink as _, SinkError};
use std::time::Duration;
use stdx::ids::{FactId, InterceptionId};
use stdx::{ManualClock, SystemClock};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::peer::{KEY, Mood, Peer, client, within};

fn batch(count: u128) -> Batch {
    let facts = (0..count).map(|number| {
        Fact::Thought(Thought {
            id: FactId::new(Uuid::from_u128(number)),
            interception: InterceptionId::new(Uuid::from_u128(1)),
            content: "hm".to_owned(),
            created_at: OffsetDateTime::UNIX_EPOCH,
            metadata: Metadata::default(),
        })
    });
    Batch { id: Uuid::from_u128(99), facts: facts.collect() }
}

fn accepted(ids: impl Iterator<Item = u128>, refused: &[usize]) -> String {
    let ids: Vec<String> = ids.map(|id| format!("\"{}\"", Uuid::from_u128(id))).collect();
    let refused: Vec<String> =
        refused.iter().map(|index| format!(r#"{{"index":{index},"reason":"no"}}"#)).collect();
    format!(r#"{{"accepted":[{}],"refused":[{}]}}"#, ids.join(","), refused.join(","))
}

#[tokio::test]
async fn a_batch_is_taken_as_a_whole_in_parts_of_what_one_call_may_hold() {
    let peer = Peer::new();
    let running = peer.start(0).await;
    let link = Link::new(SystemClock::shared(), Duration::ZERO);
    let sink = ControlSink::new(client(running.address, KEY), link);
    peer.answers
        .lock()
        .unwrap()
        .extend([(200, accepted(0..5_000, &[])), (200, accepted(5_000..7_000, &[]))]);
    let receipt = within(sink.ingest(&batch(7_000))).await.unwrap();
    assert_eq!(receipt, Receipt::default());
    let sent: Vec<Records> =
        peer.records().iter().map(|body| serde_json::from_slice(body).unwrap()).collect();
    let facts: Vec<Fact> = sent.iter().flat_map(|records| records.facts.clone()).collect();
    assert_eq!(sent.iter().map(|records| records.facts.len()).collect::<Vec<_>>(), [5_000, 2_000]);
    assert!(sent.iter().all(|records| records.batch_id == Uuid::from_u128(99)));
    assert_eq!(facts, batch(7_000).facts);

    peer.answers
        .lock()
        .unwrap()
        .extend([(200, accepted(0..4_999, &[4_999])), (200, accepted(5_000..5_001, &[1]))]);
    let receipt = within(sink.ingest(&batch(5_002))).await.unwrap();
    let refused = |index| RefusedFact { index, reason: "no".to_owned() };
    assert_eq!(receipt.refused, [refused(4_999), refused(5_001)], "counted in the whole batch");
}

#[tokio::test]
async fn what_is_not_acknowledged_is_to_be_sent_again() {
    let peer = Peer::new();
    let running = peer.start(0).await;
    let link = Link::new(ManualClock::new(OffsetDateTime::UNIX_EPOCH), Duration::ZERO);
    let sink = ControlSink::new(client(running.address, KEY), link.clone());
    for (status, answer, want, wait) in [
        (200, accepted(0..2, &[]), "did not acknowledge 1 of 3", None),
        (200, accepted(0..3, &[3]), "refused what was not sent", None),
        (200, "{}".to_owned(), "is not understood", None),
        (429, "{}".to_owned(), "try again later", Some(Duration::from_secs(9))),
        (503, "{}".to_owned(), "try again later", Some(Duration::from_secs(9))),
        (500, "{}".to_owned(), "coderd answered 500", None),
    ] {
        peer.answers.lock().unwrap().push((status, answer));
        match within(sink.ingest(&batch(3))).await {
            Err(SinkError::Unavailable { reason, retry_after }) => {
                assert!(reason.contains(want), "{status}: {reason}");
                assert_eq!(retry_after, wait, "{status}");
            }
            other => panic!("{status}: {other:?}"),
        }
    }
    peer.answers.lock().unwrap().push((400, "{}".to_owned()));
    match within(sink.ingest(&batch(3))).await {
        Err(SinkError::NotUnderstood { reason }) => {
            assert!(reason.contains("does not understand"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    peer.set(Mood::Says(401, vec![(control::VERSION_HEADER, control::VERSION)], "{}"));
    let denied = within(sink.ingest(&batch(3))).await;
    assert!(matches!(denied, Err(SinkError::Denied { .. })), "{denied:?}");
    assert!(matches!(within(link.ended()).await, Ended::Key(_)), "and everybody learns of it");
}
