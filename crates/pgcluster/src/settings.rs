use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use stdx::{SharedRng, SystemRng};

/// What a cluster needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory that belongs to this cluster alone. Made if missing.
    pub data_dir: PathBuf,
    /// Where a downloaded server is kept. Several clusters may share it.
    pub cache_dir: PathBuf,
    /// A fixed port, or none: then a free one is chosen at the first start and kept.
    pub port: Option<u16>,
    /// Whether what was committed must survive a crash. Tests say no and are several times faster: a
    /// crash of the server may then lose the last commits, a crash of the machine everything.
    pub durable: bool,
    /// Where installed servers are looked for.
    pub search: Search,
    /// Whether a server may be downloaded when none is installed.
    pub download: bool,
    /// Told what goes on during the start.
    pub progress: Arc<dyn Progress>,
    /// Source of the password and of port numbers.
    pub rng: SharedRng,
}

/// Where installed servers are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// `PATH`, `pg_config --bindir` and the places where packages put them.
    System,
    /// These directories, each holding `initdb` and `postgres`, and no others.
    Dirs(Vec<PathBuf>),
}

impl Settings {
    /// A durable cluster with a port of its own choice, of an installed or downloaded server.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            cache_dir: cache_dir.into(),
            port: None,
            durable: true,
            search: Search::System,
            download: true,
            progress: Arc::new(Silent),
            rng: SystemRng::shared(),
        }
    }

    /// A cluster for tests: fast, but not durable.
    #[must_use]
    pub fn scratch(data_dir: impl Into<PathBuf>, cache_dir: impl Into<PathBuf>) -> Self {
        Self { durable: false, ..Self::new(data_dir, cache_dir) }
    }
}

/// What [`crate::Cluster::start`] is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Looks for an installed server.
    Locating,
    /// Downloads a server, about 30 MB. Told about twice a second; the source does not say how much is
    /// left.
    Downloading {
        /// Time since the download began.
        elapsed: Duration,
    },
    /// Makes a new data directory.
    Initialising,
    /// Stops a server that an earlier, killed owner left behind.
    StoppingOrphan,
    /// Starts the server.
    Starting,
    /// The server replays its log after a crash.
    Recovering,
    /// The server takes connections.
    Ready,
}

/// Told what goes on during a start. Must not block.
pub trait Progress: Send + Sync + fmt::Debug + 'static {
    /// A phase began, or goes on ([`Phase::Downloading`]).
    fn phase(&self, phase: Phase);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silent;

impl Progress for Silent {
    fn phase(&self, _: Phase) {}
}

const SYSTEM_DATA_DIR: &str = "/var/lib/coder/postgres";

/// Whether this process is root, whom PostgreSQL refuses.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where data lies if the user says nothing.
///
/// root: `/var/lib/coder/postgres`, because root's home is closed to the user that the server runs as.
/// Others: `$XDG_STATE_HOME/coder/postgres`, or `~/.local/state/coder/postgres` (XDG Base Directory
/// Specification 0.8; a relative `XDG_STATE_HOME` is ignored, as it demands).
#[must_use]
pub fn default_data_dir(home: Option<&Path>, state_home: Option<&Path>, root: bool) -> PathBuf {
    if root {
        return PathBuf::from(SYSTEM_DATA_DIR);
    }
    let state = state_home
        .filter(|dir| dir.is_absolute())
        .map(Path::to_path_buf)
        .or_else(|| Some(home.filter(|dir| dir.is_absolute())?.join(".local/state")));
    state.map_or_else(|| PathBuf::from(SYSTEM_DATA_DIR), |dir| dir.join("coder/postgres"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_data_dir_follows_the_user() {
        let cases = [
            (Some("/root"), Some("/s"), true, "/var/lib/coder/postgres"),
            (Some("/home/a"), None, false, "/home/a/.local/state/coder/postgres"),
            (Some("/home/a"), Some("/s"), false, "/s/coder/postgres"),
            (Some("/home/a"), Some("s"), false, "/home/a/.local/state/coder/postgres"),
            (None, None, false, "/var/lib/coder/postgres"),
        ];
        for (home, state, root, want) in cases {
            let got = default_data_dir(home.map(Path::new), state.map(Path::new), root);
            assert_eq!(got, Path::new(want), "{home:?} {state:?} {root}");
        }
    }
}
