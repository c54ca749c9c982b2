use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout, timeout_at};

use super::ledger::Recorded;
use super::stream::StreamBody;
use super::whole::{Begun, WholeBody};
use super::{Credential, Early, Exchange, Failure, Keys, Terms, cut_off};
use crate::breaker::Verdict;
use crate::dialect::{Fault, error_type_of};
use crate::facts::ErrorType;
use crate::gateway::Body;
use crate::headers::{INTERCEPTION_ID, for_client, is_encoded};
use crate::limits::{Held, LARGE_BYTES};
use crate::upstream::RequestBody;
use crate::wire::Ended;

/// What is said of an answer that cannot be understood.
const NONSENSE: &str = "the provider's answer is not a JSON object of this API";

/// What is sent, to whom, and on whose account.
pub(crate) struct Job<'a> {
    pub(crate) keys: Keys<'a>,
    pub(crate) credential: Credential,
    pub(crate) uri: Uri,
    /// Scrubbed; the credential comes on top.
    pub(crate) headers: HeaderMap,
    pub(crate) terms: Terms,
}

/// The beginning of an answer: its head and its first bytes.
struct Beginning {
    head: Parts,
    upstream: Incoming,
    first: Option<Bytes>,
    length: Option<u64>,
    deadline: Instant,
}

impl Beginning {
    /// Whether this is all of a successful answer that is not a stream, and small enough to be understood here.
    fn is_in_hand(&self, asked_for_stream: bool) -> bool {
        let Some(first) = &self.first else { return false };
        self.length == Some(first.len() as u64)
            && first.len() < LARGE_BYTES
            && self.head.status.is_success()
            && !is_stream(&self.head, asked_for_stream)
    }
}

/// What a request needs only until there is an answer.
struct Sent<'a> {
    body: Bytes,
    held: &'a mut Held,
    /// Mask of the credential used last.
    hint: &'a mut String,
}

/// How long the start may be on its way to the disk without being asked for. A provider that answers within
/// that time lets the start and the end of the record share one sync; what is slower has it done meanwhile.
const START_ALONE: Duration = Duration::from_millis(1);

/// Runs the exchange up to the head of the answer; its body does the rest. `recorded` resolves when the
/// start fact is durable.
pub(crate) async fn run(
    job: Job<'_>,
    mut exchange: Exchange,
    mut recorded: Recorded,
) -> Response<Body> {
    let asked_for_stream = exchange.interceptor.asked().stream;
    let body = exchange.interceptor.take_upstream_body();
    let Exchange { ledger, early, held, .. } = &mut exchange;
    let hint = &mut ledger.hint;
    let stopped = cut_off(&job.terms.lifecycle, job.terms.timeouts.shutdown);
    let outcome = {
        let beginning = pin!(begin(&job, Sent { body, held, hint }, asked_for_stream, early));
        tokio::select! {
            biased;
            begun = begin_recorded(beginning, &mut recorded, asked_for_stream) => begun,
            () = stopped => {
                Err(Failure::new(Fault::Stopping, "the gateway is shutting down; try again shortly"))
            }
        }
    };
    match outcome {
        Ok(beginning) if beginning.is_in_hand(asked_for_stream) => {
            answer(job, exchange, beginning, recorded).await
        }
        Ok(beginning) => relay(job, exchange, beginning, asked_for_stream).await,
        Err(failure) => fail(exchange, &failure, &job.terms).await,
    }
}

/// Waits for the beginning of the answer, and meanwhile for the start to be durable. An answer that is there as a
/// whole does not wait for the latter: its end will.
async fn begin_recorded(
    mut beginning: Pin<&mut impl Future<Output = Result<Beginning, Failure>>>,
    recorded: &mut Recorded,
    asked_for_stream: bool,
) -> Result<Beginning, Failure> {
    let mut begun = None;
    // The first byte of a stream waits for the start alone, so that is not put off.
    if !asked_for_stream && !recorded.is_done() {
        begun = timeout(START_ALONE, &mut beginning).await.ok();
    }
    if begun.is_none() {
        begun = tokio::select! {
            biased;
            begun = &mut beginning => Some(begun),
            durable = &mut *recorded => durable.map(|()| None).map_err(|_| not_recorded())?,
        };
    }
    let Some(begun) = begun else { return beginning.await };
    if !begun.as_ref().is_ok_and(|begun| begun.is_in_hand(asked_for_stream)) {
        recorded.await.map_err(|_| not_recorded())?;
    }
    begun
}

