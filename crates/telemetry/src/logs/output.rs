use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal as _, Write};
use std::path::PathBuf;
use std::str::FromStr;

use super::InitError;

/// Where log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The standard error.
    Stderr,
    /// The standard output.
    Stdout,
    /// A file; lines are appended, the file is made if it is missing.
    File(PathBuf),
}

impl FromStr for Output {
    type Err = Infallible;

    /// `/dev/stderr` and `/dev/stdout` name the streams (also where there are no such files), all else
    /// is a path.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "/dev/stderr" => Self::Stderr,
            "/dev/stdout" => Self::Stdout,
            path => Self::File(path.into()),
        })
    }
}

impl Output {
    pub(super) fn is_terminal(&self) -> bool {
        match self {
            Self::Stderr => io::stderr().is_terminal(),
            Self::Stdout => io::stdout().is_terminal(),
            Self::File(_) => false,
        }
    }

    pub(super) fn open(&self) -> Result<Box<dyn Write + Send>, InitError> {
        Ok(match self {
            Self::Stderr => Box::new(io::stderr()),
            Self::Stdout => Box::new(io::stdout()),
            Self::File(path) => {
                let file = OpenOptions::new().append(true).create(true).open(path);
                Box::new(file.map_err(|source| InitError::Open {
                    path: path.display().to_string(),
                    source,
                })?)
            }
        })
    }
}
