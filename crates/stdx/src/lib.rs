//! What the standard library lacks, and nothing that belongs to one domain.
//!
//! Identifiers ([`ids`]), money ([`Micros`]), time ([`Clock`]), randomness ([`Rng`]), secrets in hand
//! ([`Secret`]), waiting between tries ([`Backoff`]), printing an error with its causes ([`chain`]) and
//! the one object that starts and ends everything a process runs ([`Lifecycle`]).
//!
//! Invariants: time and randomness are parameters everywhere else in the workspace; the only calls to
//! the system's clock and generator stand in `clock.rs` and `rng.rs`. Nothing here does IO.

mod backoff;
mod clock;
mod error;
pub mod ids;
mod lifecycle;
mod micros;
mod rng;
mod secret;
mod text;

pub use backoff::Backoff;
pub use clock::{Clock, ManualClock, SharedClock, SystemClock, to_micros};
pub use error::{Chain, chain};
pub use lifecycle::{Lifecycle, Stopping};
pub use micros::Micros;
pub use rng::{Rng, SeededRng, SharedRng, SystemRng};
pub use secret::Secret;
pub use text::{cut, mask};
