//! Relays what is not intercepted: model lists and the like. Streams both ways, understands nothing,
//! records nothing; the routes are an allow-list because a central key may be used.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::dialect::Fault;
use crate::driver::{Books, Credential, Failure, Keys, Terms, cut_off};
use crate::gateway::{
    Body, BodyError, Peer, REQUEST_BODY_MAX, content_length, discard, no_room, too_large,
};
use crate::headers::{for_passthrough, for_passthrough_client};
use crate::limits::Held;
use crate::metrics::method_label;
use crate::ports::BoxFuture;
use crate::provider::Provider;
use crate::token::{Credentials, own_credential};
use crate::upstream::{BoxError, ClientBodyError, RequestBody, Upstream};

/// Bodies up to this size are kept, so that they can be sent again with another key. Larger ones, and those
/// of unknown length, are sent as they come, with one key: it gets one attempt.
const REPLAY_BYTES_MAX: u64 = 1024 * 1024;

/// An admitted request of a passthrough route.
pub(crate) struct Call<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) route: &'static str,
    /// Path to append to the provider's base URL.
    pub(crate) rest: &'a str,
    pub(crate) credentials: &'a Credentials,
    pub(crate) upstream: &'a Upstream,
    pub(crate) books: &'a Books,
    pub(crate) terms: Terms,
}

/// Relays the request and streams the answer.
pub(crate) async fn relay(
    call: Call<'_>,
    parts: Parts,
    body: UnsyncBoxBody<Bytes, BoxError>,
) -> Result<Response<Body>, Failure> {
    let provider = call.provider;
    let metrics = &call.books.metrics;
    metrics.passed_through(&provider.name, call.route, method_label(&parts.method));
    if content_length(&parts.headers).is_some_and(|length| length > REQUEST_BODY_MAX as u64) {
        return Err(too_large(body, 0).await);
    }
    let uri = provider.base.join(call.rest, parts.uri.query()).map_err(|_| {
        Failure::new(Fault::BadRequest, "the query has characters that no URL can carry")
    })?;
    let own = own_credential(&parts.headers, provider.kind, call.credentials);
    let credential = Credential::choose(own, provider)?;
    let headers = for_passthrough(&parts.headers, host(&parts), parts.extensions.get::<Peer>());
    let timeouts = &call.terms.timeouts;
    let mut memory = call.terms.limits.memory.guard();
    let mut source = timeout(timeouts.request_body, Source::read(body, &mut memory))
        .await
        .unwrap_or_else(|_| Err(Failure::body_timeout(timeouts.request_body)))?;
    let keys = Keys {
        provider,
        upstream: call.upstream,
        metrics,
        clock: &*call.books.clock,
        replay: matches!(source, Source::Kept(_)),
    };
    let make = |(name, value): (HeaderName, HeaderValue)| {
        let mut request = Request::new(source.take());
        request.method_mut().clone_from(&parts.method);
        request.uri_mut().clone_from(&uri);
        request.headers_mut().clone_from(&headers);
        request.headers_mut().insert(name, value);
        request
    };
    let mut hint = String::new();
    let sending = timeout(timeouts.first_byte, keys.send(&credential, &mut hint, make));
    let answer = tokio::select! {
        biased;
        answer = sending => answer.unwrap_or_else(|_| {
            Err(Failure::new(Fault::UpstreamTimeout, "the provider did not answer in time"))
        }),
        () = cut_off(&call.terms.lifecycle, timeouts.shutdown) => {
            Err(Failure::new(Fault::Stopping, "the gateway is shutting down; try again shortly"))
        }
    };
    let answer = answer.map_err(in_words)?;
    drop(memory);
    let (head, upstream) = answer.into_parts();
    let mut answer = Response::new(Body::new(PassBody::new(upstream, call.terms)));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = for_passthrough_client(&head.headers);
    Ok(answer)
}

fn host(parts: &Parts) -> Option<&str> {
    let named = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    named.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))
}

/// The text that clients of passthrough routes know.
fn in_words(failure: Failure) -> Failure {
    match failure.fault {
        Fault::Upstream | Fault::UpstreamTimeout => {
            Failure { message: "upstream proxy error".to_owned(), ..failure }
        }
        _ => failure,
    }
}

/// The client's body.
enum Source {
    /// Read, so that it can be sent more than once.
    Kept(Bytes),
    /// Sent as it comes, once.
    Streamed(Option<UnsyncBoxBody<Bytes, BoxError>>),
}

impl Source {
    async fn read(body: UnsyncBoxBody<Bytes, BoxError>, held: &mut Held) -> Result<Self, Failure> {
        let most = body.size_hint().upper().filter(|most| *most <= REPLAY_BYTES_MAX);
        let Some(most) = most else {
            return Ok(Self::Streamed(Some(limited(body))));
        };
        if held.resize(usize::try_from(most).unwrap_or(usize::MAX)).is_err() {
            discard(body, 0).await;
            return Err(no_room());
        }
        let body = limited(body);
        match body.collect().await {
            Ok(body) => Ok(Self::Kept(body.to_bytes())),
            Err(_) => Err(Failure::new(Fault::BadRequest, "the request body broke off")),
        }
    }

    fn take(&mut self) -> RequestBody {
        match self {
            Self::Kept(bytes) => Either::Left(Full::new(bytes.clone())),
            Self::Streamed(body) => match body.take() {
                Some(body) => Either::Right(body),
                None => Either::Left(Full::default()),
            },
        }
    }
}

/// Bounds the client's body and marks its errors as the client's.
fn limited(body: UnsyncBoxBody<Bytes, BoxError>) -> UnsyncBoxBody<Bytes, BoxError> {
    let limited = Limited::new(body, REQUEST_BODY_MAX);
    UnsyncBoxBody::new(limited.map_err(|error| BoxError::from(ClientBodyError(error))))
}

/// The provider's body as it comes; dropping it cancels the request.
struct PassBody {
    upstream: Incoming,
    last_heard: Instant,
    tick: Pin<Box<Sleep>>,
    cut_off: BoxFuture<'static, ()>,
    terms: Terms,
}

impl PassBody {
    fn new(upstream: Incoming, terms: Terms) -> Self {
        let last_heard = Instant::now();
        Self {
            upstream,
            last_heard,
            tick: Box::pin(sleep_until(last_heard + terms.timeouts.stream_idle)),
            cut_off: cut_off(&terms.lifecycle, terms.timeouts.shutdown),
            terms,
        }
    }

    /// Nothing came from upstream: is it time to give up?
    fn idle(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        if self.cut_off.as_mut().poll(cx).is_ready() {
            return Poll::Ready(BodyError("the gateway is shutting down"));
        }
        loop {
            ready!(self.tick.as_mut().poll(cx));
            let give_up = self.last_heard + self.terms.timeouts.stream_idle;
            if Instant::now() >= give_up {
                return Poll::Ready(BodyError("the provider stopped sending its answer"));
            }
            self.tick.as_mut().reset(give_up);
        }
    }
}

impl http_body::Body for PassBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.upstream).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.last_heard = Instant::now();
                let broke = |_| BodyError("the provider broke off its answer");
                Poll::Ready(frame.map(|frame| frame.map_err(broke)))
            }
            Poll::Pending => self.idle(cx).map(|error| Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upstream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.upstream.size_hint()
    }
}
