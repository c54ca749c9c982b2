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
