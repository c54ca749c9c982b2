//! Routes, credentials and headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use stdx::{Lifecycle, SharedClock};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::faults::{self, Fault, Faults, Instead, Spoil};
use super::identity::Ids;
use super::ledger::{Ending, Ledger, Served, ToolCall, Usage};
use super::refusal::{Refusal, Vendor};
use super::script::{Ask, Plan};
use super::stream::Frames;
use super::{Options, chat, messages, responses};

/// More than any provider takes.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Connections beyond this number wait to be accepted.
const CONNECTIONS_MAX: usize = 4_096;
/// What `GET /v1/models` lists. Any other model is answered as well.
const MODELS_ANTHROPIC: [&str; 3] = ["claude-opus-5", "claude-sonnet-5", "claude-haiku-4-5"];
const MODELS_OPENAI: [&str; 3] = ["gpt-5.1", "gpt-5.1-codex", "gpt-5-mini"];

type Body = Either<Full<Bytes>, Frames>;

/// An answer in an API's words, ready to be sent.
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) usage: Usage,
    pub(super) calls: Vec<ToolCall>,
    pub(super) text: String,
    pub(super) thinking: String,
    pub(super) stream: bool,
    /// One frame if the answer is not a stream.
    pub(super) frames: Vec<Bytes>,
}

/// What all connections share.
pub(super) struct Server {
    keys: Vec<String>,
    delay: Duration,
    ids: Ids,
    clock: SharedClock,
    ledger: Ledger,
    faults: Faults,
}

/// An answer that is not given: the connection breaks.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

impl Server {
    /// Accepts connections until the process begins to stop.
    pub(super) fn spawn(
        listener: TcpListener,
        options: Options,
        ledger: Ledger,
        lifecycle: &Lifecycle,
    ) {
        let server = Arc::new(Self {
            keys: options.keys,
            delay: options.frame_delay,
            ids: Ids(options.rng),
            clock: options.clock,
            ledger,
            faults: Faults::new(options.fault),
        });
        let (stopping, tasks) = (lifecycle.stopping(), lifecycle.clone());
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        lifecycle.spawn("provider-accept", async move {
            loop {
                let slot = tokio::select! {
                    () = stopping.wait() => return,
                    slot = Arc::clone(&slots).acquire_owned() => slot,
                };
                let socket = tokio::select! {
                    () = stopping.wait() => return,
                    accepted = listener.accept() => accepted,
                };
                // Accepting fails when the peer is gone already or no descriptor is free: the next may
                // fare better, after the others had their turn.
                let Ok((socket, _)) = socket else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let (server, stopping) = (Arc::clone(&server), tasks.stopping());
                tasks.spawn("provider-connection", async move {
                    let _slot = slot;
                    tokio::select! {
                        () = stopping.wait() => {}
                        () = server.connection(socket) => {}
                    }
                });
            }
        });
    }

    async fn connection(self: Arc<Self>, socket: TcpStream) {
        // Without it small frames wait for the peer's delayed acknowledgement.
        let _ = socket.set_nodelay(true);
        let broken = Arc::new(AtomicBool::new(false));
        let (server, breaks) = (self, Arc::clone(&broken));
        let service = hyper::service::service_fn(move |request| {
            let (server, breaks) = (Arc::clone(&server), Arc::clone(&breaks));
            async move {
                let answer = server.answer(request).await;
                breaks.store(answer.is_err(), Ordering::Relaxed);
                answer
            }
        });
        let http = hyper::server::conn::http1::Builder::new();
        let mut connection = http.serve_connection(TokioIo::new(socket), service);
        // An error here is the peer's going away, which the ledger knows already, or meant.
        let _ = (&mut connection).await;
        if broken.load(Ordering::Relaxed) {
            // Closed so, the peer sees a reset.
            let _ = connection.into_parts().io.into_inner().set_zero_linger();
        }
    }

