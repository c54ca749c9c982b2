//! The writer of the log of connections: takes events one by one, writes them in batches.

use std::time::Duration;

use rbac::system;
use stdx::{Backoff, Lifecycle, Stopping};
use store::connection_logs::{BATCH_MAX, ConnectionEvent, UpsertConnectionLogs};
use store::{Call, Error, Full, Store as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

/// Events that may wait to be written.
const QUEUE: usize = 10_000;
/// How long events wait for others, so that they are written together.
const GATHER: Duration = Duration::from_secs(1);
/// How long a process that stops tries to write what is left.
const LAST: Duration = Duration::from_secs(10);

/// Writes connections to the log. Clones write to the same one.
#[derive(Clone, Debug)]
pub struct ConnectionLogger {
    events: mpsc::Sender<ConnectionEvent>,
}

impl ConnectionLogger {
    /// Starts the writer. What it took is written when `lifecycle` stops, as far as that works within ten seconds.
    #[must_use]
    pub fn start(store: Full, lifecycle: &Lifecycle) -> Self {
        let (events, queue) = mpsc::channel(QUEUE);
        let writer = Writer { store, queue, stopping: lifecycle.stopping(), batch: Vec::new() };
        lifecycle.spawn("connection-log", writer.run());
        Self { events }
    }

    /// Takes an event, which is in the log a second later, or when the database is back. Waits while 10,000 others
    /// wait. Yields the event if the writer has stopped.
    ///
    /// # Errors
    /// The event, when the process is stopping.
    pub async fn log(&self, event: ConnectionEvent) -> Result<(), Box<ConnectionEvent>> {
        self.events.send(event).await.map_err(|refused| Box::new(refused.0))
    }
}

struct Writer {
    store: Full,
    queue: mpsc::Receiver<ConnectionEvent>,
    stopping: Stopping,
    batch: Vec<ConnectionEvent>,
}

impl Writer {
    async fn run(mut self) {
        while self.gather().await {
            let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
            while !self.write().await {
                tokio::select! {
                    () = sleep(backoff.pause()) => {}
                    () = self.stopping.wait() => break,
                }
            }
        }
        self.queue.close();
        let deadline = Instant::now() + LAST;
        loop {
            let room = BATCH_MAX.saturating_sub(self.batch.len());
            if room > 0 {
                self.queue.recv_many(&mut self.batch, room).await;
            }
            if self.batch.is_empty() {
                return;
            }
            let tried = self.batch.len();
            if !matches!(timeout_at(deadline, self.write()).await, Ok(true)) {
                if Instant::now() >= deadline {
                    let lost = tried + self.queue.len();
                    tracing::error!(
                        lost,
                        "connections are missing in the log: the database was away until the end"
                    );
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    /// Fills the batch, for a second at most. `false` when it is time to stop.
    async fn gather(&mut self) -> bool {
        let Self { queue, batch, stopping, .. } = self;
        tokio::select! {
            biased;
            () = stopping.wait() => return false,
            taken = queue.recv_many(batch, BATCH_MAX) => if taken == 0 { return false },
        }
        let fill = async {
            while batch.len() < BATCH_MAX {
                let room = BATCH_MAX - batch.len();
                if queue.recv_many(batch, room).await == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            () = fill => {}
            () = sleep(GATHER) => {}
            () = stopping.wait() => {}
        }
        true
    }

    /// Writes the batch and empties it. `false` if what is left in it has to be tried again.
    async fn write(&mut self) -> bool {
        // Of a batch that is refused, the halves are tried: one event that cannot be stored takes no other with it.
        let mut parts = vec![std::mem::take(&mut self.batch)];
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            let query = UpsertConnectionLogs(part.clone());
            match self.store.run(Call::by(system::connection_logger()), query).await {
                Ok(recorded) if recorded.left_out > 0 => {
                    tracing::debug!(
                        events = recorded.left_out,
                        "connections to workspaces that are gone"
                    );
                }
                Ok(_) => {}
                Err(error @ (Error::Unfit(_) | Error::Check(_))) if part.len() == 1 => {
                    tracing::error!(error = %stdx::chain(&error), "a connection cannot be written to the log");
                }
                Err(Error::Unfit(_) | Error::Check(_)) => {
                    let second = part.split_off(part.len() / 2);
                    parts.extend([second, part]);
                }
                Err(error) => {
                    tracing::warn!(error = %stdx::chain(&error), "connections wait to be written to the log");
                    self.batch = part;
                    self.batch.extend(parts.into_iter().rev().flatten());
                    return false;
                }
            }
        }
        true
    }
}
