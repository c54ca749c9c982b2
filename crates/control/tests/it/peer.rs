//! The other end: answers as it is told to.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use control::client::{Coderd, CoderdSettings};
use control::wire::{
    Heartbeat, Identity, Mark, RefusedReason, ResolveRequest, Resolved, Revocations, Revoked,
};
use control::{PREFIX, VERSION, VERSION_HEADER};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde::Serialize;
use serve::{Client, Listener};
use stdx::ids::UserId;
use stdx::{Lifecycle, Stopping};
use time::OffsetDateTime;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

pub(crate) const KEY: &str = "cgw_testkeyofthetestpeer0000000000000000000";
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Waits, but not for ever: a test that hangs should say where.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(20), work).await;
    result.unwrap_or_else(|_| panic!("waited too long"))
}

/// Waits until something holds.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(wait).await;
}

/// What the peer does with every request, whatever it is.
#[derive(Clone, Debug, Default)]
pub(crate) enum Mood {
    /// Answers it.
    #[default]
    Fine,
    /// Answers this instead.
    Says(u16, Vec<(&'static str, &'static str)>, &'static str),
    /// Never answers.
    Silent,
}

#[derive(Default)]
struct State {
    mood: Mood,
    /// What it thinks of tokens, by the token.
    tokens: HashMap<String, Resolved>,
    revoked: Vec<Revoked>,
    epoch: u128,
    /// Counts anew for each heartbeat.
    forgetful: bool,
}

/// A peer that can go away and come back at the same address.
pub(crate) struct Peer {
    state: Mutex<State>,
    pub(crate) resolves: AtomicUsize,
    pub(crate) calls: Mutex<Vec<String>>,
    /// Resolves need a permit each, when there is a gate.
    gate: Mutex<Option<Arc<Semaphore>>>,
    pub(crate) waiting: AtomicUsize,
    end: watch::Sender<usize>,
    records: Mutex<Vec<Bytes>>,
    pub(crate) answers: Mutex<Vec<(u16, String)>>,
}

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    lifecycle: Lifecycle,
}

