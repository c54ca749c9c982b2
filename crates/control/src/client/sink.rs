use std::collections::HashSet;

use aibridge::facts::Fact;
use bytes::Bytes;
use ledger::{Batch, Receipt, RefusedFact, Sink, SinkError};
use serde::Serialize;
use uuid::Uuid;

use super::call::CallError;
use super::http::Coderd;
use super::link::Link;
use crate::wire::{Accepted, RECORDS_BYTES_MAX, RECORDS_MAX, Verified};

/// Where a daemon's ledger ships to: coderd.
#[derive(Clone, Debug)]
pub struct ControlSink {
    coderd: Coderd,
    link: Link,
}

/// [`crate::wire::Verify`], borrowed.
#[derive(Serialize)]
struct VerifyRef<'a> {
    facts: &'a [Fact],
}

impl ControlSink {
    /// Ships over `coderd`, and tells `link` when the key is refused.
    #[must_use]
    pub const fn new(coderd: Coderd, link: Link) -> Self {
        Self { coderd, link }
    }

    /// Compares at most [`RECORDS_MAX`] facts with what is stored.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn verify(&self, facts: &[Fact]) -> Result<Verified, CallError> {
        self.coderd.verify(VerifyRef { facts }).await
    }

    /// Sends what one call may hold, from the fact at `from` on. Returns where the next call begins.
    async fn send(
        &self,
        batch: &Batch,
        from: usize,
        receipt: &mut Receipt,
    ) -> Result<usize, CallError> {
        let facts = batch.facts.get(from..).unwrap_or_default();
        let (count, body) = body(batch.id, facts, RECORDS_MAX, RECORDS_BYTES_MAX)?;
        let sent = facts.get(..count).unwrap_or_default();
        if sent.is_empty() {
            let reason = "the fact is larger than the protocol allows".to_owned();
            receipt.refused.push(RefusedFact { index: from, reason });
            return Ok(from + 1);
        }
        let accepted = self.coderd.records(body).await?;
        check(sent, &accepted)?;
        receipt.refused.extend(
            accepted
                .refused
                .into_iter()
                .map(|refused| RefusedFact { index: from + refused.index, reason: refused.reason }),
        );
        Ok(from + count)
    }
}

impl Sink for ControlSink {
    async fn ingest(&self, batch: &Batch) -> Result<Receipt, SinkError> {
        let (mut receipt, mut from) = (Receipt::default(), 0);
        while from < batch.facts.len() {
            from =
                self.send(batch, from, &mut receipt).await.map_err(|error| self.failure(error))?;
        }
        Ok(receipt)
    }
}

impl ControlSink {
    fn failure(&self, error: CallError) -> SinkError {
        let (reason, retry_after) = (error.to_string(), error.retry_after());
        match error {
            CallError::Ended(why) => {
                self.link.end(why);
                SinkError::Denied { reason }
            }
            // A fact of a kind, or with a member, that a later release added.
            CallError::NotUnderstood(_) => SinkError::NotUnderstood { reason },
            CallError::Busy { .. } | CallError::Away(_) => {
                SinkError::Unavailable { reason, retry_after }
            }
        }
    }
}

/// By which a fact is acknowledged.
const fn id(fact: &Fact) -> Uuid {
    match fact {
        Fact::Start(f) => f.id.uuid(),
        Fact::End(f) => f.id.uuid(),
        Fact::Prompt(f) => f.id.uuid(),
        Fact::Tokens(f) => f.id.uuid(),
        Fact::Tool(f) => f.id.uuid(),
        Fact::Thought(f) => f.id.uuid(),
    }
}

/// What coderd says must be about what was sent, and about all of it.
fn check(sent: &[Fact], accepted: &Accepted) -> Result<(), CallError> {
    let mut told: HashSet<Uuid> = accepted.accepted.iter().copied().collect();
    for refused in &accepted.refused {
        let fact = sent.get(refused.index);
        let fact =
            fact.ok_or_else(|| CallError::Away("coderd refused what was not sent".to_owned()))?;
        told.insert(id(fact));
    }
    match sent.iter().filter(|fact| !told.contains(&id(fact))).count() {
        0 => Ok(()),
        open => {
            let reason = format!("coderd did not acknowledge {open} of {} facts", sent.len());
            Err(CallError::Away(reason))
        }
    }
}

/// Writes a [`Records`](crate::wire::Records) with as many of the facts as it may hold: how many these are,
/// and the body. None at all, if already the first is too large.
fn body(
    batch_id: Uuid,
    facts: &[Fact],
    count_max: usize,
    bytes_max: usize,
) -> Result<(usize, Bytes), CallError> {
    let mut body = format!(r#"{{"batch_id":"{batch_id}","facts":["#).into_bytes();
    let mut count = 0;
    for fact in facts.iter().take(count_max) {
        let before = body.len();
        if count > 0 {
            body.push(b',');
        }
        serde_json::to_writer(&mut body, fact)
            .map_err(|error| CallError::NotUnderstood(format!("cannot write a fact: {error}")))?;
        if body.len() + END.len() > bytes_max {
            body.truncate(before);
            break;
        }
        count += 1;
    }
    body.extend_from_slice(END);
    Ok((count, body.into()))
}

/// Closes the list and the object.
const END: &[u8] = b"]}";

#[cfg(test)]
mod tests;
