//! From the command line to what is run.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use config::{Daemon, Environment, Loaded};
use tokio::runtime::{Builder, Runtime};

use crate::{effect, server, verify};

/// What `aibridged --help` begins with.
const USAGE: &str = "\
Usage: aibridged [serve] [OPTIONS]
       aibridged ledger verify [--dir DIR] [OPTIONS]
       aibridged version

The first serves AI requests as coderd at --url says, with a key that an owner has made by
POST /api/v2/ai-gateway/keys. The second compares what was recorded on disk (in DIR, else in the spool
directory of the options) with what coderd has stored, also while the daemon runs: it fails if something
is missing or different.
";

/// `aibridged [serve]`
pub(crate) fn serve(args: &[OsString]) -> Result<ExitCode> {
    // It is not repeated: it may be a secret whose flag was forgotten.
    if args.first().is_some_and(|first| !first.to_string_lossy().starts_with('-')) {
        bail!("the first argument is neither a command nor a flag: `aibridged --help` lists both");
    }
    let Some(loaded) = read(args)? else {
        return Ok(ExitCode::SUCCESS);
    };
    control_runtime()?.block_on(server::run(&loaded.options))?;
    Ok(ExitCode::SUCCESS)
}

/// `aibridged ledger verify`
pub(crate) fn verify(args: Vec<OsString>) -> Result<ExitCode> {
    let Some(loaded) = read(&name_dir(args)?)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let sound = control_runtime()?.block_on(verify::run(&loaded.options))?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(args: &[OsString]) -> Result<Option<Loaded>> {
    let environment = Environment::of_process();
    process::read(Daemon::Aibridged, USAGE, args, &environment, &effect::effective())
        .map_err(|report| anyhow!("{report}"))
}

/// Everything but AI requests runs here; those have threads of their own.
fn control_runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .context("start the async runtime")
}

/// The one flag that the option table does not know, by the name that it has there: what is looked at here is
/// the spool, wherever it lies.
fn name_dir(args: Vec<OsString>) -> Result<Vec<OsString>> {
    let (mut dir, mut others) = (None, Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        let value = if text == "--dir" {
            Some(args.next().context("--dir needs a directory after it")?)
        } else {
            text.strip_prefix("--dir=").map(OsString::from)
        };
        match value {
            Some(_) if dir.is_some() => bail!("--dir is given twice"),
            Some(value) => dir = Some(value),
            None => others.push(arg),
        }
    }
    if let Some(dir) = dir {
        others.extend([OsString::from("--ai-gateway-spool-dir"), dir]);
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_becomes_an_option() {
        for (given, want) in [
            ("", Some("")),
            ("--url x", Some("--url x")),
            ("--dir a --url x", Some("--url x --ai-gateway-spool-dir a")),
            ("--url x --dir=a", Some("--url x --ai-gateway-spool-dir a")),
            ("--dir", None),
            ("--dir a --dir b", None),
        ] {
            let args = given.split_whitespace().map(OsString::from).collect();
            let named = name_dir(args).ok();
            let want: Option<Vec<OsString>> =
                want.map(|want| want.split_whitespace().map(OsString::from).collect());
            assert_eq!(named, want, "{given}");
        }
    }
}
