//! Accepts connections and serves HTTP/1.1 and HTTP/2 on them, with or without TLS.
//!
//! Two flavours, one code: [`start`] serves on the runtime it is called on; [`start_threads`] on several
//! single-threaded ones, a connection staying on the thread it was given to, so that nothing on the way of
//! a request is shared between cores. There, one acceptor gives each connection to the thread that has the
//! fewest: clients of an AI gateway keep few connections for long, and `SO_REUSEPORT`, which deals them by
//! the hash of their addresses, would leave half of the cores idle by chance.
//!
//! It refuses to know what is served: a service is a function from request to response, made anew for each
//! connection by a [`Make`].
//!
//! Invariants: nothing is boxed or allocated per HTTP/1.1 request here, and no timer is started for a
//! write that does not wait; every wait has a deadline and everything a client can open has a bound
//! ([`Limits`]), a client that does not read what it asked for included, be it the connection or one stream of
//! HTTP/2 that it leaves without window ([`Limits::stalled`] says what is cut when); a connection that is open when the process begins to stop finishes what it is answering and then closes, or
//! is cut off in time for what it leaves behind to be recorded.

mod accept;
mod connection;
mod descriptors;
mod limits;
mod listener;
mod make;
mod opening;
mod plane;
mod rarely;
mod streams;
mod taken;
mod tls;
mod unread;

pub use accept::start;
pub use descriptors::raise_descriptor_limit;
pub use limits::Limits;
pub use listener::{BindError, Listener};
pub use make::{Client, Make};
pub use plane::start_threads;
pub use tls::{ClientAuth, Tls, TlsError, TlsMinVersion, TlsSettings};
