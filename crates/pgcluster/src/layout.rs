use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use stdx::{Rng, Secret};

use crate::account::Account;
use crate::{Connection, Error, Settings};

/// Length of the password: 32 letters and digits are 190 bits.
const PASSWORD_LEN: usize = 32;
/// Ports that we choose from. Below the ranges from which kernels take the local ports of outgoing
/// connections (Linux 32768, others 49152), so that no such connection sits on ours when the server is
/// restarted.
const PORTS: std::ops::Range<u16> = 15_432..32_000;
const PORT_TRIES: usize = 64;
/// Beginning of the names of directories in which a cluster is being made.
const INIT_PREFIX: &str = "init-";

/// What lies where below the data directory:
///
/// ```text
/// lock        held by the owner; says its process id
/// password    of the database user, 0600
/// port        on 127.0.0.1
/// pg/         the cluster, belongs to the user that the server runs as, 0700
/// init-*/     a cluster that is being made
/// start.log   what the server wrote before it opened its own log in pg/log
/// server/     a downloaded server that could not lie in the cache
/// ```
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    top: PathBuf,
}

/// The data directory is ours while this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Layout {
    /// Makes the data directory fit for use, finds out as whom the server runs, and takes the lock.
    pub(crate) fn take(data_dir: &Path) -> Result<(Self, Account, Lock), Error> {
        let (layout, account) = Self::open(data_dir)?;
        let lock = layout.lock()?;
        layout.hand_over(&account)?;
        layout.sweep();
        Ok((layout, account, lock))
    }

    /// As [`Layout::take`], without becoming the owner.
    pub(crate) fn open(data_dir: &Path) -> Result<(Self, Account), Error> {
        let top = std::path::absolute(data_dir).map_err(Error::io("find", data_dir))?;
        let us = rustix::process::geteuid().as_raw();
        if top.join("PG_VERSION").exists() {
            return Err(Error::Foreign {
                path: top,
                what: "holds a PostgreSQL cluster that this program did not make",
            });
        }
        let layout = Self { top };
        let owner = owner_of(&layout.pg())?;
        if us != 0 {
            for (path, owner) in
                [(layout.top.clone(), owner_of(&layout.top)?), (layout.pg(), owner)]
            {
                if let Some(owner) = owner.filter(|owner| *owner != us) {
                    return Err(Error::NotOurs { path, owner, us });
                }
            }
        }
        let account = Account::choose(owner)?;
        let reachable = |path: &Path| match account.blocked(path) {
            Some(dir) if account.drop_root => {
                Err(Error::Unreachable { dir, user: account.name.clone() })
            }
            _ => Ok(()),
        };
        // What lies above is looked at before anything is made in it.
        if let Some(parent) = layout.top.parent() {
            reachable(parent)?;
        }
        make_dirs(&layout.top, us == 0)?;
        reachable(&layout.top)?;
        Ok((layout, account))
    }

    pub(crate) fn pg(&self) -> PathBuf {
        self.top.join("pg")
    }

    pub(crate) fn start_log(&self) -> PathBuf {
        self.top.join("start.log")
    }

    /// Where servers lie that were downloaded for this data directory alone.
    pub(crate) fn servers(&self) -> PathBuf {
        self.top.join("server")
    }

    /// Major version of the server that made the cluster; none if there is no cluster yet.
    pub(crate) fn major(&self) -> Result<Option<u32>, Error> {
        let path = self.pg().join("PG_VERSION");
        match fs::read_to_string(&path) {
            Ok(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|_| Error::Foreign { path, what: "does not hold a version number" }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.pg().exists() => {
                Ok(None)
            }
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// A new directory in which the given user may make a cluster.
    pub(crate) fn new_init_dir(&self, account: &Account, rng: &dyn Rng) -> Result<PathBuf, Error> {
        let dir = self.top.join(format!("{INIT_PREFIX}{}", rng.alphanumeric(8)));
        DirBuilder::new().mode(0o700).create(&dir).map_err(Error::io("create", &dir))?;
        account.own(&dir)?;
        Ok(dir)
    }

    /// Moves a finished cluster to its place, for good.
    pub(crate) fn adopt(&self, made: &Path) -> Result<(), Error> {
        let pg = self.pg();
        fs::rename(made, &pg).map_err(Error::io("create", &pg))?;
        self.sync()
    }

    /// The password, and whether it is new. A new one is on disk before anything depends on it.
    pub(crate) fn password(&self, rng: &dyn Rng) -> Result<(Secret<String>, bool), Error> {
        let path = self.top.join("password");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let text = Secret::new(text);
                let password = text.expose().trim();
                if password.is_empty() || !password.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    return Err(Error::Foreign {
                        path,
                        what: "does not hold a password of ours (remove the file to have a new one set)",
                    });
                }
                Ok((Secret::from(password), false))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let password = Secret::new(rng.alphanumeric(PASSWORD_LEN));
                self.write("password", password.expose())?;
                Ok((password, true))
            }
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// The port to start on: the fixed one, else the one of the last time if it is free, else a free one,
    /// which is kept.
    pub(crate) fn port(&self, fixed: Option<u16>, rng: &dyn Rng) -> Result<u16, Error> {
        if let Some(port) = fixed {
            if !is_free(port) {
                return Err(Error::PortTaken { port });
            }
            if self.kept_port() != Some(port) {
                self.write("port", &port.to_string())?;
            }
            return Ok(port);
        }
        match self.kept_port() {
            Some(port) if is_free(port) => Ok(port),
            kept => {
                let port = self.new_port(rng)?;
                if let Some(kept) = kept {
                    tracing::warn!(kept, port, "the port of the database is taken: chose another");
                }
                Ok(port)
            }
        }
    }

    /// Chooses a free port and keeps it.
    pub(crate) fn new_port(&self, rng: &dyn Rng) -> Result<u16, Error> {
        for _ in 0..PORT_TRIES {
            let mut bytes = [0; 2];
            rng.fill(&mut bytes);
            let port = PORTS.start + u16::from_le_bytes(bytes) % (PORTS.end - PORTS.start);
            if is_free(port) {
                self.write("port", &port.to_string())?;
                return Ok(port);
            }
        }
        Err(Error::PortTaken { port: PORTS.start })
    }

    fn kept_port(&self) -> Option<u16> {
        let text = fs::read_to_string(self.top.join("port")).ok()?;
        text.trim().parse().ok().filter(|port| *port != 0)
    }

    /// What a client needs, made up in advance if there is no cluster yet. Changes nothing that a running
    /// owner relies on.
    pub(crate) fn connection(&self, settings: &Settings) -> Result<Connection, Error> {
        let rng = settings.rng.as_ref();
        let path = self.top.join("password");
        let known = settings.port.or_else(|| self.kept_port());
        if let Some(port) = known.filter(|_| path.exists()) {
            return Ok(Connection::new(port, self.password(rng)?.0));
        }
        if self.pg().exists() && !path.exists() {
            return Err(Error::Foreign {
                path,
                what: "is lost; it is set anew when the server starts, so start it first, or if the \
                       directory is not yours",
            });
        }
        let _lock = self.lock()?;
        let port = known.map_or_else(|| self.new_port(rng), Ok)?;
        Ok(Connection::new(port, self.password(rng)?.0))
    }

    fn lock(&self) -> Result<Lock, Error> {
        let path = self.top.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = (&file).take(32).read_to_string(&mut text);
                return Err(Error::InUse {
                    data_dir: self.top.clone(),
                    pid: text.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(Error::io("write", &path))?;
        Ok(Lock { _file: file })
    }

    /// A cluster that was restored by root belongs to root, which the server would refuse.
    fn hand_over(&self, account: &Account) -> Result<(), Error> {
        let pg = self.pg();
        if owner_of(&pg)?.is_some_and(|owner| owner != account.uid) {
            account.own_tree(&pg)?;
        }
        Ok(())
    }

    /// Removes clusters whose making was interrupted.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.top) else {
            return;
        };
        for entry in entries.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(INIT_PREFIX.as_bytes())
                && let Err(error) = fs::remove_dir_all(entry.path())
            {
                // Its initdb may still be ending; the next start tries again.
                tracing::warn!(path = %entry.path().display(), %error, "cannot remove a half made cluster");
            }
        }
    }

    /// Replaces a small file, all or nothing.
    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let (path, new) = (self.top.join(name), self.top.join(format!("{name}.new")));
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(Error::io("write", &path))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), Error> {
        File::open(&self.top).and_then(|dir| dir.sync_all()).map_err(Error::io("write", &self.top))
    }
}

