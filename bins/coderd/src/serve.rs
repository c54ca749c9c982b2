//! Accepts connections and answers them, until the process stops.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use config::HostPort;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use stdx::{Backoff, Lifecycle};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

/// A client that does not finish its headers is no client.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);

/// Binds an address. Names are resolved; an empty host means all interfaces.
pub(crate) async fn bind(address: &HostPort, option: &str) -> Result<TcpListener> {
    let host = if address.host.is_empty() { "0.0.0.0" } else { &address.host };
    TcpListener::bind((host, address.port)).await.with_context(|| {
        format!("cannot listen on {host}:{} ({option}): choose another address", address.port)
    })
}

/// Serves `router` on `listener` in the background. Open requests are finished before the task ends.
pub(crate) fn start(
    name: &'static str,
    listener: TcpListener,
    router: Router,
    lifecycle: &Lifecycle,
) {
    let tasks = lifecycle.clone();
    lifecycle.spawn(name, async move {
        let stopping = tasks.stopping();
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopping.wait() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    backoff.reset();
                    let (router, tasks) = (router.clone(), tasks.clone());
                    tasks.clone().spawn("connection", connection(stream, peer, router, tasks));
                }
                Err(error) => {
                    // Out of descriptors, say: accepting again at once would only spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    });
}

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, lifecycle: Lifecycle) {
    // Without it, the first token of a stream waits for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = router.clone();
        async move {
            let response = router.oneshot(request).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|never| match never {}))
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_DEADLINE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(30)));
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let stopping = lifecycle.stopping();
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = stopping.wait() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
