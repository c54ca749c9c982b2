//! The load: so many requests a second, whether earlier ones were answered or not.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::ask::{Ask, Said};
use super::http::{End, Reply, Send, send};
use crate::child::Interrupt;

/// More requests at once than a gateway that answers would ever let wait.
const OPEN_MAX: usize = 3_000;
const STACK_BYTES: usize = 256 << 10;

/// Whom to ask what.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    pub(super) seed: u64,
    /// Requests a second.
    pub(super) rate: u32,
    pub(super) length: Duration,
    pub(super) to: SocketAddr,
    /// The path of the gateway.
    pub(super) prefix: &'static str,
    pub(super) tokens: Vec<String>,
    /// A word in every prompt that is found nowhere else.
    pub(super) marker: String,
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) ask: Ask,
    /// Since the load began.
    pub(super) at: Duration,
    pub(super) took: Duration,
    pub(super) outcome: Outcome,
    /// 0 without a head.
    pub(super) status: u16,
    /// The record's id, as the answer's head says.
    pub(super) interception: Option<String>,
    pub(super) said: Said,
    /// The body of a refusal.
    pub(super) refusal: String,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// A whole answer: this is what must not be lost.
    Answered,
    /// An answer that says in the API's words that it failed.
    Failed,
    /// Another status than 200.
    Refused,
    /// An answer began, and its connection broke.
    Broken,
    /// The client went away, as planned.
    Left,
    /// The connection broke before an answer began.
    NoAnswer,
    /// There was nobody to connect to.
    NoConnection,
    /// An answer that ended well as HTTP sees it and lacks its end as the API sees it.
    Truncated,
    /// Nothing came for so long that the gateway must be said to hang.
    Silent,
    /// Too many were open.
    NotSent,
}

/// Starts the load; the thread returns what became of each request, in order.
pub(super) fn start(aim: Aim, interrupt: Interrupt) -> Result<JoinHandle<Result<Vec<Exchange>>>> {
    let work = thread::Builder::new().name("load".to_owned());
    work.spawn(move || run(&Arc::new(aim), &interrupt)).context("cannot start the load")
}

fn run(aim: &Arc<Aim>, interrupt: &Interrupt) -> Result<Vec<Exchange>> {
    let began = Instant::now();
    let total = u64::from(aim.rate) * aim.length.as_secs();
    let open = Arc::new(AtomicUsize::new(0));
    let (told, receive) = mpsc::channel();
    for number in 1..=total {
        let due = Duration::from_secs(number - 1) / aim.rate;
        thread::sleep((began + due).saturating_duration_since(Instant::now()));
        if interrupt.came() {
            break;
        }
        let ask = Ask::make(aim.seed, number, aim.tokens.len(), &aim.marker);
        if open.load(Ordering::SeqCst) >= OPEN_MAX {
            let skipped = settle(ask, due, Duration::ZERO, &Reply::default());
            told.send(Exchange { outcome: Outcome::NotSent, ..skipped })?;
            continue;
        }
        open.fetch_add(1, Ordering::SeqCst);
        let (aim, open, told) = (Arc::clone(aim), Arc::clone(&open), told.clone());
        thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let at = Instant::now();
                let reply = exchange(&aim, &ask);
                let settled = settle(ask, at - began, at.elapsed(), &reply);
                open.fetch_sub(1, Ordering::SeqCst);
                // Nobody listens any more if the run was given up.
                let _ = told.send(settled);
            })
            .context("cannot start a client")?;
    }
    drop(told);
    let mut all: Vec<Exchange> = receive.into_iter().collect();
    all.sort_by_key(|exchange| exchange.ask.number);
    Ok(all)
}

fn exchange(aim: &Aim, ask: &Ask) -> Reply {
    aim.send("POST", ask.path(), ask.token, &ask.user_agent(), &ask.body(), ask.leave_after)
}

