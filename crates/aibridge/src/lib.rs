//! The AI gateway: takes requests meant for AI providers, relays them with the deployment's own keys and
//! records who asked what at what price.
//!
//! It refuses to know where identities, providers and records live: whoever runs it hands in an
//! [`ports::Authenticator`] and a [`ports::Recorder`] and installs provider rows. There is no database,
//! no web framework and no route above `/{provider}/...` in here.
//!
//! Two halves. The pure one understands bytes: [`sse`] splits streams, each module of [`wire`] is a state
//! machine for one API, [`client`] tells programs apart. The other half owns sockets, time and order:
//! [`Gateway`] admits a request and its driver runs it. They meet at [`wire::Interceptor`].
//!
//! Invariants:
//!
//! - Relay first: bytes of a stream leave before they are understood, and nothing is re-encoded.
//! - The start fact is appended before anything goes upstream and durable before a byte of the answer is
//!   released; every start is followed by exactly one end fact, also when the client leaves or code
//!   panics; the end of an answer is released when its records are durable.
//! - No credential of this deployment, no cookie and no address of a client reaches a provider on an
//!   intercepted route; no key reaches a log, an error or a client.
//! - A stream that was cut short never looks complete.
//! - Dropping an answer cancels the request upstream. Nothing is buffered beyond what one chunk needs,
//!   except a bounded copy of a blocking answer.
//! - Providers are an immutable snapshot, replaced as a whole; a bad row disables only itself.
//!
//! Start reading at `gateway.rs` (the order of checks), then `driver.rs` (one exchange), then `wire.rs`
//! (what an API has to answer).

mod breaker;
pub mod client;
pub mod dialect;
pub mod driver;
pub mod facts;
pub mod gateway;
pub mod headers;
pub mod json;
pub mod keys;
mod limits;
mod metrics;
mod notes;
mod passthrough;
pub mod ports;
pub mod prompt;
pub mod provider;
mod settings;
pub mod sse;
pub mod token;
mod upstream;
pub mod wire;

pub use breaker::BreakerSettings;
pub use driver::Timeouts;
pub use gateway::{Body, BodyError, Gateway, Peer, REQUEST_BODY_MAX};
pub use limits::LimitSettings;
pub use provider::{ProviderKind, ProviderSpec, ProviderState, ProviderStatus};
pub use settings::GatewaySettings;
