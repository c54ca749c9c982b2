//! Telling the starter where a server listens.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Refuses addresses that other machines could reach.
///
/// # Errors
/// The address is not on loopback.
pub fn loopback(address: SocketAddr) -> Result<SocketAddr> {
    ensure!(address.ip().is_loopback(), "{address} is not a loopback address");
    Ok(address)
}

/// Writes the base URL to `file`, in one step, once connections are accepted.
///
/// # Errors
/// The file cannot be written.
pub fn tell(file: &Path, address: SocketAddr) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, format!("http://{address}"))
        .and_then(|()| fs::rename(&new, file))
        .with_context(|| format!("cannot write {}", file.display()))
}
