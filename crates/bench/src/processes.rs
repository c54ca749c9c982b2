//! What the kernel tells about processes.

use std::fs;
use std::io;

use anyhow::{Context as _, Result};

/// CPU time that a process has used so far, user and system, in microseconds. Its own alone, not that of
/// processes it started. Precise to one tick of the kernel, usually 10 ms.
///
/// # Errors
/// There is no such process.
pub fn cpu_micros(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    ticks(&text)
        .map(|ticks| ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1))
        .with_context(|| format!("{path} has no times"))
}

/// The 14th and 15th field. The second is the program's name in brackets and may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Lets this process open as many files as it may.
///
/// # Errors
/// The kernel does not allow what it says it allows.
pub fn raise_open_files() -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 1 0 9";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_a_time_and_a_missing_one_an_error() {
        assert!(cpu_micros(std::process::id()).is_ok());
        let error = cpu_micros(u32::MAX).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /proc/4294967295/stat");
    }
}
