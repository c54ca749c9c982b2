use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why there is no server. Each text names what is wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process owns the data directory.
    #[error(
        "the PostgreSQL data directory {} is in use by {}: stop it, or choose another directory with \
         CODER_PG_DATA_DIR, or let both use one server with CODER_PG_CONNECTION_URL",
        data_dir.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    InUse {
        /// The directory.
        data_dir: PathBuf,
        /// Its owner, if it said who it is.
        pid: Option<u32>,
    },

    /// No usable server is installed and none could be downloaded.
    #[error("{}", no_server(*.wanted, .refused, *.download))]
    NoServer {
        /// The only major version that can read the data, if there is data.
        wanted: Option<u32>,
        /// Servers that were found and why they were not taken.
        refused: Vec<String>,
        /// Whether a download was tried.
        download: bool,
        /// Why the download failed.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// The user that the server runs as may not enter a directory above the data.
    #[error(
        "PostgreSQL runs as user {user}, who may not enter {}: choose another directory with \
         CODER_PG_DATA_DIR, for example /var/lib/coder/postgres, or permit it: chmod o+x {}",
        dir.display(),
        dir.display()
    )]
    Unreachable {
        /// The closed directory.
        dir: PathBuf,
        /// Who may not enter it.
        user: String,
    },

    /// We are root and there is nobody to run the server as.
    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd has neither a user postgres nor nobody: \
         create one (useradd --system postgres), or start as a normal user"
    )]
    NoAccount,

    /// The data belongs to another user.
    #[error(
        "{} belongs to user id {owner}, not to you ({us}): start as that user, or choose another \
         directory with CODER_PG_DATA_DIR",
        path.display()
    )]
    NotOurs {
        /// What belongs to someone else.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Our user id.
        us: u32,
    },

    /// The directory holds something else.
    #[error(
        "{} {what}: choose an empty or a new directory with CODER_PG_DATA_DIR",
        path.display()
    )]
    Foreign {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },

    /// The fixed port is taken.
    #[error(
        "port {port} of 127.0.0.1 is taken by another program: free it, or choose another port"
    )]
    PortTaken {
        /// The port.
        port: u16,
    },

    /// A program of PostgreSQL failed.
    #[error("{program} failed ({status}){}", said(.output))]
    Program {
        /// Which program.
        program: &'static str,
        /// How it ended.
        status: String,
        /// The end of what it wrote.
        output: String,
    },

    /// The server ended while it started.
    #[error("the PostgreSQL server ended while starting ({status}){}", said(.log))]
    Exited {
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },

    /// The server did not take connections in time.
    #[error("the PostgreSQL server was not ready after {} s{}", after.as_secs(), said(.log))]
    NotReady {
        /// How long we waited.
        after: Duration,
        /// The end of its log.
        log: String,
    },

    /// A server that was left behind does not end.
    #[error(
        "a PostgreSQL server of an earlier run (process {pid}) still uses {} and does not stop: end it \
         with: kill -QUIT {pid}",
        data_dir.display()
    )]
    Orphan {
        /// The data directory.
        data_dir: PathBuf,
        /// The process.
        pid: i32,
    },

    /// A file or directory could not be used.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What we were about to do.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// An [`Error::Io`] maker for `map_err`.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

fn said(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("; it said:\n{output}") }
}

fn no_server(wanted: Option<u32>, refused: &[String], download: bool) -> String {
    let (what, major) = match wanted {
        Some(major) => (
            format!(
                "the data was made by PostgreSQL {major} and needs a server of that version, but"
            ),
            major.to_string(),
        ),
        None => (
            "CODER_PG_CONNECTION_URL is empty, so a PostgreSQL server (14 or newer) is needed, but"
                .to_owned(),
            String::new(),
        ),
    };
    let tried = if download {
        "none is installed and none could be downloaded"
    } else {
        "none is installed"
    };
    let found = if refused.is_empty() {
        String::new()
    } else {
        format!(" (found, but not usable: {})", refused.join("; "))
    };
    let (debian, fedora, brew) = if major.is_empty() {
        ("postgresql".to_owned(), "postgresql-server".to_owned(), "17".to_owned())
    } else {
        (format!("postgresql-{major}"), format!("postgresql{major}-server"), major)
    };
    let mut text = format!(
        "{what} {tried}{found}. Install it (Debian, Ubuntu: apt-get install {debian}; Fedora, RHEL: dnf install \
         {fedora}; macOS: brew install postgresql@{brew})"
    );
    if wanted.is_none() {
        text.push_str(", or set CODER_PG_CONNECTION_URL to a server of yours");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_names_the_remedies() {
        let fresh = no_server(None, &[], false);
        for part in [
            "apt-get install postgresql;",
            "dnf install postgresql-server;",
            "brew install postgresql@17",
            "CODER_PG_CONNECTION_URL",
        ] {
            assert!(fresh.contains(part), "{fresh}");
        }
        let old = no_server(Some(14), &["/x/bin is 15".to_owned()], true);
        for part in [
            "made by PostgreSQL 14",
            "apt-get install postgresql-14;",
            "/x/bin is 15",
            "downloaded",
        ] {
            assert!(old.contains(part), "{old}");
        }
    }

    #[test]
    fn the_second_owner_learns_who_is_first() {
        let error = Error::InUse { data_dir: "/d".into(), pid: Some(7) };
        let text = error.to_string();
        assert!(
            text.contains("/d is in use by process 7") && text.contains("CODER_PG_DATA_DIR"),
            "{text}"
        );
    }
}
