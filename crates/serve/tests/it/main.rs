//! Real sockets, real threads, real certificates.
#![cfg(test)]

mod drain;
mod limits;
mod spread;
mod tls;
mod unread;
mod world;
