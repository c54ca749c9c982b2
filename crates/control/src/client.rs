//! A daemon's side of the protocol.
//!
//! [`Coderd`] makes single calls. On top of it, [`Identities`] is the gateway's authenticator,
//! [`Heartbeats`] keep it true and tell whether coderd is there, [`follow_providers`] keeps the
//! gateway's providers, and [`ControlSink`] is where the ledger ships to.
//!
//! It refuses to decide what a daemon does about any of it: [`Link`] tells how things are, and that there is
//! no more use in trying ([`Ended`]).
//!
//! Invariants: every call has a deadline and every answer a size; a failed call is repeated after a pause
//! that grows from 50 ms to 10 s, is spread by chance and never shorter than `Retry-After` asks for; a
//! refused key ends everything, an unreachable coderd ends nothing; a token is kept only as its SHA-256.

mod call;
mod http;
mod identities;
mod link;
mod metrics;
mod pace;
mod providers;
mod revocations;
mod sink;
mod tls;

pub use call::{CallError, Ended};
pub use http::{Coderd, CoderdError, CoderdSettings};
pub use identities::{Identities, IdentitySettings};
pub use link::{Link, Standing};
pub use metrics::ClientMetrics;
pub use providers::follow_providers;
pub use revocations::{Heartbeats, Replica};
pub use sink::ControlSink;
