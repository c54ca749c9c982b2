//! Finding an installed server.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use postgresql_commands::CommandBuilder as _;
use postgresql_commands::pg_config::PgConfigBuilder;
use postgresql_commands::postgres::PostgresBuilder;

use crate::Search;
use crate::account::Account;
use crate::child::{as_account, run};

/// The oldest major version that we work with.
pub(crate) const OLDEST: u32 = 14;
const VERSION_LIMIT: Duration = Duration::from_secs(5);

/// An installed server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// The directory of its programs.
    pub(crate) bin: PathBuf,
    pub(crate) major: u32,
}

/// Where packages put servers: directory, beginning of the name of a version, directory inside it.
const PLACES: [(&str, &str, &str); 8] = [
    ("/usr/lib/postgresql", "", "bin"),          // Debian, Ubuntu
    ("/usr", "pgsql-", "bin"),                   // PGDG for Fedora and RHEL
    ("/usr/lib", "postgresql", "bin"),           // openSUSE
    ("/usr/libexec", "postgresql", ""),          // Alpine
    ("/opt/homebrew/opt", "postgresql@", "bin"), // Homebrew, Apple silicon
    ("/usr/local/opt", "postgresql@", "bin"),    // Homebrew, Intel
    ("/usr/local", "pgsql", "bin"),              // built from source
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"), // Postgres.app
];

/// The first usable server, in the order of the search; else what was found and why it is not usable.
pub(crate) async fn find(
    search: &Search,
    downloaded: &[PathBuf],
    account: &Account,
    wanted: Option<u32>,
) -> Result<Server, Vec<String>> {
    let mut dirs = match search {
        Search::System => system_dirs(account).await,
        Search::Dirs(dirs) => dirs.clone(),
    };
    for place in downloaded {
        dirs.extend(versions(place, "", "bin"));
    }
    let (mut seen, mut refused) = (BTreeSet::new(), Vec::new());
    for bin in dirs {
        if !bin.is_absolute() || !bin.join("initdb").is_file() || !bin.join("postgres").is_file() {
            continue;
        }
        let real = fs::canonicalize(bin.join("postgres")).unwrap_or_else(|_| bin.join("postgres"));
        if !seen.insert(real) {
            continue;
        }
        match version(&bin, account).await {
            Err(why) => refused.push(format!("{} ({why})", bin.display())),
            Ok(major) if wanted.is_some_and(|wanted| wanted != major) || major < OLDEST => {
                refused.push(format!("{} (version {major})", bin.display()));
            }
            Ok(major) => return Ok(Server { bin, major }),
        }
    }
    Err(refused)
}

/// Asks the server itself, as the user that it shall run as: this shows that he may.
pub(crate) async fn version(bin: &Path, account: &Account) -> Result<u32, String> {
    let command = PostgresBuilder::new().program_dir(bin).version().build();
    let output = run("postgres", as_account(command, account), None, VERSION_LIMIT)
        .await
        .map_err(|error| stdx::chain(&error).to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_version(&text)
        .ok_or_else(|| format!("its version is unreadable: {}", stdx::cut(&text, 80)))
}

/// The major version in `postgres (PostgreSQL) 15.4 (Debian 15.4-1)`.
fn parse_version(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("(PostgreSQL)")?;
    let rest = rest.trim_start();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..digits)?.parse().ok()
}

async fn system_dirs(account: &Account) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let command = PgConfigBuilder::new().bindir().build();
    if let Ok(output) = run("pg_config", as_account(command, account), None, VERSION_LIMIT).await {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    for (place, prefix, inside) in PLACES {
        dirs.extend(versions(Path::new(place), prefix, inside));
    }
    dirs
}

/// The directories `<place>/<prefix>*/<inside>`, newest version first.
fn versions(place: &Path, prefix: &str, inside: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(place) else {
        return Vec::new();
    };
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let numbers = name
                .strip_prefix(prefix)?
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|part| part.parse().ok())
                .collect();
            Some((numbers, entry.path().join(inside)))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, dir)| dir).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn versions_are_read_as_servers_print_them() {
        let cases = [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta2", Some(18)),
            ("postgres (PostgreSQL) 17", Some(17)),
            ("postgres (PostgreSQL) 9.6.24", Some(9)),
            ("postgres (PostgreSQL) next", None),
            ("postgres (PostgreSQL) 99999999999", None),
            ("mysqld 8.0", None),
            ("", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse_version(text), want, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,20}(\\(PostgreSQL\\))?\\PC{0,20}") {
            let _ = parse_version(&text);
        }
    }

    /// A directory with programs that say they are PostgreSQL of a version.
    fn fake(place: &Path, name: &str, says: &str) -> PathBuf {
        let bin = place.join(name).join("bin");
        fs::create_dir_all(&bin).unwrap();
        for program in ["initdb", "postgres"] {
            let file = bin.join(program);
            fs::write(&file, format!("#!/bin/sh\n{says}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        bin
    }

    #[tokio::test]
    async fn the_first_fitting_server_is_taken_and_the_others_are_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let place = dir.path();
        let old = fake(place, "13", "echo 'postgres (PostgreSQL) 13.1'");
        let broken = fake(place, "16", "echo no loader >&2; exit 127");
        let good = fake(place, "9.15", "echo 'postgres (PostgreSQL) 15.4'");
        let newer = fake(place, "17", "echo 'postgres (PostgreSQL) 17.0'");
        assert_eq!(
            versions(place, "", "bin"),
            [newer.clone(), broken.clone(), old.clone(), good.clone()]
        );
        let account = Account::choose(None).unwrap();
        let search = Search::Dirs(vec![place.join("none"), old, broken, good.clone()]);
        let server = find(&search, &[], &account, None).await.unwrap();
        assert_eq!(server, Server { bin: good, major: 15 });
        let server = find(&search, &[place.to_path_buf()], &account, Some(17)).await.unwrap();
        assert_eq!(server, Server { bin: newer, major: 17 });
        let refused = find(&search, &[], &account, Some(16)).await.unwrap_err();
        assert_eq!(refused.len(), 3, "{refused:?}");
        for (text, part) in refused.iter().zip(["version 13", "no loader", "version 15"]) {
            assert!(text.contains(part), "{text}");
        }
    }
}
