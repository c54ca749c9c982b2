use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::sockopt::set_ipv6_v6only;
use tokio::net::{TcpListener, TcpSocket};

use crate::limits::Limits;
use crate::tls::Tls;

/// Connections that the operating system keeps until they are accepted.
const BACKLOG: u32 = 1_024;

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
    /// Binds an address. Names are resolved; an empty host means all interfaces, of IPv6 and IPv4
    /// alike. `option` is told when that fails.
    ///
    /// # Errors
    /// The address is taken, not ours, or not to be had.
    pub async fn bind(host: &str, port: u16, option: &'static str) -> Result<Self, BindError> {
        let failed = |source| BindError { host: host.to_owned(), port, option, source };
        let tcp = if host.is_empty() {
            everywhere(port).await.map_err(failed)?
        } else {
            TcpListener::bind((host, port)).await.map_err(failed)?
        };
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

/// One socket for both versions; where there is no IPv6, one for IPv4.
async fn everywhere(port: u16) -> io::Result<TcpListener> {
    match both(port) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
}

fn both(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v6()?;
    // What is the default differs between machines.
    set_ipv6_v6only(&socket, false)?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv6Addr::UNSPECIFIED, port).into())?;
    socket.listen(BACKLOG)
}