    /// What is not a provider's route.
    fn aside(&self, head: &Parts) -> Option<Response<Body>> {
        Some(match (&head.method, head.uri.path()) {
            (&Method::GET, "/__served") => {
                let after = match head.uri.query() {
                    None => Some(0),
                    Some(query) => query.strip_prefix("after=").and_then(|seq| seq.parse().ok()),
                };
                match after {
                    Some(after) => json_response(StatusCode::OK, &json!(self.ledger.after(after))),
                    None => empty(StatusCode::BAD_REQUEST),
                }
            }
            (&Method::DELETE, "/__served") => {
                self.ledger.clear();
                empty(StatusCode::NO_CONTENT)
            }
            // Clients look with it whether the base URL answers at all.
            (&Method::HEAD, _) => empty(StatusCode::OK),
            _ => return None,
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
        let (head, body) = request.into_parts();
        if let Some(answer) = self.aside(&head) {
            return Ok(answer);
        }
        let path = head.uri.path().to_owned();
        let vendor = match path.as_str() {
            "/v1/messages" | "/v1/messages/count_tokens" => Vendor::Anthropic,
            _ if head.headers.contains_key("anthropic-version") => Vendor::Anthropic,
            _ => Vendor::OpenAi,
        };
        let raw = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let (raw, unread) = match raw {
            Ok(raw) => (raw.to_bytes(), None),
            Err(_) => (Bytes::new(), Some(Refusal::too_large())),
        };
        let json: Option<Value> = serde_json::from_slice(&raw).ok();
        let mut row = Served {
            method: head.method.to_string(),
            path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            headers: pairs(&head.headers),
            model: model(json.as_ref()),
            body: json.clone().unwrap_or_else(|| match raw.len() {
                0 => Value::Null,
                _ => Value::String(String::from_utf8_lossy(&raw).into_owned()),
            }),
            ..Served::default()
        };
        let asked = Asked {
            vendor,
            method: &head.method,
            path: &path,
            headers: &head.headers,
            body: json.as_ref(),
            raw: &raw,
        };
        let (fault, outcome) = match unread {
            Some(refusal) => (None, Err(refusal)),
            None => self.outcome(&asked, &row.model),
        };
        row.fault = fault.as_ref().map(|fault| format!("{fault:?}"));
        let mut response = match outcome {
            Ok(Done::Break) => {
                let seq = self.ledger.open(raw.len(), row);
                self.ledger.settle(seq, 0, Ending::Cut);
                return Err(Broken);
            }
            Ok(Done::Silence) => {
                let seq = self.ledger.open(raw.len(), row);
                // Tells the ledger when the peer gives up.
                let _waiting = Frames::silent(seq, self.ledger.clone());
                return std::future::pending().await;
            }
            outcome => self.record(vendor, raw.len(), row, outcome, Spoil::of(fault.as_ref())),
        };
        self.stamp(vendor, response.headers_mut());
        Ok(response)
    }

    /// What becomes of a request, and the fault that was asked for.
    fn outcome(&self, asked: &Asked<'_>, model: &str) -> (Option<Fault>, Result<Done, Refusal>) {
        let header = asked.headers.get(faults::HEADER).and_then(|value| value.to_str().ok());
        let fault = match self.faults.pick(header, model) {
            Ok(fault) => fault,
            Err(error) => return (None, Err(Refusal::bad(error.to_string()))),
        };
        let outcome = self.route(asked, fault.as_ref());
        (fault, outcome)
    }

    fn route(&self, asked: &Asked<'_>, fault: Option<&Fault>) -> Result<Done, Refusal> {
        let Asked { vendor, method, path, headers, body, raw } = *asked;
        let bytes = raw.len();
        let key = self.check_key(vendor, headers)?;
        self.faults.note_key(key);
        match fault.and_then(|fault| self.faults.instead(fault, vendor, key, raw)) {
            Some(Instead::Refuse(refusal)) => return Err(refusal),
            Some(Instead::Reset) => return Ok(Done::Break),
            Some(Instead::Silence) => return Ok(Done::Silence),
            None => {}
        }
        let too_long = fault == Some(&Fault::ContextTooLong);
        let refused = fault == Some(&Fault::ContentRefused);
        let plan = |ask: &Ask| Plan { refused, ..ask.plan() };
        if vendor == Vendor::Anthropic && !headers.contains_key("anthropic-version") {
            return Err(Refusal::bad("anthropic-version: header is required"));
        }
        let body = || {
            body.filter(|body| body.is_object())
                .ok_or_else(|| Refusal::bad("We could not parse the JSON body of your request."))
        };
        let created = self.clock.now().unix_timestamp();
        match (method, path) {
            (&Method::POST, "/v1/messages") => {
                let body = body()?;
                let ask = messages::read(body, bytes)?;
                messages::check_budget(body)?;
                if too_long {
                    return Err(Refusal::context_too_long());
                }
                Ok(Done::Answer(messages::write(&ask, body, plan(&ask), &self.ids)))
            }
            (&Method::POST, "/v1/messages/count_tokens") => {
                let ask = messages::read(body()?, bytes)?;
                Ok(Done::Fact(json!({"input_tokens": ask.plan().usage.input})))
            }
            (&Method::POST, "/v1/chat/completions") => {
                let body = body()?;
                let ask = chat::read(body, bytes)?;
                if too_long {
                    return Err(Refusal::context_too_long());
                }
                let with_usage =
                    body.pointer("/stream_options/include_usage") == Some(&json!(true));
                Ok(Done::Answer(chat::write(&ask, plan(&ask), &self.ids, created, with_usage)))
            }
            (&Method::POST, "/v1/responses") => {
                let body = body()?;
                let ask = responses::read(body, bytes)?;
                let refusal = Refusal::context_too_long();
                Ok(Done::Answer(match (too_long, ask.stream) {
                    (true, false) => return Err(refusal),
                    // The real one answers a stream with a stream.
                    (true, true) => responses::failed(&ask, body, &refusal, &self.ids, created),
                    (false, _) => responses::write(&ask, body, plan(&ask), &self.ids, created),
                }))
            }
            (&Method::GET, "/v1/models") => Ok(Done::Fact(models(vendor))),
            _ => Err(Refusal::not_found(format!("Unknown request URL: {method} {path}"))),
        }
    }

    /// The key that the request carries, if it is accepted.
    fn check_key<'a>(&self, vendor: Vendor, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
        let bearer = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let own = headers.get("x-api-key").and_then(|value| value.to_str().ok());
        let key = match vendor {
            Vendor::Anthropic => own.or(bearer),
            Vendor::OpenAi => bearer,
        };
        let key = key.map(str::trim).unwrap_or_default();
        if key.is_empty() || !(self.keys.is_empty() || self.keys.iter().any(|have| have == key)) {
            return Err(Refusal::bad_key(vendor));
        }
        Ok(key)
    }

    fn record(
        &self,
        vendor: Vendor,
        bytes: usize,
        mut row: Served,
        outcome: Result<Done, Refusal>,
        spoil: Spoil,
    ) -> Response<Body> {
        match outcome {
            Ok(Done::Answer(answer)) => {
                row.status = StatusCode::OK.as_u16();
                row.response_id = answer.id;
                row.usage = answer.usage;
                row.tool_calls = answer.calls;
                row.text = answer.text;
                row.thinking = answer.thinking;
                row.stream = answer.stream;
                let seq = self.ledger.open(bytes, row);
                let delay = if answer.stream { self.delay } else { Duration::ZERO };
                let (frames, stream) = (answer.frames, answer.stream);
                let frames = Frames::new(frames, stream, delay, spoil, seq, self.ledger.clone());
                let mut response = Response::new(Either::Right(frames));
                let kind = if answer.stream {
                    response
                        .headers_mut()
                        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                    "text/event-stream; charset=utf-8"
                } else {
                    "application/json"
                };
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                response
            }
            other => {
                let (status, retry_after, body) = match other {
                    Err(refusal) => (refusal.status, refusal.retry_after, refusal.body(vendor)),
                    Ok(Done::Fact(body)) => (StatusCode::OK, None, body),
                    Ok(_) => (StatusCode::OK, None, Value::Null),
                };
                row.status = status.as_u16();
                let seq = self.ledger.open(bytes, row);
                self.ledger.settle(seq, 1, Ending::Complete);
                let mut response = json_response(status, &body);
                if let Some(seconds) = retry_after {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
                }
                response
            }
        }
    }

    /// The headers that each vendor puts on every answer.
    fn stamp(&self, vendor: Vendor, headers: &mut HeaderMap) {
        let id = HeaderValue::try_from(self.ids.request());
        let id = id.unwrap_or_else(|_| HeaderValue::from_static("req_0"));
        match vendor {
            Vendor::Anthropic => {
                headers.insert("request-id", id);
                let left = HeaderValue::from_static("49");
                headers.insert("anthropic-ratelimit-requests-remaining", left);
            }
            Vendor::OpenAi => {
                headers.insert("x-request-id", id);
                headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
                headers.insert("openai-processing-ms", HeaderValue::from_static("7"));
                headers.insert("x-ratelimit-remaining-requests", HeaderValue::from_static("9999"));
            }
        }
    }
}

/// What a route came to.
enum Done {
    /// A model's answer.
    Answer(Answer),
    /// Anything else.
    Fact(Value),
    /// No answer, and no connection.
    Break,
    /// No answer.
    Silence,
}

/// A request as far as its answer depends on it.
struct Asked<'a> {
    vendor: Vendor,
    method: &'a Method,
    path: &'a str,
    headers: &'a HeaderMap,
    body: Option<&'a Value>,
    raw: &'a [u8],
}

fn model(body: Option<&Value>) -> String {
    body.and_then(|body| body["model"].as_str()).unwrap_or_default().to_owned()
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        })
        .collect()
}

fn models(vendor: Vendor) -> Value {
    match vendor {
        Vendor::Anthropic => json!({
            "data": MODELS_ANTHROPIC.map(|id| json!({
                "type": "model", "id": id, "display_name": id, "created_at": "2025-10-01T00:00:00Z",
            })),
            "has_more": false,
            "first_id": MODELS_ANTHROPIC.first(),
            "last_id": MODELS_ANTHROPIC.last(),
        }),
        Vendor::OpenAi => json!({
            "object": "list",
            "data": MODELS_OPENAI.map(|id| json!({
                "id": id, "object": "model", "created": 1_762_300_800, "owned_by": "system",
            })),
        }),
    }
}

fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(body.to_string())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}
