//! `coderd`: the control plane. Options come from the table in `config`; this binary wires the parts.

mod audit_log;
mod commands;
mod database;
mod dbcrypt;
mod effect;
mod listen;
mod progress;
mod server;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "coderd", version, about = "Control plane for AI coding tools")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the server, or one of its maintenance commands: `postgres-builtin-url`,
    /// `postgres-builtin-serve`, `dbcrypt`. `coderd server --help` lists all options.
    #[command(disable_help_flag = true)]
    Server {
        /// Flags of the server, or a maintenance command and its flags.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Checks and exports the audit log.
    Audit {
        #[command(subcommand)]
        command: audit_log::Command,
    },
    /// Prints the version.
    Version,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Server { args } => commands::server(&args),
        Command::Audit { command } => return commands::audit(&command),
        Command::Version => {
            println!("coderd {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coderd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
