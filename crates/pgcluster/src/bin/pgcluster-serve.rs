//! Serves the cluster of one data directory until it is told to stop: `pgcluster-serve DIR`.
//!
//! Says on standard output `ready <port>` when it takes connections. Tests kill it to see what remains;
//! by hand it is the shortest way to a database.

use std::io::Write as _;
use std::process::ExitCode;

use pgcluster::{Cluster, Settings};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", stdx::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args_os().nth(1).ok_or("usage: pgcluster-serve DIR")?;
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let cache = std::path::Path::new(&dir).join("cache");
    let cluster = Cluster::start(Settings::new(dir, cache)).await?;
    writeln!(std::io::stdout(), "ready {}", cluster.connection().port())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    cluster.stop().await;
    Ok(())
}
