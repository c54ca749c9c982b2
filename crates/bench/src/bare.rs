//! A server of hyper and nothing else, with the thread model of our data plane: one single-threaded runtime
//! per thread.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime::Builder;

/// Binds a listener that every thread can accept from.
///
/// # Errors
/// The address is taken or not on loopback.
pub fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(crate::ready::loopback(address)?)
        .with_context(|| format!("cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Runs `threads` threads. Each makes what it needs with `make`, which is called within its runtime, and
/// answers requests with it. Returns only when a thread fails.
///
/// # Errors
/// A thread could not be started, or accepting failed.
pub fn run<M, H, F, B>(listener: &TcpListener, threads: usize, make: M) -> Result<()>
where
    M: Fn() -> H + Sync,
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    thread::scope(|scope| {
        let mut running = Vec::new();
        for _ in 0..threads {
            let listener = listener.try_clone()?;
            let make = &make;
            running.push(scope.spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async { accept(listener, make()).await })
            }));
        }
        for thread in running {
            thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(())
    })
}

async fn accept<H, F, B>(listener: TcpListener, handle: H) -> Result<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (socket, _) = listener.accept().await.context("cannot accept a connection")?;
        socket.set_nodelay(true)?;
        let handle = handle.clone();
        let service = service_fn(move |request| {
            let answer = handle(request);
            async move { Ok::<_, std::convert::Infallible>(answer.await) }
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        spawn(async move {
            // A client that leaves ends its connection; the load generator counts what it misses.
            let _ = serving.await;
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "a baseline holds nothing but the work itself")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}
