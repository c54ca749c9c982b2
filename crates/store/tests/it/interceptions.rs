//! What the gateway recorded: stored once, linked into threads, filed by month.

mod closing;
mod comparing;
mod lists;
mod replays;
mod sessions;
mod telemetry;
mod threads;

use std::time::Duration;

use rbac::system;
use serde_json::json;
use stdx::ids::{FactId, InterceptionId};
use store::interceptions::{
    End, EnsurePartitions, Facts, IngestFacts, Prompt, Start, Thought, Tokens, Tool,
};
use store::{Call, Full, Pk, Store as _};
use testkit::TestDb;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use crate::scene::{NOW, user_id, value};

/// An identifier of version 7, made at `NOW` plus `n` seconds.
pub(crate) fn interception_id(n: u32) -> InterceptionId {
    id_at(NOW + Duration::from_secs(n.into()), n)
}

fn id_at(at: OffsetDateTime, n: u32) -> InterceptionId {
    let millis = u128::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap();
    InterceptionId::new(Uuid::from_u128((millis << 80) | (7 << 76) | (2 << 62) | u128::from(n)))
}

fn fact_id(n: u32) -> Pk<FactId> {
    Pk(FactId::new(Uuid::from_u128(0x60_0000 + u128::from(n))))
}

/// An interception of user `user` that began `n` seconds after `NOW`.
fn start(n: u32, user: u32) -> Start {
    Start {
        id: interception_id(n),
        initiator_id: user_id(user),
        api_key_id: "key0000001".to_owned(),
        provider: "anthropic".to_owned(),
        provider_name: "anthropic".to_owned(),
        model: "claude".to_owned(),
        client: "Claude Code".to_owned(),
        started_at: NOW + Duration::from_secs(n.into()),
        metadata: json!({}),
        client_session_id: None,
        correlating_tool_call_id: None,
        credential_kind: "centralized",
        credential_hint: "sk-a...z".to_owned(),
    }
}

fn end(n: u32) -> End {
    End {
        id: interception_id(n),
        ended_at: NOW + Duration::from_secs(n.into()) + Duration::from_millis(500),
        credential_hint: String::new(),
        error_type: None,
        error_message: None,
    }
}

fn tokens(n: u32, input: i64, output: i64) -> Tokens {
    Tokens {
        id: fact_id(1000 + n),
        interception_id: Pk(interception_id(n)),
        provider_response_id: "msg_01".to_owned(),
        input_tokens: input,
        output_tokens: output,
        cache_read_input_tokens: 3,
        cache_write_input_tokens: 4,
        metadata: json!({}),
        created_at: NOW + Duration::from_secs(n.into()),
    }
}

fn prompt(n: u32, text: &str) -> Prompt {
    Prompt {
        id: fact_id(2000 + n),
        interception_id: Pk(interception_id(n)),
        provider_response_id: "msg_01".to_owned(),
        prompt: text.to_owned(),
        metadata: json!({}),
        created_at: NOW + Duration::from_secs(n.into()),
    }
}

/// A call that interception `n` recorded in the middle of itself.
fn tool(n: u32, call: &str) -> Tool {
    Tool {
        id: fact_id(3000 + n),
        interception_id: Pk(interception_id(n)),
        provider_response_id: "msg_01".to_owned(),
        provider_tool_call_id: call.to_owned(),
        provider_item_id: None,
        server_url: None,
        tool: "Read".to_owned(),
        input: "{}".to_owned(),
        injected: false,
        invocation_error: None,
        metadata: json!({}),
        created_at: NOW + Duration::from_secs(n.into()) + Duration::from_millis(300),
    }
}

fn thought(n: u32) -> Thought {
    Thought {
        id: fact_id(4000 + n),
        interception_id: Pk(interception_id(n)),
        content: "hmm".to_owned(),
        metadata: json!({}),
        created_at: NOW + Duration::from_secs(n.into()),
    }
}

/// One finished interception with a record of each kind.
pub(crate) fn sample_facts(n: u32, user: u32) -> Facts {
    Facts {
        starts: vec![start(n, user)],
        tokens: vec![tokens(n, 10, 20)],
        prompts: vec![prompt(n, "hello")],
        tools: vec![tool(n, &format!("toolu_{n}"))],
        thoughts: vec![thought(n)],
        ends: vec![end(n)],
    }
}

async fn fresh() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    (db, store)
}

async fn ingest(store: &Full, facts: Facts) {
    let unknown = store.run(Call::by(system::gateway()), IngestFacts(facts.into())).await.unwrap();
    assert_eq!(unknown, [], "ends without start");
}

