//! Sends records to coderd as gateway daemons do, and tells how many it stored in which time.
//!
//! Each sender is one daemon: one batch at a time, over the control protocol, with the client of the
//! daemon. Every interception is what a small blocking request leaves: start, prompt, tokens, end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aibridge::facts::{CredentialKind, End, Fact, Prompt, Start, Tokens};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use control::client::{Coderd, CoderdSettings, ControlSink, Link};
use ledger::{Batch, Sink as _};
use serde_json::json;
use stdx::ids::{FactId, InterceptionId, UserId};
use stdx::{Clock as _, Rng as _, Secret, SystemClock, SystemRng};
use time::OffsetDateTime;
use url::Url;

/// Facts of one interception.
const FACTS_EACH: usize = 4;

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
    let mut stored = 0;
    while let Some(sent) = senders.join_next().await {
        stored += sent.context("a sender panicked")??;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({"facts": stored, "interceptions": stored / FACTS_EACH, "seconds": seconds})
    );
    Ok(())
}

/// Sends until the time is over; how many facts were stored.
async fn send(args: Args, sink: ControlSink) -> Result<usize> {
    let until = Instant::now() + Duration::from_secs_f64(args.seconds);
    let mut stored = 0;
    while Instant::now() < until {
        let count = args.batch / FACTS_EACH;
        let facts: Vec<Fact> = (0..count).flat_map(|_| interception(args.user)).collect();
        let batch = Batch { id: SystemRng.uuid_v4(), facts };
        let receipt = sink.ingest(&batch).await?;
        if let Some(refused) = receipt.refused.first() {
            bail!("coderd refused {} facts: {}", receipt.refused.len(), refused.reason);
        }
        stored += batch.facts.len();
    }
    Ok(stored)
}

fn interception(user: UserId) -> [Fact; FACTS_EACH] {
    let now = SystemClock.now();
    let interception = InterceptionId::new(SystemRng.uuid_v7(now));
    let id = || FactId::new(SystemRng.uuid_v7(now));
    let response_id = format!("msg_bench_{interception}");
    [
        Fact::Start(start(interception, user, now)),
        Fact::Prompt(Prompt {
            id: id(),
            interception,
            response_id: response_id.clone(),
            prompt: "Why does the build fail, and what is the smallest change that repairs it?"
                .into(),
            created_at: now,
            metadata: BTreeMap::new(),
        }),
        Fact::Tokens(Tokens {
            id: id(),
            interception,
            response_id,
            input: 25,
            output: 42,
            cache_read: 0,
            cache_write: 0,
            extra: BTreeMap::new(),
            created_at: now,
            metadata: BTreeMap::new(),
        }),
        Fact::End(End {
            id: id(),
            interception,
            ended_at: now,
            credential_hint: "ben…key".into(),
            error_type: None,
            error_message: None,
        }),
    ]
}

fn start(id: InterceptionId, user: UserId, now: OffsetDateTime) -> Start {
    Start {
        id,
        initiator: user,
        api_key_id: "bench".into(),
        provider: "anthropic".into(),
        provider_name: "anthropic".into(),
        model: "claude-bench-1".into(),
        client: "Unknown".into(),
        client_session_id: None,
        correlating_tool_call_id: None,
        credential_kind: CredentialKind::Centralized,
        credential_hint: String::new(),
        started_at: now,
        metadata: BTreeMap::from([("request_user_agent".to_owned(), json!("bench/1"))]),
    }
}