/// Ends an exchange of which nothing is sent.
pub(crate) async fn refuse(
    exchange: Exchange,
    failure: Failure,
    recorded: Recorded,
    terms: &Terms,
) -> Response<Body> {
    let failure = if recorded.await.is_ok() { failure } else { not_recorded() };
    fail(exchange, &failure, terms).await
}

fn not_recorded() -> Failure {
    Failure::new(
        Fault::NotRecorded,
        "the request could not be recorded, so it was not answered; try again shortly",
    )
}

/// Sends the request and waits for the first byte of the answer's body: until then, a failure can still
/// be told by the status.
async fn begin(
    job: &Job<'_>,
    sent: Sent<'_>,
    asked_for_stream: bool,
    early: &mut Option<Early>,
) -> Result<Beginning, Failure> {
    let timeouts = &job.terms.timeouts;
    let began = Instant::now();
    let patience = if asked_for_stream { timeouts.first_byte } else { timeouts.blocking };
    let provider = &job.terms.provider;
    let work = async {
        let Sent { body, held, hint } = sent;
        let make = |header: (HeaderName, HeaderValue)| request(job, &body, header);
        let answer = job.keys.send(&job.credential, hint, make).await?;
        // Nothing is sent again once there is an answer.
        drop(body);
        held.release();
        let (head, mut upstream) = answer.into_parts();
        check(&head, provider)?;
        let length = upstream.size_hint().exact();
        let first = first_bytes(&mut upstream).await.map_err(|_| {
            let message = format!("provider {provider:?} broke off before it answered");
            Failure::new(Fault::Upstream, message)
        })?;
        if first.is_none() && head.status.is_success() {
            let what = if is_stream(&head, asked_for_stream) {
                "closed the stream before its first event"
            } else {
                "answered with nothing"
            };
            return Err(Failure::new(Fault::Upstream, format!("provider {provider:?} {what}")));
        }
        *early = first.clone().filter(|_| head.status.is_success()).map(|bytes| {
            let stream = is_stream(&head, asked_for_stream);
            Early { bytes, stream }
        });
        Ok(Beginning { head, upstream, first, length, deadline: began + timeouts.blocking })
    };
    timeout_at(began + patience, work).await.unwrap_or_else(|_| {
        let seconds = patience.as_secs();
        let message = format!("provider {provider:?} did not answer within {seconds} seconds");
        Err(Failure::new(Fault::UpstreamTimeout, message))
    })
}

/// Turns away what is no answer of a provider's API, or cannot be read as one.
fn check(head: &Parts, provider: &str) -> Result<(), Failure> {
    let bad = |message: String| Err(Failure::new(Fault::Upstream, message));
    let status = head.status;
    if status.is_redirection() {
        return bad(format!(
            "provider {provider:?} answered with a redirect ({}), which is never followed; its base_url needs \
             to be corrected",
            status.as_u16()
        ));
    }
    if status.is_success() && is_encoded(&head.headers) {
        return bad(format!(
            "provider {provider:?} compressed its answer although it was asked not to, so the answer cannot be \
             recorded"
        ));
    }
    if status.is_success() && says(head, "text/html") {
        return bad(format!(
            "provider {provider:?} answered with a web page; its base_url needs to be corrected"
        ));
    }
    Ok(())
}

