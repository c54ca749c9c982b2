use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use stdx::Lifecycle;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Exchange, Settling, Terms, cut_off};
use crate::facts::ErrorType;
use crate::gateway::BodyError;
use crate::limits::LARGE_BYTES;
use crate::ports::BoxFuture;
use crate::wire::Ended;

/// An answer longer than this is relayed but not understood.
const COPY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The body of an answer that is not a stream. Chunks are relayed as they come, but each one only when the
/// next has come: so the last one can wait until the records of the whole are durable.
pub(super) struct WholeBody {
    upstream: Incoming,
    /// Elsewhere while a large answer is being understood.
    exchange: Option<Exchange>,
    /// What an answer without success is recorded as; it is relayed and not understood.
    refusal: Option<(ErrorType, String)>,
    held: Option<Bytes>,
    copy: Copy,
    /// Bytes of the whole that have not been released, when the provider said how many there are.
    left: Option<u64>,
    deadline: Pin<Box<Sleep>>,
    cut_off: BoxFuture<'static, ()>,
    terms: Terms,
    phase: Phase,
}

/// The answer so far. One chunk is the normal case and is not copied.
enum Copy {
    Empty,
    One(Bytes),
    Many(BytesMut),
    /// Not wanted.
    None,
    /// Given up.
    TooLong,
}

impl Copy {
    /// Bytes in memory because of it.
    fn held(&self) -> usize {
        match self {
            Self::Empty | Self::None | Self::TooLong => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(all) => all.capacity(),
        }
    }

    fn freeze(self) -> Option<Bytes> {
        match self {
            Self::None | Self::TooLong => None,
            Self::Empty => Some(Bytes::new()),
            Self::One(bytes) => Some(bytes),
            Self::Many(all) => Some(all.freeze()),
        }
    }

    fn add(&mut self, chunk: &Bytes) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::None,
            Self::TooLong => Self::TooLong,
            Self::Empty => Self::One(chunk.clone()),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity(2 * (first.len() + chunk.len()));
                all.extend_from_slice(&first);
                all.extend_from_slice(chunk);
                Self::Many(all)
            }
            Self::Many(all) if all.len() + chunk.len() > COPY_BYTES_MAX => Self::TooLong,
            Self::Many(mut all) => {
                all.extend_from_slice(chunk);
                Self::Many(all)
            }
        };
    }
}

enum Phase {
    Open,
    /// Upstream is done; what it said is being understood on another thread.
    Understanding(Understanding),
    /// Upstream is done; the last bytes, or the failure, are released when the records are durable.
    Settling(Option<Settling>, Result<Option<Bytes>, BodyError>),
    Done,
}

/// What a [`WholeBody`] starts with.
pub(super) struct Begun {
    /// The bytes that already came.
    pub(super) first: Bytes,
    /// Length of the whole, as the provider declared it.
    pub(super) length: Option<u64>,
    pub(super) deadline: Instant,
    pub(super) refusal: Option<(ErrorType, String)>,
}

impl WholeBody {
    pub(super) fn new(upstream: Incoming, begun: Begun, exchange: Exchange, terms: Terms) -> Self {
        let wanted = begun.refusal.is_none();
        let mut body = Self {
            upstream,
            exchange: Some(exchange),
            refusal: begun.refusal,
            held: None,
            copy: if wanted { Copy::Empty } else { Copy::None },
            left: begun.length,
            deadline: Box::pin(sleep_until(begun.deadline)),
            cut_off: cut_off(&terms.lifecycle, terms.timeouts.shutdown),
            terms,
            phase: Phase::Open,
        };
        body.take(begun.first);
        body
    }

    /// Holds a chunk and returns the one that was held before.
    fn take(&mut self, chunk: Bytes) -> Option<Bytes> {
        if chunk.is_empty() {
            return None;
        }
        let before = self.copy.held();
        self.copy.add(&chunk);
        if let Some(exchange) = &mut self.exchange {
            match self.copy.held().checked_sub(before) {
                Some(more) => exchange.held.add(more),
                None => exchange.held.release(),
            }
        }
        self.held.replace(chunk)
    }

    /// Upstream is done. What it said is understood at once, or, if that takes long, beside this thread.
    fn close(&mut self) {
        let copy = std::mem::replace(&mut self.copy, Copy::None);
        if matches!(copy, Copy::TooLong) {
            let text = "the answer is longer than 64 MiB: it was passed on, its usage is not known";
            self.refusal = Some((ErrorType::Unknown, text.to_owned()));
        }
        let Some(body) = copy.freeze() else {
            return self.finish(Ended::Closed);
        };
        match self.exchange.take() {
            Some(exchange) if body.len() >= LARGE_BYTES => {
                let work = Understanding::new(exchange, body, &self.terms);
                self.phase = Phase::Understanding(work);
            }
            exchange => {
                self.exchange = exchange;
                if let Some(exchange) = &mut self.exchange {
                    exchange.interceptor.observe_body(&body);
                }
                self.finish(Ended::Closed);
            }
        }
    }

