//! Sends records to coderd as gateway daemons do, and tells how many it stored in which time.
//!
//! Each sender is one daemon: one batch at a time, over the control protocol, with the client of the
//! daemon. What is recorded is the work of a coding agent: a prompt, then turns that each bring the result of
//! the tool that the turn before called, until one calls none.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aibridge::facts::{CredentialKind, End, Fact, Prompt, Start, Tokens, Tool};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use control::client::{Coderd, CoderdSettings, ControlSink, Link};
use ledger::{Batch, Sink as _};
use serde_json::json;
use stdx::ids::{FactId, InterceptionId, UserId};
use stdx::{Clock as _, Rng as _, Secret, SystemClock, SystemRng};
use time::OffsetDateTime;
use url::Url;

/// Turns of one piece of work, the first one included.
const TURNS: usize = 5;
/// Most facts of one turn.
const FACTS_EACH: usize = 5;

/// Sends records.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench-ingest")]
struct Args {
    /// Where coderd is.
    #[arg(long)]
    coderd: Url,
    /// A file with a gateway key.
    #[arg(long)]
    key_file: PathBuf,
    /// Who asked.
    #[arg(long)]
    user: UserId,
    /// How many facts are in a batch.
    #[arg(long, default_value_t = 1000)]
    batch: usize,
    /// How many senders there are.
    #[arg(long, default_value_t = 2)]
    senders: usize,
    /// How long they send, in seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(args.batch >= FACTS_EACH && args.senders > 0, "nothing would be sent");
    let key = std::fs::read_to_string(&args.key_file)
        .with_context(|| format!("cannot read {}", args.key_file.display()))?;
    let began = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..args.senders {
        let coderd = Coderd::new(CoderdSettings {
            url: args.coderd.clone(),
            key: Secret::new(key.trim().to_owned()),
            ca_file: None,
            build: concat!("bench-ingest/", env!("CARGO_PKG_VERSION")),
        })?;
        let link = Link::new(SystemClock::shared(), Duration::from_mins(1));
        senders.spawn(send(args.clone(), ControlSink::new(coderd, link)));
    }
    let mut all = Sent::default();
    while let Some(sent) = senders.join_next().await {
        let sent = sent.context("a sender panicked")??;
        all.facts += sent.facts;
        all.works += sent.works;
        all.interceptions += sent.interceptions;
    }
    let seconds = began.elapsed().as_secs_f64();
    let Sent { facts, works, interceptions } = all;
    println!(
        "{}",
        json!({"facts": facts, "works": works, "interceptions": interceptions, "seconds": seconds})
    );
    Ok(())
}

/// What one sender got stored.
#[derive(Clone, Copy, Default)]
struct Sent {
    facts: usize,
    /// Pieces of work.
    works: usize,
    interceptions: usize,
}

/// Sends until the time is over. Many work at the same time, and a batch has one turn of each.
async fn send(args: Args, sink: ControlSink) -> Result<Sent> {
    let until = Instant::now() + Duration::from_secs_f64(args.seconds);
    let works = args.batch / FACTS_EACH;
    let mut sent = Sent::default();
    while Instant::now() < until {
        let mut called = vec![None; works];
        for turn in 1..=TURNS {
            let mut facts = Vec::with_capacity(works * FACTS_EACH);
            for call in &mut called {
                *call = take_turn(args.user, turn, call.take(), &mut facts);
            }
            let batch = Batch { id: SystemRng.uuid_v4(), facts };
            let receipt = sink.ingest(&batch).await?;
            if let Some(refused) = receipt.refused.first() {
                bail!("coderd refused {} facts: {}", receipt.refused.len(), refused.reason);
            }
            sent.facts += batch.facts.len();
        }
        sent.works += works;
        sent.interceptions += works * TURNS;
    }
    Ok(sent)
}

/// Records one turn, which brings the result of the tool that was called, if any. Yields what it calls.
fn take_turn(
    user: UserId,
    turn: usize,
    called: Option<String>,
    facts: &mut Vec<Fact>,
) -> Option<String> {
    let now = SystemClock.now();
    let interception = InterceptionId::new(SystemRng.uuid_v7(now));
    let id = || FactId::new(SystemRng.uuid_v7(now));
    let response_id = format!("msg_bench_{interception}");
    let calls = (turn < TURNS).then(|| format!("toolu_bench_{interception}"));
    let first = called.is_none();
    facts.push(Fact::Start(start(interception, user, called, now)));
    if first {
        facts.push(Fact::Prompt(Prompt {
            id: id(),
            interception,
            response_id: response_id.clone(),
            prompt: "Why does the build fail, and what is the smallest change that repairs it?"
                .into(),
            created_at: now,
            metadata: BTreeMap::new(),
        }));
    }
    facts.push(Fact::Tokens(Tokens {
        id: id(),
        interception,
        response_id: response_id.clone(),
        input: 25,
        output: 42,
        cache_read: 0,
        cache_write: 0,
        extra: BTreeMap::new(),
        created_at: now,
        metadata: BTreeMap::new(),
    }));
    facts.extend(
        calls.iter().map(|call| {
            Fact::Tool(tool(id(), interception, response_id.clone(), call.clone(), now))
        }),
    );
    facts.push(Fact::End(End {
        id: id(),
        interception,
        ended_at: now,
        credential_hint: "ben…key".into(),
        error_type: None,
        error_message: None,
    }));
    calls
}

fn tool(
    id: FactId,
    interception: InterceptionId,
    response_id: String,
    tool_call_id: String,
    created_at: OffsetDateTime,
) -> Tool {
    Tool {
        id,
        interception,
        response_id,
        tool_call_id,
        item_id: None,
        tool: "Bash".into(),
        input: r#"{"command":"cargo build 2>&1 | tail -40","description":"Build the workspace"}"#
            .into(),
        server_url: None,
        injected: false,
        invocation_error: None,
        created_at,
        metadata: BTreeMap::new(),
    }
}

fn start(
    id: InterceptionId,
    user: UserId,
    correlating_tool_call_id: Option<String>,
    now: OffsetDateTime,
) -> Start {
    Start {
        id,
        initiator: user,
        api_key_id: "bench".into(),
        provider: "anthropic".into(),
        provider_name: "anthropic".into(),
        model: "claude-bench-1".into(),
        client: "Unknown".into(),
        client_session_id: None,
        correlating_tool_call_id,
        credential_kind: CredentialKind::Centralized,
        credential_hint: String::new(),
        started_at: now,
        metadata: BTreeMap::from([("request_user_agent".to_owned(), json!("bench/1"))]),
    }
}
