//! `postmaster.pid`: what a running server writes about itself (one fact a line; PostgreSQL's
//! `src/include/utils/pidfile.h`).

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn path(pg: &Path) -> PathBuf {
    pg.join("postmaster.pid")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PidFile {
    /// The server, or the single-user server.
    pub(crate) pid: i32,
    /// Whether it takes connections.
    pub(crate) ready: bool,
}

impl PidFile {
    /// None if there is no file, or nothing sensible in it yet.
    pub(crate) fn read(pg: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(path(pg)).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        // A single-user server writes its number negated.
        let pid = lines.next()?.trim().parse::<i32>().ok()?.checked_abs()?;
        let ready = lines.nth(6).is_some_and(|status| status.trim() == "ready");
        (pid > 1).then_some(Self { pid, ready })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_server_is_read() {
        let full = "1234\n/data\n1700000000\n5433\n\n127.0.0.1\n  5432001    524\nready   \n";
        let cases = [
            (full, Some((1234, true))),
            (&full.replace("ready", "starting"), Some((1234, false))),
            ("-77\n/data\n", Some((77, false))),
            ("", None),
            ("\n", None),
            ("0\n", None),
            ("1\n", None),
            ("-2147483648\n", None),
            ("99999999999\n", None),
        ];
        for (text, want) in cases {
            let got = PidFile::parse(text).map(|file| (file.pid, file.ready));
            assert_eq!(got, want, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_process_number_is_never_one_that_means_many(text in "[-0-9a-z \n]{0,60}") {
            if let Some(file) = PidFile::parse(&text) {
                proptest::prop_assert!(file.pid > 1);
            }
        }
    }
}
