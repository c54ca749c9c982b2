//! Finds what cargo cannot bring, and installs it where that is allowed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::tree::{output, status};

/// The oldest PostgreSQL that the project runs on.
const POSTGRES_MIN: u32 = 14;

/// Makes sure that a PostgreSQL server is installed, and returns the directory of its programs.
pub(crate) fn postgres() -> Result<PathBuf> {
    if let Some(found) = find_postgres() {
        return Ok(found);
    }
    install("PostgreSQL 14 or newer", &["postgresql"])?;
    find_postgres().context(
        "the package `postgresql` is installed, but holds no server of version 14 or newer; install one \
         and put its `bin` directory into PATH",
    )
}

/// Makes sure that Python can make virtual environments.
pub(crate) fn python() -> Result<()> {
    let works = || succeeds(Command::new("python3").args(["-c", "import venv, ensurepip"]));
    if works() {
        return Ok(());
    }
    install("Python with venv", &["python3", "python3-venv"])?;
    if works() {
        return Ok(());
    }
    bail!("python3 cannot make virtual environments: `python3 -c 'import venv, ensurepip'` fails")
}

/// Makes sure that npm is there.
pub(crate) fn npm() -> Result<()> {
    if succeeds(Command::new("npm").arg("--version")) {
        return Ok(());
    }
    install("npm", &["npm"])
}

/// Makes sure that there is a C++ compiler: the one that `CXX` names, or `c++`.
pub(crate) fn cxx() -> Result<()> {
    let named = env::var_os("CXX").filter(|name| !name.is_empty());
    if let Some(name) = named {
        if succeeds(Command::new(&name).arg("--version")) {
            return Ok(());
        }
        bail!("CXX names no C++ compiler: `{} --version` fails", name.display())
    }
    if succeeds(Command::new("c++").arg("--version")) {
        return Ok(());
    }
    install("a C++ compiler", &["g++"])
}

fn find_postgres() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = env::split_paths(&path).collect();
    if let Ok(dir) = output(Command::new("pg_config").arg("--bindir")) {
        places.push(PathBuf::from(dir.trim()));
    }
    for (parent, below) in
        [("/usr/lib/postgresql", "bin"), ("/opt/homebrew/opt", "bin"), ("/usr/local/opt", "bin")]
    {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            places.push(entry.path().join(below));
        }
    }
    places.into_iter().find(|place| {
        place.join("initdb").is_file() && version(&place.join("postgres")) >= Some(POSTGRES_MIN)
    })
}

/// The major version that `postgres --version` tells: `postgres (PostgreSQL) 15.18 (Debian …)`.
fn version(postgres: &Path) -> Option<u32> {
    if !postgres.is_file() {
        return None;
    }
    let said = output(Command::new(postgres).arg("--version")).ok()?;
    major(&said)
}

fn major(said: &str) -> Option<u32> {
    let number = said.split_once(") ")?.1;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Installs Debian packages if that can be done without asking, or says how to.
fn install(what: &str, packages: &[&str]) -> Result<()> {
    let by_hand = format!("apt-get install -y {}", packages.join(" "));
    if !rustix::process::geteuid().is_root() {
        bail!("{what} is missing; install it, on Debian and Ubuntu with `sudo {by_hand}`");
    }
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!(
            "{what} is missing, and apt-get is too; install it with this system's package manager"
        );
    }
    eprintln!("{what} is missing: running `{by_hand}`");
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).args(["-q", "-y"]);
        command
    };
    status(apt().arg("update"))?;
    status(apt().args(["install", "--no-install-recommends"]).args(packages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        let cases = [
            ("", None),
            ("postgres", None),
            ("postgres (PostgreSQL) devel", None),
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 9.6.24\n", Some(9)),
            ("postgres (PostgreSQL) 19beta1\n", Some(19)),
        ];
        for (said, wanted) in cases {
            assert_eq!(major(said), wanted, "{said}");
        }
    }
}
