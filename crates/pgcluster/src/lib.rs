//! Runs a private PostgreSQL server under supervision.
//!
//! For a machine without a database of its own: [`Cluster::start`] finds an installed server (or
//! downloads one), makes a data directory with a database `coder` and a password, starts the server on
//! 127.0.0.1, and starts it again whenever it dies. The address, port and password included, stays the
//! same for the life of the data directory.
//!
//! This crate knows nothing of what is stored: no SQL but the creation of the database, no client
//! library, no migrations. It prints nothing; a [`Progress`] is told what goes on. It reads no option and
//! no environment variable but `PATH`.
//!
//! Invariants:
//! - One owner per data directory, by a file lock that the kernel frees when the owner dies.
//! - The data directory `pg` appears by a rename, complete or not at all, so that a first start may be
//!   interrupted at any moment.
//! - The server never runs as root, never listens beyond 127.0.0.1 and knows no login without password.
//! - A server left behind by a killed owner is stopped in an orderly way before a new one is started.
//! - Children get an empty environment: nothing secret of ours can be read from theirs.
//! - No password is ever part of an argument, a log line, an error or a `Debug` text.
//!
//! Start reading in `cluster.rs`; then `layout.rs` (what lies where), `launch.rs` (one run of the server)
//! and `supervisor.rs` (all runs).

mod account;
mod child;
mod cluster;
mod connection;
mod discover;
mod download;
mod error;
mod initdb;
mod launch;
mod layout;
mod orphan;
mod pidfile;
mod probe;
mod server_log;
mod settings;
mod supervisor;

pub use cluster::Cluster;
pub use connection::Connection;
pub use error::Error;
pub use settings::{Phase, Progress, Search, Settings, default_data_dir, is_root};
pub use supervisor::Status;
