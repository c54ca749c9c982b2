//! An AI provider that answers at once, or as it is told: after a delay, in streams, or when released.
//!
//! One thread over epoll. It understands no JSON: which API is asked is in the path, and how it answers is
//! set for all by `PUT /__mode`. `GET /__stats` tells how many requests were answered and how many wait.

mod answers;
mod connection;
mod mode;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use bench::{processes, ready};
use clap::Parser;

/// Answers for AI providers without a model.
#[derive(Debug, Parser)]
#[command(name = "bench-upstream")]
struct Args {
    /// Where to listen; loopback only.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A file to write the base URL to, once connections are accepted.
    #[arg(long)]
    ready_file: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    processes::raise_open_files()?;
    let mut server = server::Server::bind(ready::loopback(args.listen)?)?;
    ready::tell(&args.ready_file, server.address()?)?;
    server.run()
}
