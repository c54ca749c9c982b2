//! Threads whose parts come in any order.

use std::time::Duration;

use store::Full;
use store::interceptions::{Facts, Start, Tool};

use super::{follows, fresh, ingest, links, start, tool};
use crate::scene::value;

/// All orders of `parts`.
fn orders<T: Clone>(parts: &[T]) -> Vec<Vec<T>> {
    if parts.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for at in 0..parts.len() {
        let mut rest = parts.to_vec();
        let first = rest.remove(at);
        for mut order in orders(&rest) {
            order.insert(0, first.clone());
            all.push(order);
        }
    }
    all
}

async fn send(store: &Full, parts: Vec<(Vec<Start>, Vec<Tool>)>) {
    let mut facts = Facts::default();
    for (starts, tools) in parts {
        facts.starts.extend(starts);
        facts.tools.extend(tools);
    }
    ingest(store, facts).await;
}

const SESSIONS: &str = "SELECT count(DISTINCT session_id) FROM aibridge_interceptions";

#[tokio::test(flavor = "multi_thread")]
async fn turns_that_come_in_any_order_hang_together_alike() {
    let turns = [
        (vec![start(1, 1)], vec![tool(1, "a")]),
        (vec![follows("a", start(2, 1))], vec![tool(2, "b")]),
        (vec![follows("b", start(3, 1))], vec![tool(3, "c")]),
    ];
    let (db, store) = fresh().await;
    for order in orders(&turns) {
        // Each alone, the first two in one batch, the last two in one batch.
        for (first, second) in [(1, 2), (2, 3), (1, 3)] {
            for batch in [&order[..first], &order[first..second], &order[second..]] {
                send(&store, batch.to_vec()).await;
            }
            let numbers: Vec<_> = order.iter().map(|turn| turn.0[0].id).collect();
            assert_eq!(
                links(&db).await,
                ["1 - -", "2 1 1", "3 2 1"],
                "{first} {second} {numbers:?}"
            );
            assert_eq!(value(&db, SESSIONS).await, "1");
            for table in ["aibridge_interceptions", "aibridge_tool_usages"] {
                db.sql(&format!("TRUNCATE {table}")).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_and_calls_that_come_apart_in_any_order_hang_together_alike() {
    // A start before the calls of its own, and that is all.
    let parts = [
        (vec![start(1, 1)], vec![]),
        (vec![], vec![tool(1, "a")]),
        (vec![follows("a", start(2, 1))], vec![]),
        (vec![], vec![tool(2, "b")]),
        (vec![follows("b", start(3, 1))], vec![]),
    ];
    let (db, store) = fresh().await;
    let mut tried = 0;
    for order in orders(&[0, 1, 2, 3, 4]) {
        let place = |part| order.iter().position(|at| *at == part);
        if place(0) > place(1) || place(2) > place(3) {
            continue;
        }
        tried += 1;
        for part in &order {
            send(&store, vec![parts[*part].clone()]).await;
        }
        assert_eq!(links(&db).await, ["1 - -", "2 1 1", "3 2 1"], "{order:?}");
        for table in ["aibridge_interceptions", "aibridge_tool_usages"] {
            db.sql(&format!("TRUNCATE {table}")).await.unwrap();
        }
    }
    assert_eq!(tried, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_two_turns_in_one_batch_link_a_chain_and_all_that_follows() {
    let (db, store) = fresh().await;
    let starts = vec![
        start(1, 1),
        follows("a", start(2, 1)),
        follows("b", start(3, 1)),
        follows("c", start(4, 1)),
        follows("b", start(5, 1)),
    ];
    // 4 follows 3 already when the rest is linked.
    ingest(&store, Facts { starts, tools: vec![tool(3, "c")], ..Facts::default() }).await;
    assert_eq!(links(&db).await, ["1 - -", "2 - -", "3 - -", "4 3 3", "5 - -"]);
    let tools = vec![tool(2, "b"), tool(1, "a")];
    ingest(&store, Facts { tools: tools.clone(), ..Facts::default() }).await;
    let wanted = ["1 - -", "2 1 1", "3 2 1", "4 3 1", "5 2 1"];
    assert_eq!(links(&db).await, wanted);
    ingest(&store, Facts { tools, ..Facts::default() }).await;
    assert_eq!(links(&db).await, wanted, "again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_comes_late_links_only_what_is_its_own() {
    let (db, store) = fresh().await;
    let long = "x".repeat(257);
    let starts = vec![
        // Of somebody else.
        follows("a", start(2, 2)),
        // Long before the call.
        follows("a", start(3, 1)),
        follows("", start(4, 1)),
        follows(&long, start(5, 1)),
        // Linked already.
        start(6, 1),
        follows("z", start(7, 1)),
        // This is it.
        follows("a", start(9, 1)),
    ];
    ingest(&store, Facts { starts, tools: vec![tool(6, "z")], ..Facts::default() }).await;
    let mut early = tool(8, "a");
    early.created_at = start(9, 1).started_at;
    let tools = vec![
        early,
        Tool { id: tool(80, "").id, ..tool(8, "") },
        Tool { id: tool(81, "").id, ..tool(8, &long) },
    ];
    ingest(&store, Facts { starts: vec![start(8, 1)], tools, ..Facts::default() }).await;
    let z_again = Tool { id: tool(82, "").id, ..tool(8, "z") };
    ingest(&store, Facts { tools: vec![z_again], ..Facts::default() }).await;
    let wanted = ["2 - -", "3 - -", "4 - -", "5 - -", "6 - -", "7 6 6", "8 - -", "9 8 8"];
    assert_eq!(links(&db).await, wanted);
}

/// Some providers number their calls anew in each answer, and clocks differ: two may seem to call each other.
#[tokio::test(flavor = "multi_thread")]
async fn those_that_seem_to_follow_each_other_are_not_linked_in_a_circle() {
    let (db, store) = fresh().await;
    let at = |n: u32, call: &str| {
        let mut tool = tool(n, call);
        tool.created_at = start(1, 1).started_at + Duration::from_secs(1);
        tool
    };
    let starts = vec![follows("call_2", start(1, 1)), follows("call_1", start(2, 1))];
    ingest(&store, Facts { starts, ..Facts::default() }).await;
    let tools = vec![at(1, "call_1"), at(2, "call_2")];
    ingest(&store, Facts { tools, ..Facts::default() }).await;
    assert_eq!(links(&db).await, ["1 - -", "2 - -"]);

    // One after the other, the first one counts; a call of one's own does not.
    let (db, store) = fresh().await;
    let starts = vec![
        follows("call_2", start(1, 1)),
        follows("call_1", start(2, 1)),
        follows("call_3", start(3, 1)),
    ];
    ingest(&store, Facts { starts, ..Facts::default() }).await;
    for tool in [at(1, "call_1"), at(2, "call_2"), at(3, "call_3")] {
        ingest(&store, Facts { tools: vec![tool], ..Facts::default() }).await;
    }
    assert_eq!(links(&db).await, ["1 - -", "2 1 1", "3 - -"]);
}
