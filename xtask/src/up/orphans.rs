//! Servers that outlived an `up` that was killed: the next one ends them before it starts its own, which need
//! their ports, their database and their spools.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::child::{Server, TICK};
use crate::tree::{output, write};

/// How long a killed process may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Writes down which process a server is.
pub(super) fn note(dir: &Path, server: &Server, program: &Path) -> Result<()> {
    let text = format!("{} {}\n", server.id(), program.display());
    write(&file(dir, server.name), &text, 0o600)
}

/// Ends the servers of those names that are still there, in this order, each within `grace`.
pub(super) fn end(dir: &Path, names: &[&str], grace: Duration) -> Result<()> {
    for name in names {
        let file = file(dir, name);
        let Ok(text) = fs::read_to_string(&file) else { continue };
        if let Some((pid, program)) = text.trim().split_once(' ')
            && let Some(pid) = pid.parse().ok().and_then(Pid::from_raw)
            && runs(pid, program)
        {
            println!("Ending the {name} that an earlier run left behind");
            finish(name, pid, program, grace)?;
        }
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(())
}

fn file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.pid"))
}

fn finish(name: &str, pid: Pid, program: &str, grace: Duration) -> Result<()> {
    for (signal, limit) in [(Signal::INT, grace), (Signal::KILL, KILL_LIMIT)] {
        // It may be gone meanwhile, which is what is wanted.
        let _ = kill_process(pid, signal);
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if !runs(pid, program) {
                return Ok(());
            }
            sleep(TICK);
        }
    }
    bail!("{name} of an earlier run (process {}) does not end", pid.as_raw_nonzero())
}

/// Whether the process with that number is this program: numbers are given to others again.
fn runs(pid: Pid, program: &str) -> bool {
    let pid = pid.as_raw_nonzero();
    if Path::new("/proc/self").exists() {
        // The line of a process that has ended and was not waited for is empty.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let first = line.split(|byte| *byte == 0).next();
        return first == Some(Path::new(program).as_os_str().as_bytes());
    }
    let line = output(Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]));
    line.is_ok_and(|line| line.starts_with(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_left_behind_is_ended_and_a_stranger_is_left_alone() {
        let dir = std::env::temp_dir().join(format!("xtask-orphans-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let mut command = Command::new("sleep");
        command.arg("60");
        let mut server =
            Server::start("demo", &mut command, &dir.join("x.log"), Duration::from_secs(5))
                .unwrap();
        // The number is the server's and the program is not.
        note(&dir, &server, Path::new("/nowhere/demo")).unwrap();
        end(&dir, &["demo", "other"], Duration::from_secs(5)).unwrap();
        assert!(server.ended().unwrap().is_none());
        assert!(!file(&dir, "demo").exists());
        note(&dir, &server, Path::new("sleep")).unwrap();
        end(&dir, &["demo"], Duration::from_secs(5)).unwrap();
        while server.ended().unwrap().is_none() {
            sleep(TICK);
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
