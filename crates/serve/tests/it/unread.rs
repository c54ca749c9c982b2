//! Clients that ask and do not read, or hold a connection and do not ask.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use serve::{Client, Limits};
use stdx::Lifecycle;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::world::{hello, listener, within};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
/// The beginning of HTTP/2 with settings that change nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A GET of `/` on stream 1: method, scheme and path by their numbers in the static table.
const H2_GET: &[u8] = b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84";

/// An answer without end; tells when it is dropped.
struct Endless(Arc<Semaphore>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}

/// A server of endless answers, and how many have been dropped.
async fn endless(limits: Limits, lifecycle: &Lifecycle) -> (SocketAddr, Arc<Semaphore>) {
    let listener = listener(limits).await;
    let (address, dropped) = (listener.address(), Arc::new(Semaphore::new(0)));
    let tell = Arc::clone(&dropped);
    let make = move |_: Client| {
        let tell = Arc::clone(&tell);
        service_fn(move |_: Request<Incoming>| {
            let answer = Response::new(Endless(Arc::clone(&tell)));
            async move { Ok::<_, Infallible>(answer) }
        })
    };
    serve::start("test", listener, make, lifecycle);
    (address, dropped)
}

/// Sends, and reads the beginning of what comes back.
async fn ask(address: SocketAddr, sent: &[u8]) -> TcpStream {
    let mut stream = within(TcpStream::connect(address)).await.unwrap();
    stream.write_all(sent).await.unwrap();
    within(stream.read_u8()).await.unwrap();
    stream
}

#[tokio::test]
async fn who_does_not_read_loses_the_connection_and_its_place() {
    let lifecycle = Lifecycle::new();
    let limits =
        Limits { connections_max: 1, stalled: Duration::from_millis(200), ..Limits::default() };
    let (address, dropped) = endless(limits, &lifecycle).await;
    let _silent = ask(address, GET).await;
    // The place is free again.
    let mut reader = ask(address, GET).await;
    within(dropped.acquire()).await.unwrap().forget();
    // Who reads, be it for far longer than that, keeps both.
    let mut buffer = vec![0; 1024 * 1024];
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_millis(600) {
        assert!(within(reader.read(&mut buffer)).await.unwrap() > 0);
    }
    assert_eq!(dropped.available_permits(), 0);
}

/// Settings without window for any answer, and their acknowledgement.
const NO_WINDOW: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";

/// Reads the server's settings, whose first byte was read by [`ask`].
async fn settings(stream: &mut TcpStream) {
    let mut rest = [0; 8];
    stream.read_exact(&mut rest).await.unwrap();
    stream.read_exact(&mut vec![0; usize::from(rest[1])]).await.unwrap();
}

/// Reads frames from `stream` and answers pings until an answer is reset. Which one.
async fn reset(stream: &mut TcpStream) -> u32 {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        match (head[3], head[4]) {
            (3, _) => return u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            (6, 0) => {
                let pong = [&[0, 0, 8, 6, 1, 0, 0, 0, 0], &payload[..]].concat();
                stream.write_all(&pong).await.unwrap();
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_answer_that_gets_no_window_is_reset_and_the_connection_goes_on() {
    let lifecycle = Lifecycle::new();
    let limits = Limits { stalled: Duration::from_millis(200), ..Limits::default() };
    let (address, dropped) = endless(limits, &lifecycle).await;
    // None from the beginning, and none after what every stream has.
    for preface in [NO_WINDOW, PREFACE] {
        let mut stream = ask(address, &[preface, H2_GET].concat()).await;
        within(settings(&mut stream)).await;
        assert_eq!(within(reset(&mut stream)).await, 1);
        within(dropped.acquire()).await.unwrap().forget();
        // Another request on the same connection is still served.
        let mut again = H2_GET.to_vec();
        again[8] = 3;
        stream.write_all(&again).await.unwrap();
        assert_eq!(within(reset(&mut stream)).await, 3);
        within(dropped.acquire()).await.unwrap().forget();
    }
}

#[tokio::test]
async fn an_answer_that_gets_window_and_one_that_is_slow_itself_are_kept() {
    let lifecycle = Lifecycle::new();
    let limits = Limits { stalled: Duration::from_millis(150), ..Limits::default() };
    let (address, dropped) = endless(limits, &lifecycle).await;
    let mut stream = ask(address, &[PREFACE, H2_GET].concat()).await;
    let began = tokio::time::Instant::now();
    // Room for the connection and for stream 1, as it is read.
    let mut buffer = vec![0; 64 * 1024];
    while began.elapsed() < Duration::from_millis(600) {
        let got = u32::try_from(within(stream.read(&mut buffer)).await.unwrap()).unwrap();
        assert!(got > 0);
        for id in [0_u32, 1] {
            let update = [&[0, 0, 4, 8, 0][..], &id.to_be_bytes(), &got.to_be_bytes()].concat();
            stream.write_all(&update).await.unwrap();
        }
    }
    assert_eq!(dropped.available_permits(), 0);

    // Nothing comes, so nothing can be taken.
    let listener = listener(limits).await;
    let address = listener.address();
    let make = |_: Client| {
        service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new(Silent)) })
    };
    serve::start("silent", listener, make, &lifecycle);
    let mut stream = ask(address, &[PREFACE, H2_GET].concat()).await;
    within(settings(&mut stream)).await;
    let early = tokio::time::timeout(Duration::from_millis(600), reset(&mut stream));
    assert!(early.await.is_err(), "it was reset");
}

/// An answer that does not come.
struct Silent;

impl Body for Silent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test]
async fn what_nobody_reads_is_dropped_before_the_process_closes() {
    let h2 = [PREFACE, H2_GET].concat();
    for (what, sent) in [("HTTP/1.1", GET), ("HTTP/2", &h2)] {
        let lifecycle = Lifecycle::new();
        let limits = Limits { drain: Duration::from_millis(100), ..Limits::default() };
        let (address, dropped) = endless(limits, &lifecycle).await;
        let closed = Arc::new(Semaphore::new(0));
        let (seen, at_close) = (Arc::clone(&dropped), Arc::clone(&closed));
        lifecycle.on_stop("spool", Duration::from_secs(1), move || async move {
            at_close.add_permits(seen.available_permits());
        });
        let mut silent = ask(address, sent).await;
        if what == "HTTP/2" {
            // Nine bytes of a frame and more: until the answer itself has begun.
            within(silent.read_exact(&mut [0; 1024])).await.unwrap();
        }
        within(lifecycle.stop(Duration::from_secs(15))).await;
        assert_eq!(closed.available_permits(), 1, "{what}");
    }
}

#[tokio::test]
async fn an_http2_connection_without_requests_is_closed() {
    let lifecycle = Lifecycle::new();
    let limits = Limits { head: Duration::from_millis(100), ..Limits::default() };
    let address = hello(limits, &lifecycle).await;
    for sent in [PREFACE.to_vec(), [PREFACE, H2_GET].concat()] {
        let mut stream = ask(address, &sent).await;
        let mut all = Vec::new();
        // A reset ends the reading as well.
        let _ = within(stream.read_to_end(&mut all)).await;
    }
    // One that waits for an answer is kept.
    let limits = Limits { head: Duration::from_millis(50), ..Limits::default() };
    let (address, dropped) = endless(limits, &lifecycle).await;
    let mut open = ask(address, &[PREFACE, H2_GET].concat()).await;
    let early = tokio::time::timeout(Duration::from_millis(300), async {
        while open.read_u8().await.is_ok() {}
    });
    assert!(early.await.is_err(), "it was closed");
    assert_eq!(dropped.available_permits(), 0);
}
