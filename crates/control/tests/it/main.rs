//! The client against a peer that speaks the protocol's wire types, over real sockets.
#![cfg(test)]

mod calls;
mod identities;
mod peer;
mod sink;
