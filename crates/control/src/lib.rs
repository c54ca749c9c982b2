//! The control protocol between gateway daemons and `coderd`, version 1: JSON over HTTP below
//! [`PREFIX`], authenticated by a gateway key (`Authorization: Bearer cgw_…`).

pub mod client;
pub mod wire;

/// Where `coderd` serves the protocol.
pub const PREFIX: &str = "/api/v2/ai-gateway/daemon/v1";

/// In every request and answer: the version that its sender speaks, [`VERSION`].
pub const VERSION_HEADER: &str = "x-coder-gateway-version";

/// `major.minor`. A peer of another major version is refused with 409; a minor one only adds.
pub const VERSION: &str = "1.0";
