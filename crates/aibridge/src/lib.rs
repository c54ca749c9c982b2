//! The AI gateway: takes requests meant for AI providers, relays them with the deployment's own keys and
//! records who asked what at what price.

pub mod client;
pub mod dialect;
pub mod facts;
pub mod json;
pub mod ports;
pub mod prompt;
pub mod sse;
pub mod wire;
