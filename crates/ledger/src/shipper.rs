//! From the spool to the place of record.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use aibridge::facts::Fact;
use futures_util::FutureExt as _;
use stdx::Stopping;

use crate::ledger::Desk;
use crate::metrics::Lost;
use crate::refused::{self, Line};
use crate::sink::{Batch, Receipt, Sink, SinkError};
use crate::status::Shipping;

mod outage;
mod queue;
#[cfg(test)]
mod tests;

use outage::Outage;
use queue::{Load, Queue};

/// A batch that is not full waits so long for more.
const LINGER: Duration = Duration::from_millis(5);
/// Longest wait for an answer to one batch.
const ATTEMPT_MAX: Duration = Duration::from_mins(1);
/// Longest pause that the place of record can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// Sends batches, in order and one at a time: an end never arrives before its start.
pub(crate) struct Shipper<S> {
    desk: Arc<Desk>,
    sink: S,
    queue: Queue,
    /// Of the disk that is read from.
    reading: Outage,
}

/// What became of a batch.
enum Outcome {
    Stored(Receipt),
    /// The process ends first.
    GivenUp,
}

impl<S: Sink> Shipper<S> {
    pub(crate) fn new(desk: Arc<Desk>, sink: S) -> Self {
        let queue = Queue::new(Arc::clone(&desk.core));
        Self { desk, sink, queue, reading: Outage::default() }
    }

    /// Ships until the process stops, and then what is left as long as that goes without a pause.
    pub(crate) async fn run(mut self, stopping: Stopping) {
        self.desk.set_shipping(Shipping::Idle);
        while let Some(load) = self.next(&stopping).await {
            self.desk.set_oldest(load.oldest_micros);
            self.desk.set_shipping(Shipping::Sending);
            // What follows is read while the batch is under way.
            let (desk, sink, queue) = (&self.desk, &self.sink, &mut self.queue);
            let sent = send(desk, sink, &load.batch, &stopping);
            let (outcome, ()) = futures_util::future::join(sent, queue.fill()).await;
            let Outcome::Stored(receipt) = outcome else { break };
            settle(desk, &load, receipt).await;
            self.desk.set_oldest(self.queue.oldest_micros());
            self.desk.set_shipping(Shipping::Idle);
        }
        self.desk.set_oldest(None);
        self.desk.set_shipping(Shipping::Stopped);
    }

    /// The next batch; nothing once the process stops and all is shipped.
    async fn next(&mut self, stopping: &Stopping) -> Option<Load> {
        loop {
            let arrived = Arc::clone(&self.desk.core);
            let arrived = arrived.arrived.notified();
            self.queue.fill().await;
            if self.queue.is_small() && !self.queue.is_empty() && !stopping.begun() {
                tokio::select! {
                    () = tokio::time::sleep(LINGER) => {}
                    () = stopping.wait() => {}
                }
                self.queue.fill().await;
            }
            let id = self.desk.rng.uuid_v7(self.desk.clock.now());
            if let Some(load) = self.queue.take(id) {
                if self.queue.failed().is_none() {
                    self.read_again();
                }
                if !load.batch.facts.is_empty() {
                    return Some(load);
                }
                settle(&self.desk, &load, Receipt::default()).await;
                continue;
            }
            if stopping.begun() {
                return None;
            }
            if let Some(error) = self.queue.failed() {
                let pause = self.reading.pause(&self.desk);
                self.desk.metrics.read_errors.inc(());
                self.desk.set_shipping(Shipping::Unreadable);
                if self.reading.is_news(error) {
                    tracing::error!(error = %error, "the spool cannot be read; what waits there stays on disk and is tried again");
                }
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stopping.wait() => {}
                }
                continue;
            }
            self.read_again();
            tokio::select! {
                () = arrived => {}
                () = stopping.wait() => {}
            }
        }
    }

    /// The disk gives back what is next.
    fn read_again(&mut self) {
        if self.reading.end() {
            tracing::info!("the spool is read again");
            self.desk.set_shipping(Shipping::Idle);
        }
    }
}

