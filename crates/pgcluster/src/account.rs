use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::Error;

/// The user that PostgreSQL runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether we are root and must become this user first.
    pub(crate) drop_root: bool,
}

/// Users that a server may run as when we are root, best first. The last but one is macOS's.
const UNPRIVILEGED: [&str; 3] = ["postgres", "_postgres", "nobody"];

impl Account {
    /// The user for a data directory that belongs to `owner`, or for a new one.
    pub(crate) fn choose(owner: Option<u32>) -> Result<Self, Error> {
        let euid = rustix::process::geteuid().as_raw();
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        if euid == 0 {
            return Self::unprivileged(&passwd, owner);
        }
        let name = entries(&passwd)
            .find(|entry| entry.uid == euid)
            .map_or_else(|| euid.to_string(), |entry| entry.name.to_owned());
        Ok(Self { name, uid: euid, gid: rustix::process::getegid().as_raw(), drop_root: false })
    }

    /// As root: whoever owns the data already, so that nothing has to change hands; else a system user.
    fn unprivileged(passwd: &str, owner: Option<u32>) -> Result<Self, Error> {
        let found = match owner {
            Some(uid) if uid != 0 => entries(passwd).find(|entry| entry.uid == uid),
            _ => UNPRIVILEGED.iter().find_map(|name| {
                entries(passwd).find(|entry| entry.name == *name && entry.uid != 0)
            }),
        };
        let entry = found.ok_or(Error::NoAccount)?;
        Ok(Self { name: entry.name.to_owned(), uid: entry.uid, gid: entry.gid, drop_root: true })
    }

    /// The first directory on the way to `path`, itself included, that this user may not enter. Looks at
    /// permission bits alone; what does not exist yet blocks nobody.
    pub(crate) fn blocked(&self, path: &Path) -> Option<PathBuf> {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let mut way: Vec<&Path> = path.ancestors().collect();
        way.reverse();
        way.into_iter()
            .find(|dir| fs::metadata(dir).is_ok_and(|meta| !self.may_enter(&meta)))
            .map(Path::to_path_buf)
    }

    fn may_enter(&self, meta: &fs::Metadata) -> bool {
        let bit = if meta.uid() == self.uid {
            0o100
        } else if meta.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        meta.mode() & bit != 0
    }

    /// Gives `path` to this user, if it is not ours already by being made by us.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        if self.drop_root {
            std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))
                .map_err(Error::io("hand over to the PostgreSQL user:", path))?;
        }
        Ok(())
    }

    /// Gives a whole tree to this user; links are not followed.
    pub(crate) fn own_tree(&self, top: &Path) -> Result<(), Error> {
        let mut left = vec![top.to_path_buf()];
        while let Some(path) = left.pop() {
            self.own(&path)?;
            let is_dir = fs::symlink_metadata(&path).map_err(Error::io("read", &path))?.is_dir();
            if is_dir {
                for entry in fs::read_dir(&path).map_err(Error::io("list", &path))? {
                    left.push(entry.map_err(Error::io("list", &path))?.path());
                }
            }
        }
        Ok(())
    }
}

/// One line of `/etc/passwd`.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

/// The users of a passwd(5) file; lines that are no entry are passed over.
fn entries(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (!name.is_empty()).then_some(Entry { name, uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\n# no entry\n\nodd:x:-2:-2::/:/\n\
        nobody:x:65534:65533::/:/\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\nann:x:1000:1000::/:/\n";

    #[test]
    fn root_becomes_the_owner_of_the_data_or_a_system_user() {
        let without = PASSWD.replace("postgres:", "somebody:");
        let cases = [
            (PASSWD, None, Some(("postgres", 101, 104))),
            (PASSWD, Some(0), Some(("postgres", 101, 104))),
            (PASSWD, Some(1000), Some(("ann", 1000, 1000))),
            (PASSWD, Some(4242), None),
            (without.as_str(), None, Some(("nobody", 65534, 65533))),
            ("postgres:x:0:0::/:/", None, None),
            ("", None, None),
        ];
        for (passwd, owner, want) in cases {
            let got = Account::unprivileged(passwd, owner).ok();
            let got = got.as_ref().map(|a| (a.name.as_str(), a.uid, a.gid));
            assert_eq!(got, want, "{owner:?}");
        }
    }

    #[test]
    fn a_closed_parent_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (closed, inner) = (dir.path().join("closed"), dir.path().join("closed/a/b"));
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o750)).unwrap();
        let stranger = Account {
            name: "stranger".to_owned(),
            uid: 4_000_001,
            gid: 4_000_001,
            drop_root: true,
        };
        assert_eq!(stranger.blocked(&inner), Some(closed.canonicalize().unwrap()));
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o711)).unwrap();
        assert_eq!(stranger.blocked(&inner), None);
        assert_eq!(stranger.blocked(&inner.join("not yet there")), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "(\\PC|[:\n0-9-]){0,80}") {
            for entry in entries(&text) {
                proptest::prop_assert!(!entry.name.is_empty() && !entry.name.contains(':'));
            }
        }
    }
}
