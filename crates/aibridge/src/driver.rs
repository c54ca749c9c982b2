//! Runs one interception: record the start, send, relay, understand, record the rest.
//!
//! The order is the point. The start fact is appended before anything goes upstream and durable before
//! the first byte of an answer is released. Bytes of a stream leave before they are understood. The
//! remaining facts are durable before the end of the answer is released: its last byte, and before that the
//! event with which clients take a stream for whole. Whatever interrupts this, also a
//! client that leaves, dropping the exchange writes the end fact, exactly once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stdx::{Lifecycle, Stopping};

use crate::breaker::{Ticket, Verdict};
use crate::facts::ErrorType;
use crate::limits::{Held, Limits};
use crate::ports::BoxFuture;
use crate::sse::{Piece, Splitter};
use crate::wire::{Ended, Interceptor, Note};

mod attempts;
mod ledger;
mod run;
mod stream;
mod whole;

pub(crate) use attempts::{Credential, Failure, Keys};
pub(crate) use ledger::{Books, Failed, Ledger, Settling};
pub(crate) use run::{Job, refuse, run};

/// How long the driver waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Finding out who is calling.
    pub identity: Duration,
    /// Making a connection to a provider, TLS included.
    pub connect: Duration,
    /// A blocking answer, from sending the request to its last byte.
    pub blocking: Duration,
    /// A stream, from sending the request to its first byte.
    pub first_byte: Duration,
    /// Between two chunks of a stream.
    pub stream_idle: Duration,
    /// Silence towards the client of a stream, after which a keep-alive is sent.
    pub keep_alive: Duration,
    /// Reading the client's request body.
    pub request_body: Duration,
    /// A batch of facts becoming durable.
    pub record: Duration,
    /// What answers under way may still take when the process stops.
    pub shutdown: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            identity: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            blocking: Duration::from_mins(10),
            first_byte: Duration::from_mins(2),
            stream_idle: Duration::from_mins(5),
            keep_alive: Duration::from_secs(10),
            request_body: Duration::from_mins(1),
            record: Duration::from_secs(10),
            shutdown: Duration::from_secs(30),
        }
    }
}

/// An interceptor and its record, ended together.
pub(crate) struct Exchange {
    interceptor: Box<dyn Interceptor>,
    ledger: Ledger,
    /// The request's body until it was sent, then copies of the answer.
    held: Held,
    /// Tells the circuit breaker how it went.
    ticket: Option<Ticket>,
    /// What the exchange says about the provider, when the record does not tell.
    verdict: Option<Verdict>,
    /// What came before there was a relay to understand it.
    early: Option<Early>,
    /// Whether any byte of the answer has been released.
    relayed: bool,
    /// Events of the answer that were relayed and too long to be understood.
    overlong: usize,
}

/// The first bytes of an answer whose start is not durable yet. They may hold usage, which is recorded
/// even if nothing of the answer is ever released.
struct Early {
    bytes: Bytes,
    stream: bool,
}

impl Exchange {
    pub(crate) fn new(
        interceptor: Box<dyn Interceptor>,
        ledger: Ledger,
        held: Held,
        ticket: Option<Ticket>,
    ) -> Self {
        Self {
            interceptor,
            ledger,
            held,
            ticket,
            verdict: None,
            early: None,
            relayed: false,
            overlong: 0,
        }
    }

    fn understand_early(&mut self) {
        match self.early.take() {
            None => {}
            Some(Early { bytes, stream: false }) => self.interceptor.observe_body(&bytes),
            Some(Early { mut bytes, stream: true }) => {
                let mut splitter = Splitter::new();
                while let Some(piece) = splitter.next_piece(&mut bytes) {
                    if let Piece::Frame(frame) | Piece::Late(frame) = piece {
                        self.interceptor.observe(&frame);
                    }
                }
            }
        }
    }

    /// Ends the exchange. `fault`, when given, is a better reason than the interceptor can know.
    fn end(&mut self, ended: Ended, fault: Option<(ErrorType, String)>) -> Ending {
        if self.ledger.is_closed() {
            return Ending::default();
        }
        self.understand_early();
        let finish = self.interceptor.finish(ended, self.relayed);
        let quoted = finish.quotes_provider;
        let of_provider = finish.error.map(|error| Failed { quoted, ..error.into() });
        let error = fault.map(Failed::from).or(of_provider);
        let failed = error.is_some();
        if let Some(ticket) = &mut self.ticket {
            let of_record = match ended {
                Ended::ShuttingDown => Verdict::Nothing,
                _ => Verdict::of_record(error.as_ref().map(|error| error.kind)),
            };
            ticket.settle(self.verdict.unwrap_or(of_record));
        }
        let mut notes = self.interceptor.take_notes();
        if self.overlong > 0 {
            mark_overlong(&mut notes, self.overlong);
        }
        let settling = self.ledger.close(notes, error);
        Ending { trailer: finish.trailer, failed, settling }
    }
}

/// A record that may lack something says so.
fn mark_overlong(notes: &mut [Note], events: usize) {
    for note in notes {
        if let Note::Tokens { metadata, .. } = note {
            metadata.insert("events_omitted".to_owned(), events.into());
        }
    }
}

/// What is left to do for an exchange that has ended.
#[derive(Default)]
struct Ending {
    /// Last bytes for the client of a stream.
    trailer: Option<Bytes>,
    /// Whether the record says that it failed.
    failed: bool,
    /// To be awaited before the answer's end is released.
    settling: Option<Settling>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.ledger.is_closed() {
            return;
        }
        if std::thread::panicking() {
            // Not through the interceptor: its state may be half changed.
            let error =
                (ErrorType::Unknown, "the gateway failed while handling the request".to_owned());
            drop(self.ledger.close(Vec::new(), Some(error.into())));
            return;
        }
        // A client that leaves after the last event of a complete answer is none that failed, unless it
        // got nothing of it.
        let nothing = (!self.relayed).then(|| {
            (ErrorType::ClientGone, "the client left before the answer was complete".to_owned())
        });
        drop(self.end(Ended::ClientGone, nothing));
    }
}

/// Resolves when the process stops and the time for answers under way has passed, or there is none.
pub(crate) fn cut_off(lifecycle: &Lifecycle, grace: Duration) -> BoxFuture<'static, ()> {
    let stopping: Stopping = lifecycle.stopping();
    Box::pin(async move {
        stopping.wait().await;
        tokio::select! {
            () = tokio::time::sleep(grace) => {}
            () = stopping.hurried() => {}
        }
    })
}

/// What relays need to know besides the bytes.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) provider: Arc<str>,
    pub(crate) timeouts: Timeouts,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) limits: Arc<Limits>,
}
