//! A server and a client of it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serve::{Client, Limits, Listener, Make};
use stdx::Lifecycle;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;

/// Waits, but not for ever: a test that hangs should say where.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(20), work).await;
    result.unwrap_or_else(|_| panic!("waited too long"))
}

pub(crate) async fn listener(limits: Limits) -> Listener {
    Listener::bind("127.0.0.1", 0, "TEST").await.unwrap().with_limits(limits)
}

/// Answers every request with `text`.
pub(crate) fn says(text: String) -> impl Make + Send + Sync + 'static {
    move |_: Client| {
        let text = text.clone();
        service_fn(move |_: Request<Incoming>| {
            let answer = Response::new(Full::new(Bytes::from(text.clone())));
            async move { Ok::<_, Infallible>(answer) }
        })
    }
}

/// A server on this runtime that says `hello`.
pub(crate) async fn hello(limits: Limits, lifecycle: &Lifecycle) -> SocketAddr {
    let listener = listener(limits).await;
    let address = listener.address();
    serve::start("test", listener, says("hello".to_owned()), lifecycle);
    address
}

/// One kept HTTP/1.1 connection.
pub(crate) struct Kept(SendRequest<Full<Bytes>>);

impl Kept {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = within(TcpStream::connect(address)).await.unwrap();
        Self::over(stream).await
    }

    pub(crate) async fn over<S>(stream: S) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (send, connection) = within(http1::handshake(TokioIo::new(stream))).await.unwrap();
        Lifecycle::new().spawn("client", async move {
            // Servers that close are part of the play.
            let _ = connection.await;
        });
        Self(send)
    }

    /// The body of the answer to a GET; nothing if the connection is over.
    pub(crate) async fn get(&mut self, path: &str) -> Option<String> {
        let answer = self.begin(path).await?;
        let body = within(answer.into_body().collect()).await.ok()?;
        Some(String::from_utf8(body.to_bytes().to_vec()).unwrap())
    }

    pub(crate) async fn begin(&mut self, path: &str) -> Option<Response<Incoming>> {
        within(self.0.ready()).await.ok()?;
        let request = Request::get(path).header("host", "test").body(Full::default()).unwrap();
        within(self.0.send_request(request)).await.ok()
    }

    /// Waits until the server has closed.
    pub(crate) async fn closed(&mut self) {
        within(async {
            while self.0.ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Everything that the server sends until it closes.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset ends the reading as well.
    let _ = within(stream.read_to_end(&mut all)).await;
    String::from_utf8(all).unwrap()
}