/// Makes the directory and what is missing above it. root's can be entered by the PostgreSQL user, whose
/// cluster lies inside; nobody else's can.
fn make_dirs(top: &Path, root: bool) -> Result<(), Error> {
    let mut missing: Vec<&Path> = top.ancestors().take_while(|dir| !dir.exists()).collect();
    missing.reverse();
    for dir in missing {
        let mode = match (root, dir == top) {
            (true, true) => 0o711,
            (true, false) => 0o755,
            (false, _) => 0o700,
        };
        match fs::create_dir(dir) {
            // The mode of `create_dir` is cut by the umask, which may be as strict as 077.
            Ok(()) => fs::set_permissions(dir, Permissions::from_mode(mode)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(Error::io("create", dir))?;
    }
    if root && owner_of(top)? == Some(0) {
        let meta = fs::metadata(top).map_err(Error::io("read", top))?;
        if meta.mode() & 0o011 != 0o011 {
            fs::set_permissions(top, Permissions::from_mode(meta.mode() & 0o7777 | 0o011))
                .map_err(Error::io("open to the PostgreSQL user:", top))?;
        }
    }
    Ok(())
}

fn owner_of(path: &Path) -> Result<Option<u32>, Error> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.uid())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use stdx::SystemRng;

    use super::*;

    fn top() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let top = dir.path().join("a/data");
        (dir, top)
    }

    #[test]
    fn a_second_owner_is_refused_and_told_who_is_first() {
        let (_dir, top) = top();
        let (.., lock) = Layout::take(&top).unwrap();
        match Layout::take(&top) {
            Err(Error::InUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(lock);
        Layout::take(&top).unwrap();
    }

    #[test]
    fn a_cluster_of_somebody_else_is_left_alone() {
        let (_dir, top) = top();
        fs::create_dir_all(&top).unwrap();
        fs::write(top.join("PG_VERSION"), "15\n").unwrap();
        let error = Layout::take(&top).unwrap_err();
        assert!(error.to_string().contains("did not make"), "{error}");
        assert_eq!(fs::read_dir(&top).unwrap().count(), 1);
    }

    #[test]
    fn secrets_are_private_and_survive() {
        let (_dir, top) = top();
        let (layout, ..) = Layout::take(&top).unwrap();
        let (first, new) = layout.password(&SystemRng).unwrap();
        let (again, newer) = layout.password(&SystemRng).unwrap();
        assert_eq!((first.expose(), new, newer), (again.expose(), true, false));
        for name in ["password", "lock"] {
            let mode = fs::metadata(top.join(name)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        fs::write(top.join("password"), "it's").unwrap();
        let error = layout.password(&SystemRng).unwrap_err();
        assert!(error.to_string().contains("remove the file"), "{error}");
    }

    #[test]
    fn the_port_is_kept_until_someone_else_takes_it() {
        let (_dir, top) = top();
        let (layout, ..) = Layout::take(&top).unwrap();
        let port = layout.port(None, &SystemRng).unwrap();
        assert_eq!(layout.port(None, &SystemRng).unwrap(), port);
        let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let next = layout.port(None, &SystemRng).unwrap();
        assert_ne!(next, port);
        assert_eq!(layout.port(None, &SystemRng).unwrap(), next);
        assert!(matches!(layout.port(Some(port), &SystemRng), Err(Error::PortTaken { .. })));
    }

    #[test]
    fn half_made_clusters_are_swept_away() {
        let (_dir, top) = top();
        let (layout, account, lock) = Layout::take(&top).unwrap();
        let left = layout.new_init_dir(&account, &SystemRng).unwrap();
        fs::write(left.join("PG_VERSION"), "15").unwrap();
        drop(lock);
        let (layout, ..) = Layout::take(&top).unwrap();
        assert!(!left.exists());
        assert_eq!(layout.major().unwrap(), None);
    }
}
