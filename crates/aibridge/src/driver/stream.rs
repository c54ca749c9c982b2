use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::{Exchange, Settling, Terms, cut_off};
use crate::dialect::Dialect;
use crate::gateway::BodyError;
use crate::ports::BoxFuture;
use crate::sse::{self, Piece, Splitter};
use crate::wire::{Ended, Relay};

/// Frames that are relayed at most before they are understood.
const UNREAD_MAX: usize = 64;
/// An unfinished event counts as memory from this length on.
const COUNTED_BYTES: usize = 64 * 1024;
/// Bytes of events without data that go out together.
const QUIET_BYTES: usize = 16 * 1024;
/// How long the provider may take to end its body after the last event. The client does not wait for it, but
/// the connection can be used again only then.
const LINGER: Duration = Duration::from_secs(1);

/// How long what follows an answer, its usage and its end, may still take to come after the client has left with
/// the answer.
const EPILOGUE: Duration = LINGER;

/// The body of a streamed answer: a state machine that the server's connection drives, so that a slow
/// client slows the provider down and a client that leaves ends everything by dropping it.
pub(super) struct StreamBody(Option<Stream>);

struct Stream {
    upstream: Incoming,
    splitter: Splitter,
    /// Has come, and was not looked at yet. Pieces are taken from it one by one: of a hostile chunk they
    /// would take many times its memory.
    chunk: Bytes,
    exchange: Exchange,
    /// To be released, in order.
    out: VecDeque<Bytes>,
    /// Released or dropped, still to be understood.
    unread: Vec<sse::Frame>,
    /// What tells the client that the answer is whole; released when the records are durable.
    last: Option<Bytes>,
    /// Whether the server had a chance to write out what was released before it is understood.
    flushed: bool,
    /// Bytes of an unfinished event that count as memory.
    counted: usize,
    last_heard: Instant,
    last_sent: Instant,
    tick: Pin<Box<Sleep>>,
    cut_off: BoxFuture<'static, ()>,
    terms: Terms,
    phase: Phase,
}

enum Phase {
    Open,
    /// Upstream is done, or has nothing more to say; trailer and records remain.
    Settling(Option<Settling>, Result<(), BodyError>),
    /// All is recorded and the last event is released; what may still come is relayed unread.
    Lingering,
    Done,
}

impl StreamBody {
    /// `first` are the bytes that already came.
    pub(super) fn new(upstream: Incoming, first: Bytes, exchange: Exchange, terms: Terms) -> Self {
        Self(Some(Stream::new(upstream, first, exchange, terms)))
    }
}

impl Stream {
    fn new(upstream: Incoming, first: Bytes, mut exchange: Exchange, terms: Terms) -> Self {
        // The status has gone out by the time that anything can go wrong here.
        exchange.relayed = true;
        let now = Instant::now();
        // Deadlines only ever move later, so the earlier of the two is when to look for the first time.
        let first_look = now + terms.timeouts.keep_alive.min(terms.timeouts.stream_idle);
        Self {
            upstream,
            splitter: Splitter::new(),
            chunk: first,
            exchange,
            out: VecDeque::new(),
            unread: Vec::new(),
            last: None,
            flushed: false,
            counted: 0,
            last_heard: now,
            last_sent: now,
            tick: Box::pin(sleep_until(first_look)),
            cut_off: cut_off(&terms.lifecycle, terms.timeouts.shutdown),
            terms,
            phase: Phase::Open,
        }
    }

