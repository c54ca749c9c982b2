//! The commands below `coderd server`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};
use config::{Daemon, Environment, Loaded, Options};
use tokio::runtime::Runtime;

use crate::{audit_log, database, dbcrypt, effect, server};

/// What `coderd server --help` begins with.
const USAGE: &str = "\
Usage: coderd server [OPTIONS]
       coderd server postgres-builtin-url [--raw-url] [OPTIONS]
       coderd server postgres-builtin-serve [--raw-url] [OPTIONS]
       coderd server dbcrypt rotate|decrypt|delete [OPTIONS]

The first runs the server. The second prints how to connect to its own PostgreSQL server, the third runs
that one alone. The fourth changes the keys by which secrets are encrypted in the database.
";

/// `coderd server …`
pub(crate) fn server(args: &[OsString]) -> Result<()> {
    if let Some((first, rest)) = args.split_first()
        && first == "dbcrypt"
    {
        return dbcrypt_of(rest);
    }
    let (command, rest) = match args.split_first() {
        Some((first, rest)) if first == "postgres-builtin-url" => (Some("url"), rest),
        Some((first, rest)) if first == "postgres-builtin-serve" => (Some("serve"), rest),
        _ => (None, args),
    };
    // The one flag of the maintenance commands that the server does not have.
    let raw = command.is_some() && rest.iter().any(|arg| arg == "--raw-url");
    let flags: Vec<OsString> =
        rest.iter().filter(|arg| command.is_none() || *arg != "--raw-url").cloned().collect();

    let environment = Environment::of_process();
    let loaded = process::read(Daemon::Coderd, USAGE, &flags, &environment, &effect::effective())
        .map_err(|report| anyhow!("{report}"))?;
    let Some(loaded) = loaded else {
        return Ok(());
    };
    let runtime = Runtime::new().context("start the async runtime")?;
    runtime.block_on(run(command, raw, &loaded, &environment))
}

/// `coderd audit …`
pub(crate) fn audit(command: &audit_log::Command) -> ExitCode {
    let environment = Environment::of_process();
    let options = async || own_options(&environment);
    let outcome = Runtime::new()
        .context("start the async runtime")
        .and_then(|runtime| runtime.block_on(audit_log::run(command, options, &environment)));
    outcome.unwrap_or_else(|error| {
        eprintln!("coderd: {error:#}");
        ExitCode::from(audit_log::UNDECIDED)
    })
}

/// The options as the environment has them.
fn own_options(environment: &Environment) -> Result<Options> {
    let loaded = process::read(Daemon::Coderd, USAGE, &[], environment, &effect::effective())
        .map_err(|report| anyhow!("{report}"))?;
    Ok(loaded.context("no options")?.options)
}

/// `coderd server dbcrypt …`
fn dbcrypt_of(args: &[OsString]) -> Result<()> {
    let environment = Environment::of_process();
    let options = async || own_options(&environment);
    let runtime = Runtime::new().context("start the async runtime")?;
    runtime.block_on(dbcrypt::run(args, options, &environment))
}

async fn run(
    command: Option<&str>,
    raw: bool,
    loaded: &Loaded,
    environment: &Environment,
) -> Result<()> {
    match command {
        Some("url") => database::print_url(&loaded.options, environment, raw).await,
        Some(_) => database::serve(&loaded.options, environment, raw).await,
        None => server::run(&loaded.options, environment).await,
    }
}