const COUNTS: &str = "SELECT concat_ws(' ', (SELECT count(*) FROM aibridge_interceptions),
    (SELECT count(*) FROM aibridge_token_usages), (SELECT count(*) FROM aibridge_user_prompts),
    (SELECT count(*) FROM aibridge_tool_usages), (SELECT count(*) FROM aibridge_model_thoughts))";

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_larger_than_one_statement_is_stored_whole() {
    let (db, store) = fresh().await;
    let facts = Facts {
        starts: (0..2_500).map(|n| start(n, 1)).collect(),
        tokens: (0..2_500).map(|n| tokens(n, 1, 1)).collect(),
        ends: (0..2_500).map(end).collect(),
        ..Facts::default()
    };
    ingest(&store, facts).await;
    assert_eq!(value(&db, COUNTS).await, "2500 2500 0 0 0");
    let ended = "SELECT count(ended_at) FROM aibridge_interceptions";
    assert_eq!(value(&db, ended).await, "2500");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interception_ends_once_and_never_before_it_began() {
    let (db, store) = fresh().await;
    let ends = |ends| Facts { ends, ..Facts::default() };
    let state =
        "SELECT concat_ws(' ', ended_at IS NOT NULL, credential_hint, error_type, error_message)
        FROM aibridge_interceptions";
    let gateway = Call::by(system::gateway());
    let early = IngestFacts(ends(vec![end(2), end(1)]).into());
    let unknown = store.run(gateway, early).await.unwrap();
    assert_eq!(unknown, [interception_id(1), interception_id(2)], "ends of nothing are told");
    assert_eq!(value(&db, COUNTS).await, "0 0 0 0 0");
    ingest(&store, Facts { starts: vec![start(1, 1)], ..Facts::default() }).await;
    assert_eq!(value(&db, state).await, "f sk-a...z");
    let failed = End {
        credential_hint: "sk-b...y".to_owned(),
        error_type: Some("overloaded_error"),
        error_message: Some("try later".to_owned()),
        ..end(1)
    };
    ingest(&store, ends(vec![failed])).await;
    assert_eq!(value(&db, state).await, "t sk-b...y overloaded_error try later");
    ingest(&store, ends(vec![End { credential_hint: "other".to_owned(), ..end(1) }])).await;
    assert_eq!(value(&db, state).await, "t sk-b...y overloaded_error try later");
    // The hint of the start stays when the end brings none.
    ingest(&store, Facts { starts: vec![start(2, 1)], ends: vec![end(2)], ..Facts::default() })
        .await;
    let hint = "SELECT credential_hint FROM aibridge_interceptions ORDER BY id DESC LIMIT 1";
    assert_eq!(value(&db, hint).await, "sk-a...z");
}

/// Parent and root of each interception, as the numbers they were made from.
async fn links(db: &TestDb) -> Vec<String> {
    let rows = db
        .sql(
            "SELECT concat_ws(' ', right(id::text, 1), coalesce(right(thread_parent_id::text, 1), '-'),
                    coalesce(right(thread_root_id::text, 1), '-'))
               FROM aibridge_interceptions ORDER BY id",
        )
        .await
        .unwrap();
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

fn follows(call: &str, start: Start) -> Start {
    Start { correlating_tool_call_id: Some(call.to_owned()), ..start }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tools_result_ties_an_interception_to_the_one_that_called_it() {
    let in_turns = [
        (vec![start(1, 1)], vec![tool(1, "a")]),
        (vec![follows("a", start(2, 1))], vec![tool(2, "b")]),
        (vec![follows("b", start(3, 1)), follows("absent", start(4, 1))], vec![]),
    ];
    let wanted = ["1 - -", "2 1 1", "3 2 1", "4 - -"];
    let (db, store) = fresh().await;
    for (starts, tools) in in_turns.clone() {
        ingest(&store, Facts { starts, tools, ..Facts::default() }).await;
    }
    assert_eq!(links(&db).await, wanted, "one batch after the other");
    let sessions = "SELECT count(DISTINCT session_id) FROM aibridge_interceptions";
    assert_eq!(value(&db, sessions).await, "2");

    let (db, store) = fresh().await;
    let mut all = Facts::default();
    for (starts, tools) in in_turns.into_iter().rev() {
        all.starts.extend(starts);
        all.tools.extend(tools);
    }
    ingest(&store, all).await;
    assert_eq!(links(&db).await, wanted, "one batch, newest first");

    // A call is looked for in the batch also when its interception was stored before.
    let (db, store) = fresh().await;
    ingest(&store, Facts { starts: vec![start(1, 1)], ..Facts::default() }).await;
    let starts = vec![follows("a", start(2, 1))];
    ingest(&store, Facts { starts, tools: vec![tool(1, "a")], ..Facts::default() }).await;
    assert_eq!(links(&db).await, ["1 - -", "2 1 1"], "the call beside its result");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guessed_call_never_joins_another_users_session_nor_hides_ones_own() {
    for one_batch in [true, false] {
        let (db, store) = fresh().await;
        let turns = [
            (start(1, 1), Some(tool(1, "call_0"))),
            (start(2, 2), Some(tool(2, "call_0"))),
            (follows("call_0", start(3, 1)), None),
            (follows("call_0", start(4, 2)), None),
            (follows("call_0", start(5, 3)), None),
        ];
        let mut all = Facts::default();
        for (start, tool) in turns {
            if one_batch {
                all.starts.push(start);
                all.tools.extend(tool);
            } else {
                let tools = tool.into_iter().collect();
                ingest(&store, Facts { starts: vec![start], tools, ..Facts::default() }).await;
            }
        }
        ingest(&store, all).await;
        assert_eq!(links(&db).await, ["1 - -", "2 - -", "3 1 1", "4 2 2", "5 - -"]);
    }
}

/// Some providers number the calls of each answer from nought.
#[tokio::test(flavor = "multi_thread")]
async fn of_calls_with_one_name_the_newest_before_counts() {
    for one_batch in [true, false] {
        let (db, store) = fresh().await;
        let turns = [
            (start(1, 1), tool(1, "call_0")),
            (follows("call_0", start(2, 1)), tool(2, "call_0")),
            (follows("call_0", start(3, 1)), tool(3, "call_0")),
            (follows("", start(4, 1)), tool(4, "")),
            (follows("", start(5, 1)), tool(5, "")),
        ];
        let mut all = Facts::default();
        for (start, tool) in turns {
            if one_batch {
                all.starts.push(start);
                all.tools.push(tool);
            } else {
                let facts = Facts { starts: vec![start], tools: vec![tool], ..Facts::default() };
                ingest(&store, facts).await;
            }
        }
        ingest(&store, all).await;
        assert_eq!(links(&db).await, ["1 - -", "2 1 1", "3 2 1", "4 - -", "5 - -"]);
    }
}

const PARTITIONS: &str =
    "SELECT count(*) FROM pg_inherits WHERE inhparent = 'aibridge_interceptions'::regclass";
const PLACE: &str = "SELECT string_agg(tableoid::regclass::text, ' ') FROM aibridge_interceptions";
const PLACE_OF_PROMPT: &str =
    "SELECT string_agg(tableoid::regclass::text, ' ') FROM aibridge_user_prompts";

#[tokio::test(flavor = "multi_thread")]
async fn rows_land_in_their_month_and_move_there_when_it_is_made_late() {
    let (db, store) = fresh().await;
    let gateway = Call::by(system::gateway());
    ingest(&store, sample_facts(1, 1)).await;
    assert_eq!(value(&db, PLACE).await, "aibridge_interceptions_other");
    let before = value(&db, PARTITIONS).await.parse::<u32>().unwrap();
    store.run(gateway, EnsurePartitions { at: NOW }).await.unwrap();
    assert_eq!(value(&db, PLACE).await, "aibridge_interceptions_203101");
    assert_eq!(value(&db, PLACE_OF_PROMPT).await, "aibridge_user_prompts_203101");
    assert_eq!(value(&db, COUNTS).await, "1 1 1 1 1");
    let session = "SELECT session_id = id::text FROM aibridge_interceptions";
    assert_eq!(value(&db, session).await, "t", "a generated column was lost on the way");
    assert_eq!(value(&db, PARTITIONS).await, (before + 3).to_string());
    for at in [NOW, datetime!(2031-01-01 0:00 UTC), datetime!(2031-01-31 23:59:59.999 UTC)] {
        store.run(gateway, EnsurePartitions { at }).await.unwrap();
    }
    assert_eq!(value(&db, PARTITIONS).await, (before + 3).to_string());
    // The first and the last instant of a month, and the first of the next.
    for (n, at, place) in [
        (11, datetime!(2031-02-01 0:00 UTC), "aibridge_interceptions_203102"),
        (12, datetime!(2031-02-28 23:59:59.999 UTC), "aibridge_interceptions_203102"),
        (13, datetime!(2031-03-01 0:00 UTC), "aibridge_interceptions_203103"),
    ] {
        let id = id_at(at, n);
        ingest(&store, Facts { starts: vec![Start { id, ..start(n, 1) }], ..Facts::default() })
            .await;
        let place_of = format!("{PLACE} WHERE id = '{id}'");
        assert_eq!(value(&db, &place_of).await, place, "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_make_partitions_at_once_while_others_write() {
    let (db, store) = fresh().await;
    let gateway = Call::by(system::gateway());
    let make = || store.run(gateway, EnsurePartitions { at: NOW });
    let write = |n| store.run(gateway, IngestFacts(sample_facts(n, 1).into()));
    let (partitions, stored) = tokio::join!(
        futures_util::future::join_all([make(), make(), make()]),
        futures_util::future::join_all([write(1), write(2)])
    );
    for outcome in partitions {
        outcome.unwrap();
    }
    for outcome in stored {
        assert_eq!(outcome.unwrap(), []);
    }
    assert_eq!(value(&db, COUNTS).await, "2 2 2 2 2");
    let elsewhere = "SELECT count(*) FROM aibridge_interceptions_other";
    assert_eq!(value(&db, elsewhere).await, "0");
}
