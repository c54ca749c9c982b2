use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::limits::Limits;
use crate::tls::Tls;

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {host}:{port} ({option}): choose another address")]
pub struct BindError {
    host: String,
    port: u16,
    /// Name of the option that holds the address.
    option: &'static str,
    #[source]
    source: io::Error,
}

/// A bound address from which nothing is accepted yet.
#[derive(Debug)]
pub struct Listener {
    pub(crate) tcp: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Tls>,
    pub(crate) limits: Limits,
}

impl Listener {
    /// Binds an address. Names are resolved; an empty host means all interfaces. `option` is told when that
    /// fails.
    ///
    /// # Errors
    /// The address is taken, not ours, or not to be had.
    pub async fn bind(host: &str, port: u16, option: &'static str) -> Result<Self, BindError> {
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        let failed = |source| BindError { host: host.to_owned(), port, option, source };
        let tcp = TcpListener::bind((host, port)).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, address, tls: None, limits: Limits::default() })
    }

    /// Speaks TLS, and nothing else, on this address.
    #[must_use]
    pub fn with_tls(self, tls: Tls) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Replaces the default bounds.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The address that was bound; its port is the real one.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}
