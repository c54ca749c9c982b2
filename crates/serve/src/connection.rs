use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use stdx::{Lifecycle, Stopping};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::limits::Limits;
use crate::make::{Client, Make};
use crate::opening::Opening;
use crate::rarely::Rarely;
use crate::streams::{Executor, Idle, Streams};
use crate::taken::Noted;
use crate::tls::Tls;
use crate::unread::Unread;

/// What the end of a connection may take when there is no time.
const HURRY: Duration = Duration::from_secs(1);

/// How the connections of one listener are served.
pub(crate) struct Wire {
    tls: Option<Tls>,
    limits: Limits,
    lifecycle: Lifecycle,
}

impl Wire {
    pub(crate) const fn new(tls: Option<Tls>, limits: Limits, lifecycle: Lifecycle) -> Self {
        Self { tls, limits, lifecycle }
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve<M: Make>(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        make: &M,
        stopping: Stopping,
    ) {
        // Without it, the first token of a stream waits for the client's delayed acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        // A socket for both versions of IP shows addresses of the old one in the dress of the new.
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        // Below TLS, where it shows what is really taken.
        let stream = Unread::new(stream, self.limits.stalled);
        let Some(tls) = &self.tls else {
            let service = make.make(Client { address, tls: false });
            return self.drive::<M, _>(stream, service, stopping).await;
        };
        match timeout(self.limits.handshake, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let service = make.make(Client { address, tls: true });
                self.drive::<M, _>(stream, service, stopping).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn drive<M, S>(&self, stream: S, service: M::Service, stopping: Stopping)
    where
        M: Make,
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let streams = Arc::new(Streams::default());
        let builder =
            self.limits.builder(Executor::new(&streams, &self.lifecycle, self.limits.stalled));
        let mut idle = Idle::new(Arc::clone(&streams), self.limits.head);
        let io = TokioIo::new(Opening::new(stream, self.limits.head, streams));
        let mut serving = pin!(builder.serve_connection_with_upgrades(io, Noted(service)));
        let stop = pin!(stopping.wait());
        let mut stop = Rarely::new(stop);
        let over = pin!(self.time_is_over(&stopping));
        let mut over = Rarely::new(over);
        let mut asked = false;
        let ended = poll_fn(|cx| {
            if !asked && let Poll::Ready(()) = stop.poll(cx) {
                asked = true;
                serving.as_mut().graceful_shutdown();
            }
            if asked && over.poll(cx).is_ready() {
                return Poll::Ready(Err("the process stops".into()));
            }
            let served = serving.as_mut().poll(cx);
            if served.is_pending() && idle.poll(cx).is_ready() {
                return Poll::Ready(Err("no request for too long".into()));
            }
            served
        });
        if let Err(error) = ended.await {
            tracing::debug!(error, "connection ended");
        }
    }

    /// From the moment on that the process begins to stop.
    async fn time_is_over(&self, stopping: &Stopping) {
        tokio::select! {
            () = sleep(self.limits.drain) => {}
            () = async {
                stopping.hurried().await;
                sleep(HURRY).await;
            } => {}
        }
    }
}
