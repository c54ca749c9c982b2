//! Facts that come again, also at once, and in other company than the first time.

use std::time::Duration;

use rbac::system;
use store::Store as _;
use store::interceptions::{End, Facts, IngestFacts, Start};
use store::{Call, Full};

use super::{COUNTS, end, follows, fresh, ingest, prompt, sample_facts, start, tokens, tool};
use crate::scene::{eventually, value};

/// Everything that is stored.
const DIGEST: &str = "SELECT concat_ws(' ',
    (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM aibridge_interceptions t),
    (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM aibridge_token_usages t),
    (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM aibridge_user_prompts t),
    (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM aibridge_tool_usages t),
    (SELECT md5(string_agg(t::text, '|' ORDER BY id)) FROM aibridge_model_thoughts t))";

#[tokio::test(flavor = "multi_thread")]
async fn storing_the_same_facts_again_changes_nothing() {
    let (db, store) = fresh().await;
    let facts = || Facts {
        starts: vec![start(1, 1), follows("toolu_1", start(2, 1))],
        ..sample_facts(1, 1)
    };
    ingest(&store, facts()).await;
    assert_eq!(value(&db, COUNTS).await, "2 1 1 1 1");
    let before = value(&db, DIGEST).await;
    ingest(&store, facts()).await;
    // The same identifiers with other contents: what was stored first stays.
    let forged = Facts {
        starts: vec![Start { model: "other".to_owned(), ..start(1, 9) }],
        tokens: vec![tokens(1, 999, 999)],
        prompts: vec![prompt(1, "other")],
        tools: vec![tool(1, "other")],
        ends: vec![End { error_type: Some("timeout"), ..end(1) }],
        ..Facts::default()
    };
    ingest(&store, forged).await;
    ingest(&store, Facts::default()).await;
    assert_eq!(value(&db, DIGEST).await, before);
}

/// A gateway that gave up waiting sends again while the first try is still under way.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_facts_at_once_in_any_order_neither_lock_up_nor_count_twice() {
    let (db, store) = fresh().await;
    let all = || {
        (0..400).map(|n| (start(n, n % 3), tokens(n, 1, 1), prompt(n, "p"), tool(n, "c"), end(n)))
    };
    let facts = |backwards: bool, began: bool| {
        let mut facts = Facts::default();
        let rows: Vec<_> = if backwards { all().rev().collect() } else { all().collect() };
        for (start, tokens, prompt, tool, end) in rows {
            facts.tokens.push(tokens);
            facts.prompts.push(prompt);
            facts.tools.push(tool);
            facts.ends.push(end);
            if !began {
                facts.starts.push(start);
            }
        }
        facts
    };
    let send = |facts: Facts| {
        let store = store.clone();
        async move { store.run(Call::by(system::gateway()), IngestFacts(facts.into())).await }
    };
    let outcomes = tokio::join!(
        send(facts(false, false)),
        send(facts(true, false)),
        send(facts(true, false)),
        send(facts(false, false)),
    );
    for outcome in [outcomes.0, outcomes.1, outcomes.2, outcomes.3] {
        assert_eq!(outcome.unwrap(), [], "every end found its start");
    }
    assert_eq!(value(&db, COUNTS).await, "400 400 400 400 0");
    let ended =
        "SELECT count(*) FILTER (WHERE ended_at - started_at = '0.5s') FROM aibridge_interceptions";
    assert_eq!(value(&db, ended).await, "400");
    let before = value(&db, DIGEST).await;

    // Ends alone go another way; nothing is left to apply, in whatever order they come.
    db.sql("UPDATE aibridge_interceptions SET ended_at = NULL").await.unwrap();
    let outcomes =
        tokio::join!(send(facts(true, true)), send(facts(false, true)), send(facts(true, true)));
    for outcome in [outcomes.0, outcomes.1, outcomes.2] {
        assert_eq!(outcome.unwrap(), []);
    }
    assert_eq!(value(&db, DIGEST).await, before);
}

/// The start was stored before, alone: the insert of the whole row does nothing, the end must still count.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_counts_when_its_start_comes_again_beside_it() {
    let (db, store) = fresh().await;
    ingest(&store, Facts { starts: vec![start(1, 1)], ..Facts::default() }).await;
    let failed = |n| End { error_type: Some("timeout"), ..end(n) };
    let starts = vec![start(2, 1), start(1, 1)];
    ingest(&store, Facts { starts, ends: vec![failed(2), failed(1), end(2)], ..Facts::default() })
        .await;
    let ended =
        "SELECT string_agg(error_type, ' ') FROM aibridge_interceptions WHERE ended_at IS NOT NULL";
    assert_eq!(value(&db, ended).await, "timeout timeout", "the first end of each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_from_a_clock_that_is_ahead_is_found_and_one_from_long_after_is_not() {
    for (ahead, link) in [(4, "f"), (6, "t")] {
        let (db, store) = fresh().await;
        let mut call = tool(1, "a");
        call.created_at = start(2, 1).started_at + Duration::from_secs(ahead);
        ingest(&store, Facts { starts: vec![start(1, 1)], tools: vec![call], ..Facts::default() })
            .await;
        ingest(&store, Facts { starts: vec![follows("a", start(2, 1))], ..Facts::default() }).await;
        let unlinked =
            "SELECT thread_root_id IS NULL FROM aibridge_interceptions ORDER BY id DESC LIMIT 1";
        assert_eq!(value(&db, unlinked).await, link, "{ahead} seconds ahead");
    }
}

async fn fill(store: &Full, from: u32, to: u32) {
    let facts = Facts {
        starts: (from..to)
            .map(|n| follows(&format!("call {}", n.wrapping_sub(1)), start(n, 1)))
            .collect(),
        tools: (from..to).map(|n| tool(n, &format!("call {n}"))).collect(),
        ends: (from..to).map(end).collect(),
        ..Facts::default()
    };
    ingest(store, facts).await;
}

/// Statements that were planned for empty tables must not go on reading all rows when these have filled.
#[tokio::test(flavor = "multi_thread")]
async fn full_tables_are_not_read_from_end_to_end() {
    let (db, store) = fresh().await;
    for n in 0..20 {
        fill(&store, n * 50, (n + 1) * 50).await;
    }
    fill(&store, 1_000, 6_000).await;
    let reads = |what: &str| {
        format!(
            "SELECT {what} FROM pg_stat_user_tables WHERE relname ~ '^aibridge_(tool_usages|interceptions)_'"
        )
    };
    db.sql("ANALYZE").await.unwrap();
    // Counts arrive late: those of the filling must be there before they are forgotten.
    eventually(&db, &reads("sum(n_tup_ins) = 12000"), "t").await;
    db.sql("SELECT pg_stat_reset()").await.unwrap();
    for n in 0..10 {
        let (from, to) = (6_000 + n * 20, 6_020 + n * 20);
        fill(&store, from, to).await;
        ingest(&store, Facts { ends: (from..to).map(end).collect(), ..Facts::default() }).await;
    }
    eventually(&db, &reads("sum(n_tup_ins) = 400"), "t").await;
    assert_eq!(value(&db, &reads("sum(idx_scan) > 400")).await, "t");
    assert_eq!(value(&db, &reads("sum(seq_tup_read)")).await, "0");
}
