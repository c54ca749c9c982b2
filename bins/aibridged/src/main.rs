//! `aibridged`: the AI gateway as a daemon of its own. It has no database: whom to serve and which
//! providers, it learns from coderd, and what it records it keeps on disk until coderd has it.

mod commands;
mod edge;
mod effect;
mod readiness;
mod server;
mod verify;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Without a command, `aibridged` serves; `aibridged --help` lists its options.
#[derive(Debug, Parser)]
#[command(name = "aibridged", disable_help_flag = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Options of the daemon.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves. The same as no command.
    #[command(disable_help_flag = true)]
    Serve {
        /// Options of the daemon.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Looks at the records that are on disk.
    Ledger {
        #[command(subcommand)]
        command: Ledger,
    },
    /// Prints the version.
    Version,
}

#[derive(Debug, Subcommand)]
enum Ledger {
    /// Compares what was recorded with what coderd has stored; also while the daemon runs.
    #[command(disable_help_flag = true)]
    Verify {
        /// `--dir DIR` names the spool, if it is not the one of the options; all others are options of the
        /// daemon.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let Cli { command, args } = Cli::parse();
    let outcome = match command {
        None => commands::serve(&args),
        Some(Command::Serve { args }) => commands::serve(&args),
        Some(Command::Ledger { command: Ledger::Verify { args } }) => commands::verify(args),
        Some(Command::Version) => {
            println!("aibridged {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("aibridged: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_need_no_command() {
        for (line, serves, left) in [
            ("", true, 0),
            ("--url http://x --ai-gateway-threads=2", true, 3),
            ("--help", true, 1),
            ("serve --url http://x", false, 2),
            ("ledger verify --dir x --url y", false, 4),
        ] {
            let words = ["aibridged"].into_iter().chain(line.split_whitespace());
            let cli = Cli::try_parse_from(words).unwrap();
            assert_eq!(cli.command.is_none(), serves, "{line}");
            let args = match cli.command {
                None => cli.args,
                Some(
                    Command::Serve { args } | Command::Ledger { command: Ledger::Verify { args } },
                ) => args,
                Some(Command::Version) => Vec::new(),
            };
            assert_eq!(args.len(), left, "{line}");
        }
        assert!(Cli::try_parse_from(["aibridged", "ledger", "verfy"]).is_err());
    }
}