    /// Decides what the client gets of the next piece of the chunk, without understanding it yet. Tells
    /// whether there was one.
    fn take(&mut self) -> bool {
        let Some(mut piece) = self.splitter.next_piece(&mut self.chunk) else { return false };
        // Comments and blank lines. A hostile chunk has one per byte, so they go out together.
        let mut quiet = BytesMut::new();
        while let Piece::Frame(frame) = &piece
            && frame.data.is_empty()
            && quiet.len() < QUIET_BYTES
        {
            quiet.extend_from_slice(&frame.raw);
            let Some(next) = self.splitter.next_piece(&mut self.chunk) else {
                self.release(quiet.freeze());
                return true;
            };
            piece = next;
        }
        self.release(quiet.freeze());
        match piece {
            Piece::Raw(bytes) => match self.splitter.late() {
                Some(frame) => self.pass(bytes, frame),
                None => self.release(bytes),
            },
            Piece::Late(frame) => self.unread.push(frame),
            Piece::Frame(frame) => {
                let bytes = match self.exchange.interceptor.relay(&frame) {
                    Relay::Forward => frame.raw.clone(),
                    Relay::Replace(bytes) => bytes,
                    Relay::Drop => Bytes::new(),
                };
                self.pass(bytes, frame);
            }
        }
        true
    }

    /// Releases the bytes of a frame that is complete, unless they end the answer.
    fn pass(&mut self, bytes: Bytes, frame: sse::Frame) {
        if self.exchange.interceptor.is_last(&frame) {
            self.last = Some(bytes);
        } else {
            self.release(bytes);
        }
        if !frame.data.is_empty() {
            self.unread.push(frame);
        }
    }

    fn release(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.out.push_back(bytes);
        }
    }

    fn understand(&mut self) {
        for frame in self.unread.drain(..) {
            self.exchange.interceptor.observe(&frame);
        }
    }

    /// Counts what is kept of an event that goes on.
    fn count_held(&mut self) {
        let kept = self.splitter.held_bytes();
        let counted = if kept < COUNTED_BYTES { 0 } else { kept };
        if counted != self.counted {
            self.counted = counted;
            self.exchange.held.set(counted);
        }
    }

    /// Understands what has come: it is charged, whether the client took it or not.
    fn understand_all(&mut self) {
        loop {
            self.understand();
            self.out.clear();
            if !self.take() {
                break;
            }
        }
        self.exchange.overlong = self.splitter.overlong();
    }

    /// The client is gone. That ends the exchange, and cancels the provider's work; but for one whose work is done.
    fn abandon(mut self) {
        self.understand_all();
        if self.exchange.interceptor.is_answered() && Handle::try_current().is_ok() {
            let lifecycle = self.terms.lifecycle.clone();
            lifecycle.spawn_quietly(async move {
                // What does not come in time is missing in the record, which says so.
                let _ = timeout(EPILOGUE, self.read_rest()).await;
            });
        }
    }

    /// Reads to the end, so that the provider sees an answer that was taken and the connection can be used again.
    async fn read_rest(&mut self) {
        while let Some(Ok(frame)) = self.upstream.frame().await {
            if let Ok(chunk) = frame.into_data() {
                self.chunk = chunk;
                self.understand_all();
            }
        }
    }

    fn finish(&mut self, ended: Ended) {
        self.understand();
        self.splitter.finish();
        self.exchange.overlong = self.splitter.overlong();
        let ending = self.exchange.end(ended, None);
        // A stream that was cut short must not look complete: either the API's own error event says so,
        // or the connection is broken.
        let outcome = match (&ending.trailer, ending.failed, ended) {
            (None, true, Ended::UpstreamBroke | Ended::TimedOut | Ended::ShuttingDown) => {
                Err(BodyError("the stream was cut short"))
            }
            _ => Ok(()),
        };
        if let Some(trailer) = ending.trailer {
            if let Some(last) = self.last.take() {
                self.release(last);
            }
            if self.splitter.is_torn() {
                self.release(Bytes::from_static(b"\n\n"));
            }
            self.release(trailer);
        }
        self.phase = Phase::Settling(ending.settling, outcome);
    }

    /// The client has everything. Reads on, so that the connection to the provider can be used again.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Also if the provider never stops sending.
        while self.tick.as_mut().poll(cx).is_pending() {
            match ready!(Pin::new(&mut self.upstream).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(chunk) = frame.into_data()
                        && !chunk.is_empty()
                    {
                        return Poll::Ready(Some(Ok(Frame::data(chunk))));
                    }
                }
                Some(Err(_)) | None => break,
            }
        }
        self.phase = Phase::Done;
        Poll::Ready(None)
    }

    /// Nothing came from upstream: is it time for a keep-alive, or to give up?
    fn idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.cut_off.as_mut().poll(cx).is_ready() {
            self.finish(Ended::ShuttingDown);
            return Poll::Ready(());
        }
        loop {
            ready!(self.tick.as_mut().poll(cx));
            let now = Instant::now();
            let give_up = self.last_heard + self.terms.timeouts.stream_idle;
            if now >= give_up {
                self.finish(Ended::TimedOut);
                return Poll::Ready(());
            }
            let mut keep_alive = self.last_sent + self.terms.timeouts.keep_alive;
            let due = now >= keep_alive;
            if due {
                keep_alive = now + self.terms.timeouts.keep_alive;
            }
            self.tick.as_mut().reset(give_up.min(keep_alive));
            if due && !self.splitter.is_torn() {
                self.out.push_back(keep_alive_of(self.exchange.interceptor.dialect()));
                return Poll::Ready(());
            }
        }
    }
}

