//! Asks an AI gateway as many clients would and measures every answer; prints one JSON object.
//!
//! One thread over epoll. Each connection sends its next request when the answer to the last one is whole
//! (or, with `--rate`, when its turn comes). What is not answered as it should be is an error, and one
//! error makes the program fail after it has printed what it saw.

mod client;
mod request;
mod run;
mod tally;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use bench::processes;
use clap::{Parser, ValueEnum};

/// Which API is asked.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Api {
    /// Anthropic Messages.
    Messages,
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
}

/// Asks and measures.
#[derive(Debug, Parser)]
#[command(name = "bench-load")]
pub(crate) struct Args {
    /// Where to connect.
    #[arg(long)]
    pub(crate) target: SocketAddr,
    /// The path of the requests.
    #[arg(long, default_value = "/v1/messages")]
    pub(crate) path: String,
    /// A header of every request, as `name: value`; may be repeated.
    #[arg(long = "header")]
    pub(crate) headers: Vec<String>,
    /// Which API's body is sent.
    #[arg(long, value_enum, default_value_t = Api::Messages)]
    pub(crate) api: Api,
    /// The model that is asked for.
    #[arg(long, default_value = "claude-bench-1")]
    pub(crate) model: String,
    /// Size of a request's body.
    #[arg(long, default_value_t = 256)]
    pub(crate) body_bytes: usize,
    /// How long every answer must be, in bytes; not for streams.
    #[arg(long, conflicts_with = "frames")]
    pub(crate) answer_bytes: Option<u64>,
    /// Ask for streams, and expect so many stamped frames in each.
    #[arg(long)]
    pub(crate) frames: Option<u64>,
    /// The upstream's pause between frames: a gap longer than this by half a second is a stall.
    #[arg(long, default_value_t = 0)]
    pub(crate) frame_every_us: u64,
    /// How many connections ask at once.
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: usize,
    /// Most connections opened per millisecond.
    #[arg(long, default_value_t = 4)]
    pub(crate) ramp: usize,
    /// How long is measured, in seconds.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) seconds: f64,
    /// How long is asked without measuring, before, in seconds.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) warmup: f64,
    /// Send so many requests on each connection, however long it takes, and measure all.
    #[arg(long, conflicts_with_all = ["seconds", "warmup", "rate"])]
    pub(crate) each: Option<u64>,
    /// Requests per second of all connections together; as fast as they are answered by default.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// How long an answer may take, in seconds.
    #[arg(long, default_value_t = 30.0)]
    pub(crate) patience: f64,
    /// A process whose CPU time is measured over the same span; may be repeated.
    #[arg(long = "watch")]
    pub(crate) watched: Vec<u32>,
}

impl Args {
    fn check(&self) -> Result<()> {
        for (name, value) in [
            ("--seconds", self.seconds),
            ("--warmup", self.warmup),
            ("--patience", self.patience),
            ("--rate", self.rate.unwrap_or(1.0)),
        ] {
            ensure!((0.0..1e6).contains(&value), "{name}: {value} is out of range");
        }
        ensure!(self.rate != Some(0.0), "--rate: nothing would be sent");
        ensure!(self.connections > 0 && self.ramp > 0, "nothing would be sent");
        Ok(())
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.patience)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = args
        .check()
        .and_then(|()| Ok(processes::raise_open_files()?))
        .and_then(|()| run::run(&args));
    match outcome {
        Ok(report) => {
            let text = serde_json::to_string(&report).unwrap_or_default();
            // Without a reader there is nobody to tell.
            let _ = writeln!(std::io::stdout(), "{text}");
            if report.errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("bench-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
