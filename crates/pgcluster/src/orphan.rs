//! Ending a server that an earlier owner left behind when it was killed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use tokio::time::Instant;

use crate::pidfile::{self, PidFile};
use crate::{Error, Phase, Progress};

/// How long an orderly shutdown may take: it writes out what is in memory.
pub(crate) const FAST_LIMIT: Duration = Duration::from_secs(30);
/// How long an immediate one may take: it only ends the processes.
pub(crate) const IMMEDIATE_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// Who has the number that `postmaster.pid` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// Nobody.
    Gone,
    /// A server of this data directory.
    Server,
    /// Another program, or one that is dead and not yet buried by its parent.
    Other,
    /// Cannot be told; PostgreSQL decides then.
    Unknown,
}

/// Makes sure that no server uses `pg`. Call only as the owner of the data directory.
pub(crate) async fn settle(pg: &Path, progress: &dyn Progress) -> Result<(), Error> {
    let Some(PidFile { pid, .. }) = PidFile::read(pg) else {
        return Ok(());
    };
    match holder(pid, pg).await {
        Holder::Gone | Holder::Unknown => Ok(()),
        Holder::Other => {
            // The number was given to someone else since, and PostgreSQL would take that for a running
            // server. That no process uses the data, it checks by the shared memory as well.
            let path = pidfile::path(pg);
            fs::remove_file(&path).map_err(Error::io("remove", &path))
        }
        Holder::Server => {
            progress.phase(Phase::StoppingOrphan);
            tracing::warn!(pid, "stopping a database server that an earlier run left behind");
            for (signal, limit) in [(Signal::INT, FAST_LIMIT), (Signal::QUIT, IMMEDIATE_LIMIT)] {
                kill(pid, signal);
                if ended(pid, pg, limit).await {
                    return Ok(());
                }
            }
            Err(Error::Orphan { data_dir: pg.to_path_buf(), pid })
        }
    }
}

/// Sends a signal to one process. That it may be gone already is no failure.
pub(crate) fn kill(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid)
        && let Err(error) = rustix::process::kill_process(pid, signal)
        && error != Errno::SRCH
    {
        tracing::warn!(pid = pid.as_raw_nonzero(), %error, "cannot signal the database server");
    }
}

async fn ended(pid: i32, pg: &Path, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if holder(pid, pg).await != Holder::Server {
            return true;
        }
        tokio::time::sleep(POLL).await;
    }
    false
}

async fn holder(pid: i32, pg: &Path) -> Holder {
    let Some(number) = Pid::from_raw(pid) else {
        return Holder::Gone;
    };
    if rustix::process::test_kill_process(number) == Err(Errno::SRCH) {
        return Holder::Gone;
    }
    match arguments(pid).await {
        Some(arguments) if is_server_of(&arguments, pg) => Holder::Server,
        Some(_) => Holder::Other,
        None => Holder::Unknown,
    }
}

/// The words by which a process was started; empty for one that is dead.
async fn arguments(pid: i32) -> Option<Vec<String>> {
    if Path::new("/proc/self/cmdline").exists() {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = bytes.split(|byte| *byte == 0);
        return Some(
            words
                .filter(|word| !word.is_empty())
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect(),
        );
    }
    // Systems without /proc, macOS above all. Words are cut at blanks: a path with a blank is then not
    // recognised, which leaves the decision to PostgreSQL.
    let output = tokio::process::Command::new("ps")
        .args(["-ww", "-o", "args=", "-p", &pid.to_string()])
        .output()
        .await
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.split_whitespace().map(str::to_owned).collect())
}

fn is_server_of(arguments: &[String], pg: &Path) -> bool {
    let Some((program, rest)) = arguments.split_first() else {
        return false;
    };
    let name = Path::new(program).file_name();
    if !name.is_some_and(|name| name == "postgres" || name == "postmaster") {
        return false;
    }
    let pg = fs::canonicalize(pg).unwrap_or_else(|_| pg.to_path_buf());
    rest.iter().any(|word| {
        fs::canonicalize(word.strip_prefix("-D").filter(|w| !w.is_empty()).unwrap_or(word))
            .is_ok_and(|path| path == pg)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Silent;

    #[test]
    fn only_a_server_of_this_directory_counts() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
        fs::create_dir(&ours).unwrap();
        fs::create_dir(&theirs).unwrap();
        let path = ours.to_str().unwrap().to_owned();
        let joined = format!("-D{path}");
        let cases = [
            (vec!["/usr/lib/postgresql/15/bin/postgres", "-D", &path], true),
            (vec!["postgres", &joined, "-p", "1"], true),
            (vec!["postgres", "-D", theirs.to_str().unwrap()], false),
            (vec!["vim", &path], false),
            (vec!["postgres"], false),
            (vec![], false),
        ];
        for (words, want) in cases {
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            assert_eq!(is_server_of(&words, &ours), want, "{words:?}");
        }
    }

    #[tokio::test]
    async fn a_number_that_another_program_got_is_struck_out_and_the_program_spared() {
        let dir = tempfile::tempdir().unwrap();
        let file = pidfile::path(dir.path());
        fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        settle(dir.path(), &Silent).await.unwrap();
        assert!(!file.exists());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_dead_server_needs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        settle(dir.path(), &Silent).await.unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        // Dead but not waited for: its number is taken until then.
        while !fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.is_empty()) {
            tokio::task::yield_now().await;
        }
        fs::write(pidfile::path(dir.path()), format!("{pid}\n")).unwrap();
        settle(dir.path(), &Silent).await.unwrap();
        assert!(!pidfile::path(dir.path()).exists());
        child.wait().unwrap();
    }
}