/// What keeps a connection open without meaning anything. OpenAI's APIs have no such event; a comment is
/// ignored by every reader (WHATWG HTML section 9.2.6).
const fn keep_alive_of(dialect: Dialect) -> Bytes {
    match dialect {
        Dialect::Anthropic => Bytes::from_static(b"event: ping\ndata: {\"type\": \"ping\"}\n\n"),
        Dialect::OpenAiChat | Dialect::OpenAiResponses => Bytes::from_static(b": keep-alive\n\n"),
    }
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(this) = &mut self.get_mut().0 else { return Poll::Ready(None) };
        loop {
            if let Some(bytes) = this.out.pop_front() {
                this.flushed = false;
                this.last_sent = Instant::now();
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match &mut this.phase {
                Phase::Open => {}
                Phase::Settling(settling, _) => {
                    if let Some(settling) = settling {
                        ready!(Pin::new(settling).poll(cx));
                    }
                    let Phase::Settling(_, outcome) =
                        std::mem::replace(&mut this.phase, Phase::Done)
                    else {
                        return Poll::Ready(None);
                    };
                    if let Some(last) = this.last.take() {
                        let rest = std::mem::take(&mut this.chunk);
                        this.release(last);
                        this.release(rest);
                        this.tick.as_mut().reset(Instant::now() + LINGER);
                        this.phase = Phase::Lingering;
                        continue;
                    }
                    return Poll::Ready(outcome.err().map(Err));
                }
                Phase::Lingering => return this.linger(cx),
                Phase::Done => return Poll::Ready(None),
            }
            if this.last.is_none() && this.unread.len() < UNREAD_MAX && this.take() {
                continue;
            }
            if !this.unread.is_empty() {
                if !this.flushed {
                    // The server writes out what it has as soon as the body has nothing more for now.
                    this.flushed = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                this.understand();
                continue;
            }
            if this.last.is_some() {
                this.finish(Ended::Closed);
                continue;
            }
            this.count_held();
            match Pin::new(&mut this.upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        this.last_heard = Instant::now();
                        this.chunk = chunk;
                    }
                }
                Poll::Ready(Some(Err(_))) => this.finish(Ended::UpstreamBroke),
                Poll::Ready(None) => this.finish(Ended::Closed),
                Poll::Pending => ready!(this.idle(cx)),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|stream| matches!(stream.phase, Phase::Done))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        if let Some(stream) = self.0.take()
            && !std::thread::panicking()
            && !stream.exchange.ledger.is_closed()
        {
            stream.abandon();
        }
    }
}