impl Aim {
    /// Whether the gateway knows a provider: asked in a way that is not recorded.
    pub(super) fn lists_models(&self, provider: &str) -> Result<(), String> {
        let reply = self.send("GET", &format!("/{provider}/v1/models"), 0, "chaos", "", None);
        let said = || format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body));
        if reply.status == 200 { Ok(()) } else { Err(said()) }
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        token: usize,
        agent: &str,
        body: &str,
        leave_after: Option<usize>,
    ) -> Reply {
        let token = self.tokens.get(token).map(String::as_str).unwrap_or_default();
        let bearer = format!("Bearer {token}");
        let headers: &[(&str, &str)] = if path.starts_with("/anthropic") {
            &[("User-Agent", agent), ("x-api-key", token), ("anthropic-version", "2023-06-01")]
        } else {
            &[("User-Agent", agent), ("Authorization", &bearer)]
        };
        let path = &format!("{}{path}", self.prefix);
        send(self.to, &Send { method, path, headers, body, leave_after })
    }
}

/// Says what became of a request.
fn settle(ask: Ask, at: Duration, took: Duration, reply: &Reply) -> Exchange {
    let said = if reply.status == 200 { ask.read(&reply.body) } else { Said::default() };
    let outcome = match (reply.status, reply.end) {
        (0, End::Refused) => Outcome::NoConnection,
        (0, End::Silent) => Outcome::Silent,
        (0, _) => Outcome::NoAnswer,
        (200, _) if said.failed => Outcome::Failed,
        (200, _) if said.ended && (ask.stream || reply.end == End::Whole) => Outcome::Answered,
        (200, End::Whole) => Outcome::Truncated,
        (200, End::Left) => Outcome::Left,
        (200, End::Silent) => Outcome::Silent,
        (200, _) => Outcome::Broken,
        _ => Outcome::Refused,
    };
    let refusal = match outcome {
        Outcome::Refused => String::from_utf8_lossy(&reply.body).into_owned(),
        _ => String::new(),
    };
    let interception = reply.header("x-coder-interception-id").map(str::to_owned);
    Exchange { ask, at, took, outcome, status: reply.status, interception, said, refusal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_whole_is_answered() {
        let done: &[u8] = b"data: {\"choices\":[]}\n\ndata: [DONE]\n\n";
        let torn: &[u8] = b"data: {\"choices\":[]}\n\n";
        let error: &[u8] = b"data: {\"error\":{}}\n\n";
        let cases = [
            (true, 0, End::Refused, torn, Outcome::NoConnection),
            (true, 0, End::Broken, torn, Outcome::NoAnswer),
            (true, 0, End::Silent, torn, Outcome::Silent),
            (true, 503, End::Whole, torn, Outcome::Refused),
            (true, 503, End::Broken, torn, Outcome::Refused),
            (true, 200, End::Whole, done, Outcome::Answered),
            (true, 200, End::Broken, done, Outcome::Answered),
            (true, 200, End::Left, done, Outcome::Answered),
            (true, 200, End::Whole, torn, Outcome::Truncated),
            (true, 200, End::Broken, torn, Outcome::Broken),
            (true, 200, End::Left, torn, Outcome::Left),
            (true, 200, End::Silent, torn, Outcome::Silent),
            (true, 200, End::Whole, error, Outcome::Failed),
            (true, 200, End::Broken, error, Outcome::Failed),
            (false, 200, End::Whole, b"{\"choices\":[]}", Outcome::Answered),
            (false, 200, End::Broken, b"{\"choices\":[]}", Outcome::Broken),
            (false, 200, End::Whole, b"{\"choi", Outcome::Truncated),
        ];
        for (stream, status, end, body, wanted) in cases {
            let ask = Ask { stream, api: super::super::ask::Api::Chat, ..Ask::make(1, 1, 1, "m") };
            let reply = Reply { status, headers: Vec::new(), body: body.to_vec(), end };
            let settled = settle(ask, Duration::ZERO, Duration::ZERO, &reply);
            assert_eq!(settled.outcome, wanted, "{status} {end:?} {stream}");
        }
    }
}