/// Sends one batch until it is stored.
async fn send<S: Sink>(desk: &Desk, sink: &S, batch: &Batch, stopping: &Stopping) -> Outcome {
    let mut outage = Outage::default();
    loop {
        let attempt = AssertUnwindSafe(sink.ingest(batch)).catch_unwind();
        let unavailable =
            |reason: &str| SinkError::Unavailable { reason: reason.to_owned(), retry_after: None };
        let error = match tokio::time::timeout(ATTEMPT_MAX, attempt).await {
            Ok(Ok(Ok(receipt))) => {
                if outage.end() {
                    tracing::info!(batch = %batch.id, "facts are shipped again");
                }
                return Outcome::Stored(receipt);
            }
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) => unavailable("shipping panicked"),
            Err(_) => unavailable("the place of record did not answer in time"),
        };
        desk.metrics.retries.inc(());
        if outage.is_news(&error) {
            let facts = batch.facts.len();
            tracing::warn!(batch = %batch.id, facts, error = %error, "facts cannot be shipped; they stay on disk");
        }
        let resumed = desk.resume.notified();
        tokio::pin!(resumed);
        resumed.as_mut().enable();
        let pause = match error {
            SinkError::Denied { .. } => {
                desk.set_shipping(Shipping::Denied);
                None
            }
            SinkError::NotUnderstood { .. } => {
                desk.set_shipping(Shipping::NotUnderstood);
                Some(outage.pause(desk))
            }
            SinkError::Unavailable { retry_after, .. } => {
                desk.set_shipping(Shipping::Waiting);
                let pause = outage.pause(desk);
                Some(retry_after.map_or(pause, |asked| pause.max(asked.min(RETRY_AFTER_MAX))))
            }
        };
        let waited = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => resumed.await,
            }
        };
        tokio::select! {
            biased;
            () = stopping.wait() => return Outcome::GivenUp,
            () = waited => {}
        }
    }
}

/// Deals with what was refused and acknowledges the rest.
async fn settle(desk: &Arc<Desk>, load: &Load, receipt: Receipt) {
    let sent = load.batch.facts.len();
    let refused = receipt.refused.len().min(sent);
    let mut lines = Vec::new();
    for refusal in receipt.refused {
        let Some(fact) = load.batch.facts.get(refusal.index) else {
            tracing::error!(batch = %load.batch.id, index = refusal.index, "a fact was refused that was not sent");
            continue;
        };
        let interception = fact.interception();
        let (kind, reason) = (kind(fact), &refusal.reason);
        tracing::error!(interception_id = %interception, kind, reason, "a fact was refused for good");
        lines.extend(Line::new(reason, fact));
        desk.intake.losses.add(Lost::Refused, 1);
    }
    for json in &load.unknown {
        tracing::error!(
            bytes = json.len(),
            "the spool holds a fact that this release does not know"
        );
        lines.extend(Line::of_json("not known to this release", json.clone()));
    }
    let unreadable = load.lost_facts.saturating_add(load.unknown.len() as u64);
    if unreadable > 0 {
        desk.intake.losses.add(Lost::Corrupt, unreadable);
    }
    if !lines.is_empty() {
        keep(desk, lines).await;
    }
    if let Some(end) = load.end {
        desk.core.acknowledge(end);
    }
    if sent > 0 {
        desk.metrics.shipped.inc_by((), sent.saturating_sub(refused) as u64);
        desk.metrics.batch_rows.observe((), f64::from(u32::try_from(sent).unwrap_or(u32::MAX)));
        if let Some(oldest) = load.oldest_micros {
            desk.metrics.lag.observe_duration((), desk.age(oldest));
        }
    }
}

/// Writes refused facts to their file. That this fails does not hold up the others.
async fn keep(desk: &Arc<Desk>, lines: Vec<Line>) {
    let desk = Arc::clone(desk);
    let kept = tokio::task::spawn_blocking(move || {
        let kept = refused::keep(&desk.dir, &lines, desk.core.plan.refused_bytes);
        (lines.len(), kept)
    });
    match kept.await {
        Ok((all, Ok(kept))) if kept < all => {
            tracing::error!(facts = all - kept, "no room is left for facts that were refused");
        }
        Ok((_, Ok(_))) => {}
        Ok((_, Err(error))) => {
            tracing::error!(error = %error, "cannot keep facts that were refused");
        }
        Err(_) => tracing::error!("keeping facts that were refused panicked"),
    }
}

const fn kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Start(_) => "start",
        Fact::End(_) => "end",
        Fact::Prompt(_) => "prompt",
        Fact::Tokens(_) => "tokens",
        Fact::Tool(_) => "tool",
        Fact::Thought(_) => "thought",
    }
}
