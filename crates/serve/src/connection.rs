use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use stdx::Stopping;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::Limits;
use crate::make::{Client, Make};
use crate::opening::Opening;
use crate::rarely::Rarely;
use crate::tls::Tls;

/// How the connections of one listener are served.
pub(crate) struct Wire {
    builder: Builder<TokioExecutor>,
    tls: Option<Tls>,
    limits: Limits,
}

impl Wire {
    pub(crate) fn new(tls: Option<Tls>, limits: Limits) -> Self {
        Self { builder: limits.builder(), tls, limits }
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
        let io = TokioIo::new(Opening::new(stream, self.limits.head));
        let mut serving = pin!(self.builder.serve_connection_with_upgrades(io, service));
        let stop = pin!(stopping.wait());
        let mut stop = Rarely::new(stop);
        let mut asked = false;
        let ended = poll_fn(|cx| {
            if !asked && let Poll::Ready(()) = stop.poll(cx) {
                asked = true;
                serving.as_mut().graceful_shutdown();
            }
            serving.as_mut().poll(cx)
        });
        if let Err(error) = ended.await {
            tracing::debug!(error, "connection ended");
        }
    }
}
