use std::time::Duration;

use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;

use crate::streams::Executor;

/// Silent HTTP/2 connections are probed this often.
const PROBE: Duration = Duration::from_secs(30);

/// Bounds of what clients can open, send and wait for. The head of an HTTP/1.1 request has at most 100 lines:
/// hyper keeps that many on the stack, and any other number on the heap.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that are open at once. Further ones wait in the operating system's queue.
    pub connections_max: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time until the head of a request has arrived, counted from the end of the answer before it: also how
    /// long an idle HTTP/1.1 connection is kept. An HTTP/2 connection without requests is kept for once to
    /// twice as long.
    pub head: Duration,
    /// Bytes of the head of a request.
    pub head_bytes_max: usize,
    /// Requests that one HTTP/2 connection carries at once.
    pub streams_max: u32,
    /// Time in which a client must take some of what is sent to it. One that takes nothing ends its
    /// connection, whatever is on it. A client of HTTP/2 that gives an answer no window must take the next
    /// piece of it, as the service makes them, in that time, or this answer is reset and the others go on. What
    /// the service has handed over whole costs no more than its bytes; it goes with the connection.
    pub stalled: Duration,
    /// Time that answers get once the process begins to stop. Then connections are cut off, and with them
    /// what their requests hold.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            handshake: Duration::from_secs(10),
            // Longer than what common clients keep idle connections for, so that they close first: a server
            // that closes while a request is on its way breaks that request.
            head: Duration::from_mins(2),
            head_bytes_max: 32 * 1024,
            streams_max: 1_024,
            // A phone that changes its network is silent for a minute; nobody who wants an answer is for two.
            stalled: Duration::from_mins(2),
            // Less than the daemons wait for their tasks, so that what is dropped can still be recorded;
            // more than the gateway gives its streams, which end with an error that clients understand.
            drain: Duration::from_secs(20),
        }
    }
}

impl Limits {
    pub(crate) fn builder(&self, executor: Executor) -> Builder<Executor> {
        let mut builder = Builder::new(executor);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head)
            .max_buf_size(self.head_bytes_max);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PROBE)
            .max_concurrent_streams(self.streams_max)
            .max_header_list_size(u32::try_from(self.head_bytes_max).unwrap_or(u32::MAX));
        builder
    }
}
