//! What is told of interceptions to others: where a tool call was made, and how much was used.

use std::time::Duration;

use rbac::system;
use store::interceptions::{
    Facts, GetLineageByToolCall, Lineage, Start, SummarizeForTelemetry, TelemetrySummary, Tool,
};
use store::{Call, Error, Store as _};

use super::{
    end, follows, fresh, ingest, interception_id, prompt, sample_facts, start, tokens, tool,
};
use crate::meeting::refused;
use crate::scene::{NOW, member, owner};

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_call_leads_to_who_made_it_last() {
    let (_db, store) = fresh().await;
    let turns = [
        (start(1, 1), vec![tool(1, "a"), tool(1, "again")]),
        (follows("a", start(2, 1)), vec![tool(2, "b"), tool(2, "")]),
        (start(3, 2), vec![tool(3, "again")]),
    ];
    for (n, (start, tools)) in (0..).zip(turns) {
        let tools = (0..)
            .zip(tools)
            .map(|(m, tool)| Tool { id: super::fact_id(7000 + n * 10 + m), ..tool });
        let tools = tools.collect();
        ingest(&store, Facts { starts: vec![start], tools, ..Facts::default() }).await;
    }
    let get = |call: &str| GetLineageByToolCall { provider_tool_call_id: call.to_owned() };
    let gateway = Call::by(system::gateway());
    for (call, parent, root) in [("a", 1, 1), ("b", 2, 1), ("again", 3, 3)] {
        let wanted = Lineage { parent: interception_id(parent), root: interception_id(root) };
        assert_eq!(store.run(gateway, get(call)).await.unwrap(), wanted, "{call}");
    }
    for absent in ["", "never"] {
        refused!(store.run(gateway, get(absent)).await, Error::NotFound);
    }
    refused!(store.run(Call::by(&member(1)), get("a")).await, Error::Denied(_));
}

fn of_model(n: u32, model: &str) -> Start {
    Start { model: model.to_owned(), ..start(n, 1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_in_a_period_is_summed_up_by_provider_model_and_client() {
    let (_db, store) = fresh().await;
    let mut facts = Facts::default();
    // Of 100 users each once: the n-th took n seconds.
    for n in 1..=100 {
        facts.starts.push(Start { started_at: NOW, ..start(n, n) });
        let mut end = end(n);
        end.ended_at = NOW + Duration::from_secs(n.into());
        facts.ends.push(end);
    }
    facts.tokens = vec![tokens(1, 10, 20), tokens(2, 30, 40)];
    facts.prompts = vec![prompt(1, "hello"), prompt(2, "hello"), prompt(3, "hello")];
    let injected = |n, invocation_error| Tool { injected: true, invocation_error, ..tool(n, "x") };
    facts.tools = vec![
        tool(1, "a"),
        Tool { invocation_error: Some("not ours".to_owned()), ..tool(2, "b") },
        injected(3, None),
        injected(4, Some(String::new())),
        injected(5, Some("failed".to_owned())),
    ];
    // Another model, one that is under way, one that ended later, one whose clock ran backwards.
    facts.starts.extend([of_model(201, "gpt"), of_model(202, "gpt"), of_model(203, "gpt")]);
    facts.starts.push(of_model(204, "backwards"));
    let mut later = end(203);
    later.ended_at = NOW + Duration::from_hours(2);
    let mut early = end(204);
    early.ended_at = NOW + Duration::from_secs(100);
    facts.ends.extend([end(201), later, early]);
    facts.tokens.push(tokens(202, 1_000, 1_000));
    ingest(&store, facts).await;

    let period = |from, to| SummarizeForTelemetry { from, to };
    let hour = || period(NOW, NOW + Duration::from_hours(1));
    refused!(store.run(Call::by(&member(1)), hour()).await, Error::Denied(_));
    let summaries = store.run(Call::by(&owner()), hour()).await.unwrap();
    let nothing = |model: &str, ms| TelemetrySummary {
        provider: "anthropic".to_owned(),
        model: model.to_owned(),
        client: "Claude Code".to_owned(),
        interceptions: 1,
        unique_initiators: 1,
        duration_p50_ms: ms,
        duration_p90_ms: ms,
        duration_p95_ms: ms,
        duration_p99_ms: ms,
        user_prompts: 0,
        token_usages: 0,
        input_tokens: 0,
        output_tokens: 0,
        cache_read_input_tokens: 0,
        cache_write_input_tokens: 0,
        injected_tool_calls: 0,
        non_injected_tool_calls: 0,
        injected_tool_errors: 0,
    };
    let claude = TelemetrySummary {
        interceptions: 100,
        unique_initiators: 100,
        duration_p50_ms: 50_000,
        duration_p90_ms: 90_000,
        duration_p95_ms: 95_000,
        duration_p99_ms: 99_000,
        user_prompts: 3,
        token_usages: 2,
        input_tokens: 40,
        output_tokens: 60,
        cache_read_input_tokens: 6,
        cache_write_input_tokens: 8,
        injected_tool_calls: 3,
        non_injected_tool_calls: 2,
        injected_tool_errors: 1,
        ..nothing("claude", 0)
    };
    assert_eq!(summaries, [claude, nothing("backwards", 0), nothing("gpt", 500)]);

    // The end of a period is the beginning of the next.
    let at = NOW + Duration::from_secs(100);
    let count = async |from, to| {
        let summaries = store.run(Call::by(&owner()), period(from, to)).await.unwrap();
        summaries.iter().map(|summary| summary.interceptions).sum::<i64>()
    };
    assert_eq!(count(NOW, at).await + count(at, NOW + Duration::from_hours(1)).await, 102);
    assert_eq!(count(NOW, at).await, 99);
    assert_eq!(count(at, at).await, 0);
    ingest(&store, sample_facts(300, 7)).await;
    assert_eq!(count(NOW, NOW + Duration::from_hours(1)).await, 103);
}
