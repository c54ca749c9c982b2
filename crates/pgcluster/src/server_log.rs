//! The server's own log, as far as an error message or a progress bar needs it.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The most that is read of a file, from its end.
const READ_MAX: u64 = 16 * 1024;
/// How many lines an error shows.
const LINES: usize = 15;

/// Where the log ended before a start, so that lines of earlier runs are not taken for lines of this one.
#[derive(Clone, Debug)]
pub(crate) struct LogMark {
    pg: PathBuf,
    start_log: PathBuf,
    newest: Option<(PathBuf, u64)>,
}

impl LogMark {
    pub(crate) fn now(pg: &Path, start_log: &Path) -> Self {
        Self { pg: pg.to_path_buf(), start_log: start_log.to_path_buf(), newest: newest(pg) }
    }

    /// The last lines that the server wrote since.
    pub(crate) fn tail(&self) -> String {
        let mut text = read_from(&self.start_log, 0);
        if let Some((path, len)) = newest(&self.pg) {
            let from = match &self.newest {
                // A file that shrank was begun anew: they are named by weekday.
                Some((marked, at)) if *marked == path && *at <= len => *at,
                _ => 0,
            };
            text.push_str(&read_from(&path, from));
        }
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| {
                !line.trim().is_empty()
                    && !line.contains("redirecting log output")
                    && !line.contains("Future log output will appear")
            })
            .collect();
        let from = lines.len().saturating_sub(LINES);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    /// Whether the server said since that it replays its log.
    pub(crate) fn recovering(&self) -> bool {
        let tail = self.tail();
        tail.contains("automatic recovery in progress") || tail.contains("redo starts at")
    }
}

fn newest(pg: &Path) -> Option<(PathBuf, u64)> {
    let entries = fs::read_dir(pg.join("log")).ok()?;
    entries
        .flatten()
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            let at = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            Some((at, entry.path(), meta.len()))
        })
        .max()
        .map(|(_, path, len)| (path, len))
}

fn read_from(path: &Path, from: u64) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(len.saturating_sub(READ_MAX))))?;
        let mut bytes = Vec::new();
        file.take(READ_MAX).read_to_end(&mut bytes)?;
        std::io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_this_run_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let (log, start) = (dir.path().join("log"), dir.path().join("start.log"));
        fs::create_dir(&log).unwrap();
        fs::write(log.join("postgresql-Mon.log"), "redo starts at 0/1\n").unwrap();
        let mark = LogMark::now(dir.path(), &start);
        assert_eq!((mark.tail().as_str(), mark.recovering()), ("", false));
        fs::write(&start, "redirecting log output\nFATAL: no\n").unwrap();
        fs::write(
            log.join("postgresql-Mon.log"),
            "redo starts at 0/1\nautomatic recovery in progress\n",
        )
        .unwrap();
        assert_eq!(mark.tail(), "FATAL: no\nautomatic recovery in progress");
        assert!(mark.recovering());
    }

    #[test]
    fn a_long_log_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let start = dir.path().join("start.log");
        let mark = LogMark::now(dir.path(), &start);
        fs::write(&start, "line\n".repeat(100_000)).unwrap();
        assert_eq!(mark.tail().lines().count(), LINES);
    }
}
