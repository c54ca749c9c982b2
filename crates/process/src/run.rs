use std::future::Future;
use std::io;
use std::time::Duration;

use stdx::Lifecycle;
use tokio::signal::unix::{SignalKind, signal};

use crate::memory;

/// Starts a daemon, lets it run until its lifecycle stops, by a signal or from within, and takes it down
/// again, also after half a start. Tasks get `drain` to end.
///
/// # Errors
/// What `start` returns, once all that it had begun is down again; or that signals cannot be listened for.
pub async fn run<F, E>(start: F, lifecycle: &Lifecycle, drain: Duration) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
    E: From<io::Error>,
{
    watch_signals(lifecycle)?;
    memory::give_back(lifecycle);
    let stopping = lifecycle.stopping();
    let started = tokio::select! {
        started = start => started,
        () = stopping.wait() => Ok(()),
    };
    if started.is_ok() {
        stopping.wait().await;
    }
    lifecycle.stop(drain).await;
    started
}

/// The first signal drains, the second ends at once.
fn watch_signals(lifecycle: &Lifecycle) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let signals = lifecycle.clone();
    // A life cycle of its own: the process ends without waiting for signals.
    Lifecycle::new().spawn("signals", async move {
        for round in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if round > 0 {
                std::process::exit(1);
            }
            tracing::info!("stopping; a second signal ends at once");
            signals.begin_stop();
        }
    });
    Ok(())
}
