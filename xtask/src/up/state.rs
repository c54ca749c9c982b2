//! What `up` keeps between runs.

use std::env;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::tree::{Tree, write};

/// The state directory of one checkout.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) dir: PathBuf,
}

/// The first administrator, as kept on disk (mode 0600).
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Admin {
    pub(crate) email: String,
    pub(crate) username: String,
    pub(crate) password: String,
    #[serde(default)]
    pub(crate) token: Option<String>,
}

impl State {
    /// Opens the given directory, or the one that belongs to the checkout.
    pub(crate) fn open(tree: &Tree, given: Option<&Path>) -> Result<Self> {
        let dir = match given {
            Some(dir) => std::path::absolute(dir)?,
            None => default_dir(&tree.root)?,
        };
        // Passable for the account that runs PostgreSQL when we are root, readable for us alone.
        let mode = if is_root() { 0o711 } else { 0o700 };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(&dir)
            .with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Ours alone while the returned file is open; the kernel lets go of it when we end, however we end.
    pub(crate) fn lock(&self) -> Result<fs::File> {
        let path = self.dir.join("lock");
        let file =
            fs::File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                bail!("another `up` runs on {}; end it, or say --state-dir DIR", self.dir.display())
            }
            Err(fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    pub(crate) fn admin_file(&self) -> PathBuf {
        self.dir.join("admin.json")
    }

    /// The administrator of an earlier run, or a new one with a random password, already written down: a
    /// password that is set but not kept would lock everybody out.
    pub(crate) fn admin(&self) -> Result<Admin> {
        let file = self.admin_file();
        match fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is no administrator", file.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let admin = Admin {
                    email: "admin@localhost.localdomain".to_owned(),
                    username: "admin".to_owned(),
                    password: random_word(24)?,
                    token: None,
                };
                self.keep(&admin)?;
                Ok(admin)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Writes the administrator down, for us alone to read.
    pub(crate) fn keep(&self, admin: &Admin) -> Result<()> {
        let text = serde_json::to_string_pretty(admin)?;
        write(&self.admin_file(), &format!("{text}\n"), 0o600)
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// One directory per checkout. Not inside it: PostgreSQL never runs as root, and its account can often not
/// pass through the directories above a checkout of root's.
fn default_dir(root: &Path) -> Result<PathBuf> {
    let name = format!("up-{:08x}", fnv1a(root.as_os_str().as_bytes()));
    if is_root() {
        return Ok(Path::new("/var/lib/coder").join(name));
    }
    let base = match env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => {
            env::home_dir().context("no home directory; say --state-dir DIR")?.join(".local/state")
        }
    };
    Ok(base.join("coder").join(name))
}

/// FNV-1a, 32 bits: names the directory of a checkout, the same in every run.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A random word of letters and digits from the operating system.
pub(crate) fn random_word(len: usize) -> Result<String> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut source = fs::File::open("/dev/urandom").context("no source of random bytes")?;
    let mut word = String::with_capacity(len);
    let mut bytes = [0; 64];
    while word.len() < len {
        source.read_exact(&mut bytes).context("no random bytes")?;
        for byte in bytes {
            // The bytes above the largest multiple of 62 would make some letters likelier than others.
            if byte < 248
                && word.len() < len
                && let Some(letter) = ALPHABET.get(usize::from(byte % 62))
            {
                word.push(char::from(*letter));
            }
        }
    }
    Ok(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn the_administrator_is_kept_for_the_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = env::temp_dir().join(format!("xtask-state-{}", random_word(8).unwrap()));
        let tree = Tree { root: dir.clone() };
        let state = State::open(&tree, Some(&dir)).unwrap();
        let first = state.admin().unwrap();
        assert_eq!(first.password.len(), 24);
        assert_eq!(state.admin().unwrap().password, first.password);
        let mode = fs::metadata(state.admin_file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let held = state.lock().unwrap();
        let error = state.lock().unwrap_err().to_string();
        assert!(error.contains("another `up` runs on"), "{error}");
        drop(held);
        state.lock().unwrap();
        fs::remove_dir_all(dir).unwrap();
    }
}
