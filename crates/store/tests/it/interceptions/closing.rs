//! Interceptions whose end never came.

use std::time::Duration;

use rbac::system;
use store::interceptions::{End, Facts, SweepOpen};
use store::{Call, Error, Full, Store as _};

use super::{
    end, fresh, ingest, interception_id, prompt, sample_facts, start, thought, tokens, tool,
};
use crate::scene::{NOW, member, value};

async fn sweep(store: &Full, before: u64, limit: i64) -> usize {
    let started_before = NOW + Duration::from_secs(before);
    store.run(Call::by(system::gateway()), SweepOpen { started_before, limit }).await.unwrap()
}

/// Seconds after `NOW` of the end, and the error, in order of the starts.
const ENDS: &str = "SELECT string_agg(concat_ws(':', extract(epoch FROM ended_at - '2031-01-15 12:00Z')::float8,
        error_type, error_message), ' ' ORDER BY id) FROM aibridge_interceptions WHERE ended_at IS NOT NULL";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_for_long_ends_with_its_newest_fact() {
    let (db, store) = fresh().await;
    let late = Duration::from_secs(100);
    ingest(&store, sample_facts(1, 1)).await;
    let mut facts = Facts { starts: (2..=7).map(|n| start(n, 1)).collect(), ..Facts::default() };
    facts.tokens.push(tokens(3, 1, 1));
    facts.prompts.push(prompt(4, "p"));
    facts.tools.push(tool(5, "c"));
    facts.thoughts.push(thought(6));
    facts.tokens[0].created_at += late;
    facts.prompts[0].created_at += late;
    facts.tools[0].created_at += late;
    facts.thoughts[0].created_at += late;
    // Of several facts the newest.
    facts.prompts.push(prompt(3, "p"));
    ingest(&store, facts).await;
    assert_eq!(sweep(&store, 2, 10).await, 0, "none began before");
    assert_eq!(sweep(&store, 7, 10).await, 5);
    let swept = "unknown:no end was recorded";
    let wanted = [
        "1.5".to_owned(),
        format!("2:{swept}"),
        format!("103:{swept}"),
        format!("104:{swept}"),
        format!("105.3:{swept}"),
        format!("106:{swept}"),
    ];
    assert_eq!(value(&db, ENDS).await, wanted.join(" "), "the seventh may be under way");
    assert_eq!(sweep(&store, 7, 10).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_is_bounded_and_takes_the_oldest() {
    let (db, store) = fresh().await;
    ingest(&store, Facts { starts: (1..=5).map(|n| start(n, 1)).collect(), ..Facts::default() })
        .await;
    let open = "SELECT string_agg(right(id::text, 1), '' ORDER BY id) FROM aibridge_interceptions WHERE ended_at IS NULL";
    for (limit, closed, left) in
        [(0, 0, "12345"), (-1, 0, "12345"), (2, 2, "345"), (2, 2, "5"), (2, 1, "NULL")]
    {
        assert_eq!(sweep(&store, 9, limit).await, closed);
        assert_eq!(value(&db, open).await, left);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_end_replaces_a_swept_one_and_nothing_replaces_a_real_one() {
    let (db, store) = fresh().await;
    ingest(&store, Facts { starts: vec![start(1, 1)], ..Facts::default() }).await;
    assert_eq!(sweep(&store, 9, 10).await, 1);
    // The start again does not open it again.
    ingest(&store, Facts { starts: vec![start(1, 1)], ..Facts::default() }).await;
    assert_eq!(value(&db, ENDS).await, "1:unknown:no end was recorded");
    ingest(&store, Facts { ends: vec![end(1)], ..Facts::default() }).await;
    assert_eq!(value(&db, ENDS).await, "1.5");
    let second = End { error_type: Some("timeout"), ended_at: NOW, ..end(1) };
    ingest(&store, Facts { ends: vec![second], ..Facts::default() }).await;
    assert_eq!(sweep(&store, 9, 10).await, 0);
    assert_eq!(value(&db, ENDS).await, "1.5");
    // An end of its own kind without a known cause is a real one.
    let unknown = End { error_type: Some("unknown"), ..end(2) };
    let facts = Facts { starts: vec![start(2, 1)], ends: vec![unknown], ..Facts::default() };
    ingest(&store, facts).await;
    ingest(&store, Facts { ends: vec![end(2)], ..Facts::default() }).await;
    assert_eq!(value(&db, ENDS).await, "1.5 2.5:unknown");
}

/// What is being written to is no orphan, and nobody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_in_use_is_left_for_the_next_round() {
    let (db, store) = fresh().await;
    ingest(&store, Facts { starts: vec![start(1, 1), start(2, 1)], ..Facts::default() }).await;
    let id = interception_id(1);
    let held = format!(
        "BEGIN; SELECT 1 FROM aibridge_interceptions WHERE id = '{id}' FOR UPDATE; SELECT pg_sleep(1); COMMIT"
    );
    let swept = async {
        let locked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        crate::scene::eventually(&db, locked, "1").await;
        sweep(&store, 9, 10).await
    };
    let (held, swept) = tokio::join!(db.sql(&held), swept);
    held.unwrap();
    assert_eq!(swept, 1, "the other one");
    assert_eq!(sweep(&store, 9, 10).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_gateway_sweeps() {
    let (_db, store) = fresh().await;
    let query = || SweepOpen { started_before: NOW, limit: 1 };
    for by in [&member(1), system::dbpurge(), system::auditor()] {
        let refused = store.run(Call::by(by), query()).await;
        assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    }
}
