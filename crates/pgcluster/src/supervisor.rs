use std::time::Duration;

use stdx::{Backoff, Stopping};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::launch::{Launch, Running};
use crate::layout::Lock;
use crate::orphan;
use crate::settings::Silent;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A server that ran this long is taken for healthy: its next restart is quick again.
const HEALTHY_AFTER: Duration = Duration::from_mins(1);

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// It takes connections.
    Up {
        /// How often it was started, the first time included.
        starts: u64,
    },
    /// It died and is being started again; connections fail meanwhile.
    Down {
        /// How it died, or why it could not be started.
        reason: String,
    },
    /// It was stopped on request.
    Stopped,
}

/// Keeps the server running until it is told to stop. Never gives up: what keeps a server from starting,
/// such as a full disk, is mended from outside, and then it must come back by itself.
pub(crate) struct Supervisor {
    pub(crate) launch: Launch,
    pub(crate) status: watch::Sender<Status>,
    pub(crate) stopping: Stopping,
    /// Held until the server has ended.
    pub(crate) lock: Lock,
}

impl Supervisor {
    pub(crate) async fn run(self, mut running: Running) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut starts = 1;
        loop {
            let since = Instant::now();
            tokio::select! {
                biased;
                () = self.stopping.wait() => {
                    running.stop().await;
                    break;
                }
                reason = running.ended() => self.down(format!("it ended ({reason})")),
            }
            if since.elapsed() > HEALTHY_AFTER {
                backoff.reset();
            }
            let Some(next) = self.restart(&mut backoff).await else {
                break;
            };
            running = next;
            starts += 1;
            tracing::info!(starts, "the database server is back");
            self.status.send_replace(Status::Up { starts });
        }
        self.status.send_replace(Status::Stopped);
        drop(self.lock);
    }

    /// The next server, or none if it is time to stop.
    async fn restart(&self, backoff: &mut Backoff) -> Option<Running> {
        loop {
            let attempt = async {
                tokio::time::sleep(backoff.pause()).await;
                self.launch.start(&Silent).await
            };
            tokio::select! {
                biased;
                () = self.stopping.wait() => {}
                result = attempt => match result {
                    Ok(running) => return Some(running),
                    Err(error) => {
                        self.down(stdx::chain(&error).to_string());
                        continue;
                    }
                },
            }
            // A start that was cut short leaves a server that has been told to stop: see it end.
            if let Err(error) = orphan::settle(&self.launch.pg, &Silent).await {
                tracing::warn!(error = %stdx::chain(&error), "the database server does not stop");
            }
            return None;
        }
    }

    fn down(&self, reason: String) {
        tracing::error!(reason, "the database server is down; starting it again");
        self.status.send_replace(Status::Down { reason });
    }
}
