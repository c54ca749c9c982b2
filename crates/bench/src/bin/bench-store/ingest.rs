//! Records of the gateway: turns of agents, in batches as coderd stores them.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use rbac::system;
use serde_json::json;
use stdx::ids::{FactId, InterceptionId, UserId};
use stdx::{Clock as _, Rng as _, SystemClock, SystemRng};
use store::interceptions::{
    End, EnsurePartitions, Facts, IngestFacts, Prompt, Start, Tokens, Tool,
};
use store::{Call, Full, Pk, Store as _};
use time::OffsetDateTime;
use uuid::Uuid;

use super::table::{Bar, Table};

/// Batches that are stored at once.
const WRITERS: usize = 2;
/// Pieces of work of a batch.
const WORKS: usize = 200;
/// Turns of each: each but the last calls a tool, whose result the next one brings.
const TURNS: usize = 5;
/// How often a writer goes through all turns.
const TIMES: usize = 15;
/// A start, its tokens; a prompt per work; a tool call for each turn but the last. Ends are no rows.
const ROWS_OF_WORK: usize = 2 * TURNS + 1 + (TURNS - 1);

pub(crate) async fn measure(store: &Full, table: &mut Table) -> Result<()> {
    let by = Call::by(system::gateway());
    store.run(by, EnsurePartitions { at: SystemClock.now() }).await?;
    write(store.clone(), 1).await?;
    let began = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        writers.spawn(write(store.clone(), TIMES));
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a count of some seconds")]
    let rate = (WRITERS * TIMES * WORKS * ROWS_OF_WORK) as f64 / seconds;
    let besides = format!("{WRITERS} writers, batches of {WORKS} turns, for {seconds:.1} s");
    table.add("records stored", (rate, "rows/s"), besides, Bar::AtLeast(20_000.0));
    Ok(())
}

async fn write(store: Full, times: usize) -> Result<()> {
    for _ in 0..times {
        let mut called = vec![None; WORKS];
        for turn in 1..=TURNS {
            let mut facts = Facts::default();
            for call in &mut called {
                *call = take_turn(turn, call.take(), &mut facts);
            }
            let orphans =
                store.run(Call::by(system::gateway()), IngestFacts(Arc::new(facts))).await?;
            ensure!(orphans.is_empty(), "ends without a start");
        }
    }
    Ok(())
}

/// One turn, which brings the result of the tool that was called, if any. Yields what it calls.
fn take_turn(turn: usize, called: Option<String>, facts: &mut Facts) -> Option<String> {
    let now = SystemClock.now();
    let id = InterceptionId::new(SystemRng.uuid_v7(now));
    let fact = || Pk(FactId::new(SystemRng.uuid_v7(now)));
    let response = format!("msg_{id}");
    if called.is_none() {
        facts.prompts.push(Prompt {
            id: fact(),
            interception_id: Pk(id),
            provider_response_id: response.clone(),
            prompt: "Why does the build fail, and what is the smallest change that repairs it?"
                .to_owned(),
            metadata: json!({}),
            created_at: now,
        });
    }
    facts.starts.push(start(id, called, now));
    facts.tokens.push(Tokens {
        id: fact(),
        interception_id: Pk(id),
        provider_response_id: response.clone(),
        input_tokens: 25,
        output_tokens: 42,
        cache_read_input_tokens: 0,
        cache_write_input_tokens: 0,
        metadata: json!({}),
        created_at: now,
    });
    let call = (turn < TURNS).then(|| format!("toolu_{id}"));
    facts.tools.extend(call.iter().map(|call| {
        Tool {
            id: fact(),
            interception_id: Pk(id),
            provider_response_id: response.clone(),
            provider_tool_call_id: call.clone(),
            provider_item_id: None,
            server_url: None,
            tool: "Bash".to_owned(),
            input:
                r#"{"command":"cargo build 2>&1 | tail -40","description":"Build the workspace"}"#
                    .to_owned(),
            injected: false,
            invocation_error: None,
            metadata: json!({}),
            created_at: now,
        }
    }));
    facts.ends.push(End {
        id,
        ended_at: now,
        credential_hint: "ben…key".to_owned(),
        error_type: None,
        error_message: None,
    });
    call
}

fn start(
    id: InterceptionId,
    correlating_tool_call_id: Option<String>,
    now: OffsetDateTime,
) -> Start {
    Start {
        id,
        initiator_id: UserId::new(Uuid::from_u128(0xb100_0000_0000_4000_8000_0000_0000_0000)),
        api_key_id: "0000000000".to_owned(),
        provider: "anthropic".to_owned(),
        provider_name: "anthropic".to_owned(),
        model: "claude-bench-1".to_owned(),
        client: "Unknown".to_owned(),
        started_at: now,
        metadata: json!({ "request_user_agent": "bench/1" }),
        client_session_id: None,
        correlating_tool_call_id,
        credential_kind: "centralized",
        credential_hint: String::new(),
    }
}
