//! What the programs of the gateway bench share. (`bench-store` stands for itself: it measures the store on a PostgreSQL
//! server of its own.)
//!
//! Each program is one part of a measurement and a process of its own, so that its CPU time and its memory
//! can be told apart: `bench-upstream` answers at once, `bench-load` asks and measures, `bench-proxy` is a
//! reverse proxy that does nothing else, `bench-relay` is our gateway without governance, `bench-governed` with
//! it, short of a database. `cargo xtask bench gateway` starts them and compares.
//!
//! Upstream and load are written to the sockets ([`http1`], [`sse`]) because what they cost is taken from the
//! same cores. They are no general HTTP implementation: one request at a time per connection, on loopback.

pub mod bare;
pub mod http1;
pub mod plane;
pub mod processes;
pub mod ready;
pub mod sse;
pub mod stamp;

// The allocator of the daemons, for all: otherwise it would be compared, too.
use process as _;