fn request(
    job: &Job<'_>,
    body: &Bytes,
    (name, value): (HeaderName, HeaderValue),
) -> Request<RequestBody> {
    let mut request = Request::new(Either::Left(Full::new(body.clone())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = job.uri.clone();
    request.headers_mut().clone_from(&job.headers);
    request.headers_mut().insert(name, value);
    request
}

async fn first_bytes(upstream: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    while let Some(frame) = upstream.frame().await {
        if let Ok(chunk) = frame?.into_data()
            && !chunk.is_empty()
        {
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}

/// A successful answer is a stream if it says so, or if one was asked for and it does not say otherwise.
fn is_stream(head: &Parts, asked: bool) -> bool {
    head.status.is_success()
        && (says(head, "text/event-stream") || (asked && !says(head, "application/json")))
}

/// Whether the answer declares a type that starts with `kind`.
fn says(head: &Parts, kind: &str) -> bool {
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type
        .and_then(|text| text.get(..kind.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(kind.as_bytes()))
}

/// Answers with what is there as a whole. It is understood before anything is sent: nonsense need not be passed
/// on as an answer, and the records of the whole are made durable at once.
async fn answer(
    job: Job<'_>,
    mut exchange: Exchange,
    whole: Beginning,
    recorded: Recorded,
) -> Response<Body> {
    let Beginning { head, first, .. } = whole;
    let body = first.unwrap_or_default();
    exchange.early = None;
    exchange.interceptor.observe_body(&body);
    if exchange.interceptor.is_nonsense() {
        return refuse(exchange, Failure::new(Fault::Upstream, NONSENSE), recorded, &job.terms)
            .await;
    }
    if let Some(ticket) = &mut exchange.ticket {
        ticket.begun_well();
    }
    if let Some(settling) = exchange.end(Ended::Closed, None).settling {
        settling.await;
    }
    // Before the end in the spool, so this is known by now.
    if recorded.await.is_err() {
        return fail(exchange, &not_recorded(), &job.terms).await;
    }
    let mut headers = for_client(&head.headers);
    insert_id(&mut headers, &exchange);
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = headers;
    answer
}

async fn relay(
    job: Job<'_>,
    mut exchange: Exchange,
    begun: Beginning,
    asked: bool,
) -> Response<Body> {
    let Beginning { head, upstream, first, length, deadline } = begun;
    // From here on the relay understands them.
    exchange.early = None;
    let refusal = refusal(&head, &job.terms.provider);
    if !head.status.is_success() {
        let own_key = matches!(job.credential, Credential::Own(_));
        exchange.verdict = Some(Verdict::of_status(head.status, own_key));
    } else if let Some(ticket) = &mut exchange.ticket {
        ticket.begun_well();
    }
    let mut headers = for_client(&head.headers);
    insert_id(&mut headers, &exchange);
    let body = match first {
        Some(first) if is_stream(&head, asked) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
            Body::new(StreamBody::new(upstream, first, exchange, job.terms))
        }
        Some(first) => {
            let begun = Begun { first, length, deadline, refusal };
            Body::new(WholeBody::new(upstream, begun, exchange, job.terms))
        }
        // A server never asks for the body of an answer without content, so it is ended here.
        None => {
            if let Some(settling) = exchange.end(Ended::Closed, refusal).settling {
                settling.await;
            }
            Body::from(Bytes::new())
        }
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = head.status;
    *answer.headers_mut() = headers;
    answer
}

/// What an answer without success is recorded as.
fn refusal(head: &Parts, provider: &str) -> Option<(ErrorType, String)> {
    let status = head.status;
    let text = || format!("provider {provider} answered {}", status.as_u16());
    (!status.is_success()).then(|| (error_type_of(status), text()))
}

async fn fail(mut exchange: Exchange, failure: &Failure, terms: &Terms) -> Response<Body> {
    let ended = match failure.fault {
        Fault::UpstreamTimeout => Ended::TimedOut,
        Fault::Stopping => Ended::ShuttingDown,
        _ => Ended::UpstreamBroke,
    };
    let mut answer = failure.answer(Some(exchange.interceptor.dialect()), &*terms.limits.rng);
    insert_id(answer.headers_mut(), &exchange);
    exchange.verdict = Some(failure.verdict());
    let error = (failure.fault.error_type(), failure.message.clone());
    let ending = exchange.end(ended, Some(error));
    if let Some(settling) = ending.settling {
        settling.await;
    }
    answer
}

fn insert_id(headers: &mut HeaderMap, exchange: &Exchange) {
    if let Ok(value) = HeaderValue::from_str(&exchange.ledger.id().to_string()) {
        headers.insert(INTERCEPTION_ID, value);
    }
}
