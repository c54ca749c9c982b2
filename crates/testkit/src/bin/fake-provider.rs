//! The fake AI provider as a process: `cargo xtask fake-provider -- --help`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use stdx::{SeededRng, SystemRng};
use testkit::provider::{FakeProvider, Fault, Options};
use tokio::signal::unix::{SignalKind, signal};

/// An AI provider on loopback that answers every prompt without a model behind it.
#[derive(Debug, Parser)]
#[command(name = "fake-provider")]
struct Args {
    /// Where to listen; port 0 takes a free one. Loopback only.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// A key to accept; may be repeated. Without it every key that is not blank will do.
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// The pause before each frame of a stream, in milliseconds.
    #[arg(long, default_value_t = 0, value_name = "MS")]
    delay_ms: u64,
    /// Fail in this way, unless a request asks for another one by `x-fake-fault: NAME[:PARAMETER]` or by the
    /// model `MODEL@NAME[:PARAMETER]`. Names: rate-limited[:seconds], rate-limited-bare, error-once,
    /// overloaded, reset, silent, slow-first-token[:milliseconds], cut[:frames], stalled[:frames], malformed,
    /// no-terminator, context-too-long, content-refused, flapping[:requests], dead-key[:key].
    #[arg(long, value_name = "NAME[:PARAMETER]")]
    fault: Option<Fault>,
    /// Make the ids of answers from this number instead of at random.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A file to write the base URL to, once connections are accepted.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let provider = FakeProvider::start(Options {
        listen: args.listen,
        keys: args.keys,
        frame_delay: Duration::from_millis(args.delay_ms),
        fault: args.fault,
        rng: args.seed.map_or_else(SystemRng::shared, |seed| SeededRng::shared(seed)),
        ..Options::default()
    })
    .await
    .with_context(|| format!("cannot listen on {}", args.listen))?;
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    println!("{}", provider.url());
    if let Some(file) = args.ready_file {
        tokio::fs::write(&file, provider.url())
            .await
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    provider.stop().await;
    Ok(())
}
