//! The gateway over real sockets: a scripted provider on one side, a client on the other, the ports kept
//! in memory.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this is a test, also the functions that are not marked as one"
)]

mod apis;
mod breaker;
mod broken;
mod events;
mod failing;
mod faults;
mod happy;
mod large;
mod leaving;
mod limits;
mod logs;
mod passing;
mod pauses;
mod pool;
mod ports;
mod records;
mod refusals;
mod refused;
mod timing;
mod upstream;
mod world;
