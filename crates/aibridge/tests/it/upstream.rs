//! A provider that does what a test tells it to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use stdx::Lifecycle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::world::within;

/// One thing that a provider does while it answers.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sends bytes.
    Send(Bytes),
    /// Sends these bytes again and again for ever.
    Repeat(Bytes),
    /// Waits for a permit.
    Wait(Arc<Semaphore>),
    /// Breaks the connection.
    Break,
    /// Never does anything again.
    Hang,
}

/// What a provider answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Before the head is sent.
    pub(crate) before: Vec<Step>,
    pub(crate) body: Vec<Step>,
    /// Declare the length of the body, which must then be one chunk.
    pub(crate) sized: bool,
}

impl Reply {
    pub(crate) fn json(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            before: Vec::new(),
            body: vec![Step::Send(Bytes::copy_from_slice(body.as_bytes()))],
            sized: true,
        }
    }

    pub(crate) fn stream(body: Vec<Step>) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "text/event-stream; charset=utf-8".to_owned())],
            before: Vec::new(),
            body,
            sized: false,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// Text as a step.
pub(crate) fn send(text: &str) -> Step {
    Step::Send(Bytes::copy_from_slice(text.as_bytes()))
}

/// A request as the provider saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The gateway's end of the connection.
    pub(crate) peer: SocketAddr,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Script = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

struct Inner {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    /// One permit per request whose body was read.
    arrived: Semaphore,
    /// One permit per answer that was cancelled.
    cancelled: Semaphore,
    /// One permit per answer that was handed out to its end.
    finished: Semaphore,
    sent: AtomicUsize,
}

/// A running provider.
#[derive(Clone)]
pub(crate) struct Upstream {
    inner: Arc<Inner>,
    pub(crate) address: SocketAddr,
}

impl Upstream {
    /// Answers every request by what `script` makes of its number (from 0) and content.
    pub(crate) async fn start(
        lifecycle: &Lifecycle,
        script: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            script: Box::new(script),
            seen: Mutex::default(),
            arrived: Semaphore::new(0),
            cancelled: Semaphore::new(0),
            finished: Semaphore::new(0),
            sent: AtomicUsize::new(0),
        });
        let (shared, tasks) = (Arc::clone(&inner), lifecycle.clone());
        lifecycle.spawn("provider", async move {
            while let Ok((socket, peer)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                let shared = Arc::clone(&shared);
                tasks.spawn("provider-connection", async move {
                    let service =
                        service_fn(move |request| answer(Arc::clone(&shared), peer, request));
                    let http = hyper::server::conn::http1::Builder::new();
                    // Broken connections are part of the play.
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { inner, address }
    }

    /// Always answers the same.
    pub(crate) async fn always(lifecycle: &Lifecycle, reply: Reply) -> Self {
        Self::start(lifecycle, move |_, _| reply.clone()).await
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }

    /// The only request so far.
    pub(crate) fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen[0].clone()
    }

    pub(crate) fn sent(&self) -> usize {
        self.inner.sent.load(Ordering::SeqCst)
    }

    pub(crate) async fn arrived(&self) {
        within(self.inner.arrived.acquire()).await.unwrap().forget();
    }

    pub(crate) async fn cancelled(&self) {
        within(self.inner.cancelled.acquire()).await.unwrap().forget();
    }

    pub(crate) async fn finished(&self) {
        within(self.inner.finished.acquire()).await.unwrap().forget();
    }
}

/// Tells when an answer is dropped before its end.
struct Guard {
    inner: Arc<Inner>,
    done: bool,
}

impl Guard {
    const fn finish(&mut self) {
        self.done = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let fate = if self.done { &self.inner.finished } else { &self.inner.cancelled };
        fate.add_permits(1);
    }
}

#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken on purpose")
    }
}

impl std::error::Error for Broken {}

type Answer = Response<UnsyncBoxBody<Bytes, Broken>>;

async fn answer(
    inner: Arc<Inner>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Answer, Broken> {
    let mut guard = Guard { inner: Arc::clone(&inner), done: false };
    let (head, body) = request.into_parts();
    let seen = Seen {
        peer,
        target: head.uri.to_string(),
        headers: head.headers,
        body: body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default(),
    };
    let number = {
        let mut all = inner.seen.lock().unwrap();
        all.push(seen.clone());
        all.len() - 1
    };
    let reply = (inner.script)(number, &seen);
    inner.arrived.add_permits(1);
    for step in reply.before {
        match step {
            Step::Wait(gate) => gate.acquire().await.unwrap().forget(),
            Step::Hang => std::future::pending().await,
            Step::Break => return Err(Broken),
            Step::Send(_) | Step::Repeat(_) => panic!("{step:?} before the head"),
        }
    }
    let mut response = Response::builder().status(StatusCode::from_u16(reply.status).unwrap());
    for (name, value) in reply.headers {
        response = response.header(name, value);
    }
    let body = if reply.sized {
        let [Step::Send(bytes)] = &reply.body[..] else {
            panic!("a sized body is one chunk");
        };
        inner.sent.fetch_add(bytes.len(), Ordering::SeqCst);
        guard.finish();
        UnsyncBoxBody::new(Full::new(bytes.clone()).map_err(|never| match never {}))
    } else {
        UnsyncBoxBody::new(StreamBody::new(play(inner, reply.body.into(), guard)))
    };
    Ok(response.body(body).unwrap())
}

fn play(
    inner: Arc<Inner>,
    steps: VecDeque<Step>,
    guard: Guard,
) -> impl stream::Stream<Item = Result<Frame<Bytes>, Broken>> {
    stream::unfold((inner, steps, guard), |(inner, mut steps, mut guard)| async move {
        loop {
            match steps.pop_front() {
                None => {
                    guard.finish();
                    return None;
                }
                Some(Step::Send(bytes)) => {
                    inner.sent.fetch_add(bytes.len(), Ordering::SeqCst);
                    return Some((Ok(Frame::data(bytes)), (inner, steps, guard)));
                }
                Some(Step::Repeat(bytes)) => {
                    steps.push_front(Step::Repeat(bytes.clone()));
                    steps.push_front(Step::Send(bytes));
                }
                Some(Step::Wait(gate)) => gate.acquire().await.unwrap().forget(),
                Some(Step::Break) => {
                    guard.finish();
                    // What was sent before leaves the server while the body has nothing more.
                    tokio::task::yield_now().await;
                    return Some((Err(Broken), (inner, steps, guard)));
                }
                Some(Step::Hang) => std::future::pending::<()>().await,
            }
        }
    })
}
