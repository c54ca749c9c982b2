//! Who is at the other end, behind proxies that we trust.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::Request;
use axum::extract::connect_info::ConnectInfo;
use axum::response::Response;
use http::header::HOST;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::step::{Inner, Next, Step};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Most entries of an `X-Forwarded-For` list that are looked at, from the right.
const HOPS_MAX: usize = 32;

/// Address of the client. A request extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr {
    /// The client as far as we can trust what was forwarded; `0.0.0.0` if the server does not tell.
    /// IPv4 addresses in IPv6 form are IPv4.
    pub ip: IpAddr,
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether the peer is a proxy that we trust.
    pub is_proxied: bool,
}

/// Host (with port, if it was given) under which the client sees us. A request extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveHost(pub Arc<str>);

/// Which peers may tell us who the client is, and in which headers.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    origins: Vec<IpNet>,
    headers: Vec<HeaderName>,
}

/// A setting of the trusted proxies is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustedProxiesError {
    /// Not an address range.
    #[error("trusted origin {0:?} is not an address range such as 10.0.0.0/8")]
    Origin(String),
    /// Not a header name.
    #[error("trusted header {0:?} is not a header name such as X-Forwarded-For")]
    Header(String),
}

impl TrustedProxies {
    /// Reads address ranges (a bare address is a range of one) and header names. Headers are looked at
    /// in this order.
    ///
    /// # Errors
    /// Names the entry that is wrong.
    pub fn parse<O: AsRef<str>, H: AsRef<str>>(
        origins: &[O],
        headers: &[H],
    ) -> Result<Self, TrustedProxiesError> {
        let origin = |text: &O| {
            let text = text.as_ref().trim();
            text.parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| TrustedProxiesError::Origin(text.to_owned()))
        };
        let header = |text: &H| {
            let text = text.as_ref().trim();
            HeaderName::try_from(text).map_err(|_| TrustedProxiesError::Header(text.to_owned()))
        };
        Ok(Self {
            origins: origins.iter().map(origin).collect::<Result<_, _>>()?,
            headers: headers.iter().map(header).collect::<Result<_, _>>()?,
        })
    }

    fn trusts(&self, ip: IpAddr) -> bool {
        self.origins.iter().any(|net| net.contains(&ip))
    }

    /// Finds the client's address and removes what an untrusted peer says about it.
    pub fn settle(&self, peer: IpAddr, headers: &mut HeaderMap) -> ClientAddr {
        let client = self.find(peer.to_canonical(), headers);
        if !client.is_proxied {
            for name in &self.headers {
                headers.remove(name);
            }
            for name in [X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO] {
                headers.remove(name);
            }
        }
        client
    }

    fn find(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddr {
        if !self.trusts(peer) {
            return ClientAddr { ip: peer, peer, is_proxied: false };
        }
        let told = self.headers.iter().find_map(|name| {
            if *name == X_FORWARDED_FOR {
                self.client_of_list(headers)
            } else {
                headers.get(name)?.to_str().ok().and_then(parse_ip)
            }
        });
        ClientAddr { ip: told.unwrap_or(peer), peer, is_proxied: true }
    }

    /// Each proxy appends the address it was called from, so only the right end is certain: the first
    /// untrusted address from there is the client. If all are trusted, the client is one of ours: the
    /// leftmost.
    fn client_of_list(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut last = None;
        let lines: Vec<&str> =
            headers.get_all(X_FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok()).collect();
        let entries = lines.iter().rev().flat_map(|line| line.rsplit(','));
        for ip in entries.take(HOPS_MAX).filter_map(parse_ip) {
            last = Some(ip);
            if !self.trusts(ip) {
                break;
            }
        }
        last
    }
}

/// An address with or without port and brackets.
fn parse_ip(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|addr| addr.ip()))
        .map(|ip: IpAddr| ip.to_canonical())
}

/// Finds the client's address and removes what an untrusted peer says about it.
#[derive(Clone, Debug)]
pub(crate) struct ClientAddrs(pub(crate) Arc<TrustedProxies>);

impl Step for ClientAddrs {
    async fn run<S: Inner>(self, mut request: Request, next: Next<S>) -> Response {
        let peer = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
        let client = self.0.settle(peer, request.headers_mut());
        if let Some(host) = host(&request) {
            request.extensions_mut().insert(EffectiveHost(host));
        }
        request.extensions_mut().insert(client);
        next.run(request).await
    }
}

/// The forwarded host if it is still there, else the one of the request (HTTP/2 has it in the target).
fn host(request: &Request) -> Option<Arc<str>> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    header(X_FORWARDED_HOST)
        .or_else(|| request.uri().authority().map(http::uri::Authority::as_str))
        .or_else(|| header(HOST))
        .map(|host| Arc::from(host.trim()))
}

#[cfg(test)]
mod tests;
