use std::convert::Infallible;
use std::net::SocketAddr;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
}

/// Makes the service of one connection. Implemented for functions from [`Client`] to a
/// [`hyper::service::Service`], such as closures that return a [`service_fn`](hyper::service::service_fn).
pub trait Make {
    /// What an answer is made of.
    type Body: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;
    /// Answers the requests of one connection.
    type Service: Service<
            Request<Incoming>,
            Response = Response<Self::Body>,
            Error = Infallible,
            Future: Send,
        > + Send
        + 'static;

    /// Called once per connection, before its first request.
    fn make(&self, client: Client) -> Self::Service;
}

impl<F, S, B> Make for F
where
    F: Fn(Client) -> S,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Send
        + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Body = B;
    type Service = S;

    fn make(&self, client: Client) -> S {
        self(client)
    }
}