    fn finish(&mut self, ended: Ended) {
        let provider = &self.terms.provider;
        let (fault, outcome) = match ended {
            // The head is out, so breaking off is the one way to say that this is no answer.
            Ended::Closed if self.is_nonsense() => {
                (None, Err(BodyError("the provider's answer is not JSON")))
            }
            Ended::Closed => (self.refusal.take(), Ok(self.held.take())),
            Ended::TimedOut => (
                Some((ErrorType::Timeout, format!("provider {provider} took too long to answer"))),
                Err(BodyError("the provider took too long")),
            ),
            Ended::ShuttingDown => (None, Err(BodyError("the gateway is shutting down"))),
            Ended::UpstreamBroke | Ended::ClientGone => (
                Some((ErrorType::ServerError, format!("provider {provider} broke off its answer"))),
                Err(BodyError("the provider broke off its answer")),
            ),
        };
        let ending = self.exchange.as_mut().map(|exchange| exchange.end(ended, fault));
        self.phase = Phase::Settling(ending.and_then(|ending| ending.settling), outcome);
    }

    fn is_nonsense(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.interceptor.is_nonsense())
    }

    fn release(&mut self, bytes: Bytes) -> Frame<Bytes> {
        if let Some(exchange) = &mut self.exchange {
            exchange.relayed = true;
        }
        self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
        Frame::data(bytes)
    }
}

impl http_body::Body for WholeBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            match &mut this.phase {
                Phase::Open => {}
                Phase::Understanding(work) => {
                    this.exchange = ready!(Pin::new(work).poll(cx));
                    this.finish(Ended::Closed);
                    continue;
                }
                Phase::Settling(settling, _) => {
                    if let Some(settling) = settling {
                        ready!(Pin::new(settling).poll(cx));
                    }
                    return match std::mem::replace(&mut this.phase, Phase::Done) {
                        Phase::Settling(_, Ok(Some(last))) => {
                            Poll::Ready(Some(Ok(this.release(last))))
                        }
                        Phase::Settling(_, Err(error)) => Poll::Ready(Some(Err(error))),
                        _ => Poll::Ready(None),
                    };
                }
                Phase::Done => return Poll::Ready(None),
            }
            match Pin::new(&mut this.upstream).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let before = frame.into_data().ok().and_then(|chunk| this.take(chunk));
                    if let Some(bytes) = before {
                        return Poll::Ready(Some(Ok(this.release(bytes))));
                    }
                }
                Poll::Ready(Some(Err(_))) => this.finish(Ended::UpstreamBroke),
                Poll::Ready(None) => this.close(),
                Poll::Pending => {
                    if this.deadline.as_mut().poll(cx).is_ready() {
                        this.finish(Ended::TimedOut);
                    } else if this.cut_off.as_mut().poll(cx).is_ready() {
                        this.finish(Ended::ShuttingDown);
                    } else {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Understands a large answer on another thread and gives the exchange back. Dropped before that, because
/// the client left, it goes on as a task of its own: what was answered is recorded all the same.
struct Understanding {
    work: Option<BoxFuture<'static, Option<Exchange>>>,
    lifecycle: Lifecycle,
}

impl Understanding {
    fn new(mut exchange: Exchange, body: Bytes, terms: &Terms) -> Self {
        let (workers, patience) = (terms.limits.workers.clone(), terms.timeouts.blocking);
        let work = async move {
            let place = workers.place(patience).await;
            let work = move || {
                exchange.interceptor.observe_body(&body);
                exchange
            };
            match place {
                Some(place) => place.run(work).await,
                // Records matter more than a pause of this thread.
                None => Some(work()),
            }
        };
        Self { work: Some(Box::pin(work)), lifecycle: terms.lifecycle.clone() }
    }
}

impl Future for Understanding {
    type Output = Option<Exchange>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Exchange>> {
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let polled = work.as_mut().poll(cx);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl Drop for Understanding {
    fn drop(&mut self) {
        if let Some(work) = self.work.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            // Dropping the exchange closes its record.
            self.lifecycle.spawn("answer-understanding", async move { drop(work.await) });
        }
    }
}
