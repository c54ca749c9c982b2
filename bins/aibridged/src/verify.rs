//! `aibridged ledger verify`: everything that coderd has acknowledged must be stored as it was recorded.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use config::Options;
use control::client::{CallError, ControlSink, Link};
use ledger::{Checked, FactName, Report, VerifyError};
use stdx::{Backoff, SystemClock};

use crate::server;

/// Differences of one kind that are named.
const NAMED: usize = 20;
/// A batch is asked about this many times before that is given up.
const TRIES: usize = 6;

/// Prints what was found; whether all is as it should be.
///
/// # Errors
/// The spool cannot be read, or coderd cannot be asked.
pub(crate) async fn run(options: &Options) -> Result<bool> {
    let dir = options.gateway_daemon.spool_dir.clone();
    let dir = dir.context("there is no spool: set CODER_AI_GATEWAY_SPOOL_DIR or give --dir")?;
    let coderd = server::coderd(options)?;
    let link = Link::new(SystemClock::shared(), Duration::ZERO);
    let sink = Arc::new(ControlSink::new(coderd, link));
    let shown = dir.display().to_string();
    let report = ledger::verify(dir, move |facts| {
        let sink = Arc::clone(&sink);
        async move { ask(&sink, &facts).await }
    })
    .await
    .map_err(|error| match error {
        VerifyError::Spool(error) => {
            anyhow!("cannot read the spool {shown} (--dir or CODER_AI_GATEWAY_SPOOL_DIR): {error}")
        }
        VerifyError::Check(error) => anyhow!("cannot ask coderd what is stored: {error}"),
    })?;
    print(&shown, &report);
    Ok(report.is_sound())
}

async fn ask(sink: &ControlSink, facts: &[aibridge::facts::Fact]) -> Result<Checked, CallError> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut tries = 1;
    loop {
        match sink.verify(facts).await {
            Ok(verified) => {
                return Ok(Checked { missing: verified.missing, different: verified.different });
            }
            Err(error @ (CallError::Busy { .. } | CallError::Away(_))) if tries < TRIES => {
                tries += 1;
                let asked = error.retry_after().unwrap_or_default();
                tokio::time::sleep(backoff.pause().max(asked)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn print(dir: &str, report: &Report) {
    let Report { kinds, tokens, .. } = report;
    println!("spool          {dir}");
    println!(
        "on disk        {} starts, {} ends, {} prompts, {} token counts, {} tool calls, {} thoughts",
        kinds.starts, kinds.ends, kinds.prompts, kinds.tokens, kinds.tools, kinds.thoughts
    );
    println!(
        "tokens         {} input, {} output, {} cache read, {} cache written",
        tokens.input, tokens.output, tokens.cache_read, tokens.cache_write
    );
    println!("acknowledged   {}", report.acknowledged);
    println!("waiting        {}", report.waiting);
    println!("refused        {}", report.refused);
    println!("repeated       {}", report.repeated);
    println!("unknown        {}", report.unknown);
    println!("damaged bytes  {}", report.damaged_bytes);
    name("missing", report.missing_count, &report.missing);
    name("different", report.different_count, &report.different);
    let verdict = if report.is_sound() {
        "all that was acknowledged is stored as it was recorded"
    } else {
        "NOT all that was acknowledged is stored as it was recorded"
    };
    println!("{verdict}");
}

fn name(what: &str, count: u64, names: &[FactName]) {
    println!("{what:<14} {count}");
    for FactName { kind, id } in names.iter().take(NAMED) {
        println!("               {kind} {id}");
    }
}
