//! The machine and its processes, as far as the kernel tells.

use std::collections::HashMap;
use std::fs;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::tree::{Tree, output};

/// Files that a process of the bench opens at most: a gateway has two for each of ten thousand streams.
const OPEN_FILES: u64 = 32_768;

/// One line that says what was measured where.
pub(crate) fn describe(tree: &Tree) -> Result<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let commit = output(tree.command("git").args(["describe", "--always", "--dirty"]))?;
    let date = output(tree.command("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    Ok(format!(
        "{cores} cores of {model}, Linux {}, commit {}, {}, load average before {load}",
        kernel.trim(),
        commit.trim(),
        date.trim()
    ))
}

/// The kind of file system a directory is on. One that is kept in memory would make a sync mean nothing.
pub(crate) fn file_system(dir: &Path) -> Result<String> {
    let kind = output(Command::new("stat").args(["-f", "-c", "%T"]).arg(dir))?;
    let kind = kind.trim();
    if ["tmpfs", "ramfs"].contains(&kind) {
        bail!("{} is on {kind}; set TMPDIR to a directory on a disk", dir.display());
    }
    Ok(kind.to_owned())
}

/// What the disk takes to keep a block, in microseconds: the median of many.
pub(crate) fn sync_us(dir: &Path) -> Result<f64> {
    let path = dir.join("sync");
    let mut file = fs::File::create(&path)?;
    // Space of its own first, as a spool has: otherwise the file's length is written each time, too.
    file.write_all(&vec![0; 4096 * 200])?;
    file.sync_all()?;
    file.rewind()?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    fs::remove_file(&path)?;
    times.sort();
    let middle = times.get(times.len() / 2).context("nothing was measured")?;
    Ok(middle.as_secs_f64() * 1e6)
}

/// Lets this process, and those that it starts, open as many files as the bench needs, or as it may.
pub(crate) fn raise_open_files() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let wanted = maximum.map(|have| have.max(OPEN_FILES));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: wanted });
    // Beyond its maximum only an administrator may go.
    raised
        .or_else(|_| setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }))
        .context("cannot raise the number of open files")
}

/// How many files a process may open.
pub(crate) fn open_files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// One process.
struct Process {
    parent: u32,
    ticks: u64,
}

fn process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(&stat)
}

/// The second field is the program's name in brackets and may hold anything.
fn parse(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
    })
}

/// CPU time that processes and everything below them have used so far, in microseconds.
pub(crate) fn cpu_us(roots: &[u32]) -> u64 {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
            && let Some(process) = process(pid)
        {
            all.insert(pid, process);
        }
    }
    let below = |mut pid: u32| loop {
        if roots.contains(&pid) {
            return true;
        }
        match all.get(&pid) {
            Some(process) => pid = process.parent,
            None => return false,
        }
    };
    let ticks: u64 =
        all.iter().filter(|(pid, _)| below(**pid)).map(|(_, process)| process.ticks).sum();
    ticks * 1_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

/// Memory of a process in bytes: now, and at its peak.
pub(crate) fn memory(pid: u32) -> Result<(f64, f64)> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<f64>().ok().map(|kilo| kilo * 1024.0)
    };
    field("VmRSS:").zip(field("VmHWM:")).with_context(|| format!("{path} tells no memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "7 (a) b (c)) S 3 7 7 0 -1 4194304 1 2 3 4 150 50 7 3 20 0 1 0 9";
        let process = parse(stat).unwrap();
        assert_eq!((process.parent, process.ticks), (3, 210));
        assert!(parse("7 (a) S").is_none());
    }

    #[test]
    fn this_process_has_memory() {
        let (now, peak) = memory(std::process::id()).unwrap();
        assert!(now > 0.0 && peak >= now * 0.5);
    }
}