impl Peer {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { epoch: 1, ..State::default() }),
            resolves: AtomicUsize::new(0),
            calls: Mutex::default(),
            gate: Mutex::default(),
            waiting: AtomicUsize::new(0),
            end: watch::Sender::new(0),
            records: Mutex::default(),
            answers: Mutex::default(),
        })
    }

    pub(crate) async fn start(self: &Arc<Self>, port: u16) -> Running {
        self.start_with(port, None).await
    }

    pub(crate) async fn start_with(
        self: &Arc<Self>,
        port: u16,
        tls: Option<serve::Tls>,
    ) -> Running {
        let lifecycle = Lifecycle::new();
        let mut listener = Listener::bind("127.0.0.1", port, "TEST").await.unwrap();
        if let Some(tls) = tls {
            listener = listener.with_tls(tls);
        }
        let address = listener.address();
        let (peer, stopping) = (Arc::clone(self), lifecycle.stopping());
        let make = move |_: Client| {
            let (peer, stopping) = (Arc::clone(&peer), stopping.clone());
            service_fn(move |request: Request<Incoming>| {
                let (peer, stopping) = (Arc::clone(&peer), stopping.clone());
                async move { Ok::<_, Infallible>(peer.answer(request, &stopping).await) }
            })
        };
        serve::start("peer", listener, make, &lifecycle);
        Running { address, lifecycle }
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
        self.news();
    }

    pub(crate) fn knows(&self, token: &str, resolved: Resolved) {
        self.state.lock().unwrap().tokens.insert(token.to_owned(), resolved);
    }

    pub(crate) fn revoke(&self, revoked: Revoked) {
        self.state.lock().unwrap().revoked.push(revoked);
        self.news();
    }

    /// Counts anew, as another process would.
    pub(crate) fn reborn(&self) {
        let mut state = self.state.lock().unwrap();
        state.epoch += 1;
        state.revoked.clear();
    }

    /// Heartbeats go to another process each time.
    pub(crate) fn forget_all_the_time(&self) {
        self.state.lock().unwrap().forgetful = true;
        self.news();
    }

    pub(crate) fn heartbeats(&self) -> usize {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.contains("/heartbeat")).count()
    }

    pub(crate) fn gate(&self, gate: Option<Arc<Semaphore>>) {
        *self.gate.lock().unwrap() = gate;
    }

    pub(crate) fn asked(&self) -> usize {
        self.resolves.load(Ordering::SeqCst)
    }

    pub(crate) fn records(&self) -> Vec<Bytes> {
        self.records.lock().unwrap().clone()
    }

    fn news(&self) {
        self.end.send_modify(|end| *end += 1);
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        stopping: &Stopping,
    ) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let target = head.uri.path_and_query().unwrap().as_str().to_owned();
        self.calls.lock().unwrap().push(format!("{} {target} {:?}", head.method, head.version));
        let mood = self.state.lock().unwrap().mood.clone();
        match mood {
            Mood::Fine => {}
            Mood::Silent => stopping.wait().await,
            Mood::Says(status, headers, text) => return said(status, &headers, text),
        }
        let bearer = head.headers.get("authorization").map(|value| value.to_str().unwrap());
        if bearer != Some(&format!("Bearer {KEY}")) {
            return said(401, &[(VERSION_HEADER, VERSION)], r#"{"message":"Unknown key."}"#);
        }
        assert_eq!(head.headers[VERSION_HEADER], VERSION);
        let body = body.collect().await.unwrap().to_bytes();
        match target.strip_prefix(PREFIX).unwrap().trim_start_matches('/') {
            "resolve" => self.resolve(&body).await,
            "heartbeat" => self.heartbeat(&body, stopping).await,
            "records" => {
                self.records.lock().unwrap().push(body);
                let (status, text) = self.answers.lock().unwrap().remove(0);
                said(status, &[(VERSION_HEADER, VERSION), ("retry-after", "9")], &text)
            }
            _ => said(404, &[(VERSION_HEADER, VERSION)], "{}"),
        }
    }

    async fn resolve(&self, body: &[u8]) -> Response<Full<Bytes>> {
        self.resolves.fetch_add(1, Ordering::SeqCst);
        let asked: ResolveRequest = serde_json::from_slice(body).unwrap();
        let unknown = Resolved::Refused { reason: RefusedReason::Credential };
        let found = self.state.lock().unwrap().tokens.get(asked.token.expose()).cloned();
        // Answered by what was so before the wait, as a slow network would.
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
        }
        json(&found.unwrap_or(unknown))
    }

    async fn heartbeat(&self, body: &[u8], stopping: &Stopping) -> Response<Full<Bytes>> {
        let beat: Heartbeat = serde_json::from_slice(body).unwrap();
        let mut news = self.end.subscribe();
        let patience = Duration::from_secs(beat.wait_seconds.into()).min(WAIT_MAX);
        let mut patience = pin!(tokio::time::sleep(patience));
        loop {
            let mood = self.state.lock().unwrap().mood.clone();
            if let Mood::Says(status, headers, text) = mood {
                return said(status, &headers, text);
            }
            let answer = self.since(beat.after);
            if answer.all || !answer.revoked.is_empty() {
                return json(&answer);
            }
            let over = tokio::select! {
                _ = news.changed() => false,
                () = &mut patience => true,
                () = stopping.wait() => true,
            };
            if over {
                return json(&answer);
            }
        }
    }

    fn since(&self, mark: Option<Mark>) -> Revocations {
        let mut state = self.state.lock().unwrap();
        state.epoch += u128::from(state.forgetful);
        let epoch = Uuid::from_u128(state.epoch);
        let seen = mark.filter(|mark| mark.epoch == epoch).map(|mark| mark.seq);
        let end = state.revoked.len();
        let revoked = seen.map(|seen| state.revoked[usize::try_from(seen).unwrap()..].to_vec());
        Revocations {
            mark: Mark { epoch, seq: u64::try_from(end).unwrap() },
            all: revoked.is_none(),
            revoked: revoked.unwrap_or_default(),
        }
    }
}

impl Running {
    /// Ends, with all connections.
    pub(crate) async fn stop(&self) -> u16 {
        self.lifecycle.begin_stop();
        self.lifecycle.stop(Duration::from_secs(5)).await;
        self.address.port()
    }
}

fn json(body: &impl Serialize) -> Response<Full<Bytes>> {
    said(200, &[(VERSION_HEADER, VERSION)], &serde_json::to_string(body).unwrap())
}

fn said(
    status: u16,
    headers: &[(&'static str, &'static str)],
    text: &str,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

/// A client of the peer.
pub(crate) fn client(address: SocketAddr, key: &str) -> Coderd {
    client_of(&format!("http://{address}"), key, None)
}

pub(crate) fn client_of(url: &str, key: &str, ca_file: Option<PathBuf>) -> Coderd {
    let settings = CoderdSettings {
        url: url.parse().unwrap(),
        key: key.into(),
        ca_file,
        build: "aibridged/test",
    };
    Coderd::new(settings).unwrap()
}

/// An identity that is cached for 30 seconds, by a key named after its token.
pub(crate) fn identity(token: &str, expires_at: OffsetDateTime) -> Resolved {
    Resolved::Identity(Identity {
        user_id: UserId::new(Uuid::from_u128(7)),
        username: "ann".to_owned(),
        api_key_id: format!("id-of-{token}"),
        expires_at,
        cache_seconds: 30,
    })
}
