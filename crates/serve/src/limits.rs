use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;

/// Silent HTTP/2 connections are probed this often.
const PROBE: Duration = Duration::from_secs(30);

/// Bounds of what clients can open, send and wait for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that are open at once. Further ones wait in the operating system's queue.
    pub connections_max: usize,
    /// Time for a TLS handshake.
    pub handshake: Duration,
    /// Time until the head of a request has arrived, counted from the end of the answer before it: also how
    /// long an idle HTTP/1.1 connection is kept.
    pub head: Duration,
    /// Bytes of the head of a request.
    pub head_bytes_max: usize,
    /// Lines of the head of a request.
    pub headers_max: usize,
    /// Requests that one HTTP/2 connection carries at once.
    pub streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            handshake: Duration::from_secs(10),
            // Longer than what common clients keep idle connections for, so that they close first: a server
            // that closes while a request is on its way breaks that request.
            head: Duration::from_mins(2),
            head_bytes_max: 64 * 1024,
            headers_max: 128,
            streams_max: 1_024,
        }
    }
}

impl Limits {
    pub(crate) fn builder(&self) -> Builder<TokioExecutor> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head)
            .max_headers(self.headers_max)
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
