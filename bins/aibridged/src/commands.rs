//! From the command line to what is run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use config::{Daemon, Environment, Loaded};
use tokio::runtime::{Builder, Runtime};

use crate::{effect, server, verify};

/// `aibridged [serve]`
pub(crate) fn serve(args: &[OsString]) -> Result<ExitCode> {
    let Some(loaded) = read(args)? else {
        return Ok(ExitCode::SUCCESS);
    };
    control_runtime()?.block_on(server::run(&loaded.options))?;
    Ok(ExitCode::SUCCESS)
}

/// `aibridged ledger verify`
pub(crate) fn verify(args: Vec<OsString>) -> Result<ExitCode> {
    let (dir, args) = take_dir(args)?;
    let Some(loaded) = read(&args)? else {
        return Ok(ExitCode::SUCCESS);
    };
    let sound = control_runtime()?.block_on(verify::run(&loaded.options, dir))?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(args: &[OsString]) -> Result<Option<Loaded>> {
    let environment = Environment::of_process();
    process::read(Daemon::Aibridged, args, &environment, &effect::effective())
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

/// The one flag that the option table does not know.
fn take_dir(args: Vec<OsString>) -> Result<(Option<PathBuf>, Vec<OsString>)> {
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
            Some(value) => dir = Some(PathBuf::from(value)),
            None => others.push(arg),
        }
    }
    Ok((dir, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_taken_out_of_the_options() {
        for (given, dir, left) in [
            ("", Some(None), 0),
            ("--url x", Some(None), 2),
            ("--dir a --url x", Some(Some("a")), 2),
            ("--url x --dir=a", Some(Some("a")), 2),
            ("--dir", None, 0),
            ("--dir a --dir b", None, 0),
        ] {
            let args = given.split_whitespace().map(OsString::from).collect();
            let taken = take_dir(args).ok();
            let want = dir.map(|dir| (dir.map(PathBuf::from), left));
            assert_eq!(taken.map(|(dir, others)| (dir, others.len())), want, "{given}");
        }
    }
}
