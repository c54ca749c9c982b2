//! Fuzz targets: one function per reader of bytes that strangers send.
//!
//! Each takes any bytes and checks what must hold for all of them, by comparing with a slow and plain way of
//! doing the same, or with the same done in another order. A check that fails panics; that is the finding.
//! The functions know nothing of a fuzzer: `src/bin` hands them to libFuzzer (`cargo xtask fuzz`), and a test
//! replays the inputs under `seeds`, past findings among them, on every run of the test suite.
//!
//! Inputs can be written by hand: they begin with a line of knobs, see [`input`](self), and what is read
//! follows as it is. `docs/fuzzing.md` tells how to run targets, what they check and how to add one.

mod access;
mod headers;
mod input;
mod json;
mod prompt;
mod splitter;
mod spool;
mod wire;

pub use access::{allowlist, rolename, scopes};
pub use headers::headers;
pub use json::json;
pub use prompt::prompt;
pub use splitter::splitter;
pub use spool::{segments, spool};
pub use wire::{chat, messages, responses};

/// A target: its name, which is also the name of its folder of seeds, and what runs one input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("splitter", splitter),
    ("messages", messages),
    ("chat", chat),
    ("responses", responses),
    ("json", json),
    ("prompt", prompt),
    ("headers", headers),
    ("spool", spool),
    ("segments", segments),
    ("scopes", scopes),
    ("allowlist", allowlist),
    ("rolename", rolename),
];
