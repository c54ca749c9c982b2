//! PostgreSQL, caches, change notices.

use std::path::PathBuf;

use stdx::Secret;

use super::{ALL, options};
use crate::check;
use crate::environment::Environment;
use crate::row::{Alias, Daemon};
use crate::value::{MaxIdle, PostgresAuth};

options! {
    /// PostgreSQL, caches, change notices.
    Database at "database" {
        /// URL of the PostgreSQL database (14 or newer). If it is not set, PostgreSQL is run from here.
        ///
        /// Special characters in user name and password must be URL-encoded.
        url: Option<Secret<String>> = "" {
            name: "Postgres Connection URL", env: "CODER_PG_CONNECTION_URL", flag: "postgres-url",
            json: "pg_connection_url", check: Some(check::postgres_url),
        },
        /// How connections prove who they are.
        auth: PostgresAuth = "password" {
            name: "Postgres Auth", env: "CODER_PG_AUTH", flag: "postgres-auth", yaml: "pgAuth",
            json: "pg_auth",
            aliases: &[Alias {
                env: "CODER_PG_CONNECTION_AUTH", flag: "postgres-connection-auth", yaml: "",
                deprecated: false,
            }],
        },
        /// Most connections that are open at once.
        max_open: u32 = "10" {
            name: "Postgres Connection Max Open", env: "CODER_PG_CONN_MAX_OPEN",
            flag: "postgres-conn-max-open", yaml: "pgConnMaxOpen", json: "pg_conn_max_open",
            range: Some((1, 10_000)),
        },
        /// Most connections that are kept idle: a number, or `auto` for a third of the open ones.
        max_idle: MaxIdle = "auto" {
            name: "Postgres Connection Max Idle", env: "CODER_PG_CONN_MAX_IDLE",
            flag: "postgres-conn-max-idle", yaml: "pgConnMaxIdle", json: "pg_conn_max_idle",
        },
        /// Directory in which the PostgreSQL that is run from here keeps its data.
        data_dir: Option<PathBuf> = "" {
            name: "Postgres Data Directory", env: "CODER_PG_DATA_DIR", flag: "postgres-data-dir",
            yaml: "pgDataDir",
            default_note: "/var/lib/coder/postgres for root, else coder/postgres in the user's state directory",
        },
        /// Directory for files that can be made again. Created with mode 0700; not to be shared.
        cache_dir: Option<PathBuf> = "" {
            name: "Cache Directory", env: "CODER_CACHE_DIRECTORY", flag: "cache-dir",
            yaml: "cacheDir", json: "cache_directory", computed: Some(cache_dir), daemons: ALL,
            default_note: "coder in the user's cache directory",
        },
        /// Where notices of changes go from replica to replica. Empty: through PostgreSQL.
        pubsub_url: Option<Secret<String>> = "" {
            name: "Pubsub URL", env: "CODER_PUBSUB_URL", flag: "pubsub-url",
            check: Some(check::pubsub_url),
        },
    }
}

impl Database {
    /// Most connections that are kept idle.
    #[must_use]
    pub const fn idle_connections_max(&self) -> u32 {
        match self.max_idle {
            MaxIdle::Auto => self.max_open / 3,
            MaxIdle::Count(count) => count,
        }
    }
}

/// The directory of programs of one user: `$own`, else `$xdg/sub`, else `~/home/sub`.
fn user_dir(env: &Environment, own: &str, xdg: &str, home: &str, sub: &str) -> Option<PathBuf> {
    if let Some(dir) = env.non_empty(own) {
        return Some(PathBuf::from(dir));
    }
    let base = match env.non_empty(xdg) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(env.non_empty("HOME")?).join(home),
    };
    Some(base.join(sub))
}

fn text(path: &std::path::Path) -> Option<String> {
    path.to_str().map(str::to_owned)
}

fn cache_dir(env: &Environment, _: Daemon) -> Option<String> {
    if let Some(dir) = env.non_empty("CACHE_DIRECTORY") {
        return text(&PathBuf::from(dir).join("coder"));
    }
    text(&user_dir(env, "", "XDG_CACHE_HOME", ".cache", "coder")?)
}

/// The gateway's spool, which must outlive restarts and so is no cache. Daemons of one user on one machine do
/// not get into each other's way.
pub(super) fn spool_dir(env: &Environment, daemon: Daemon) -> Option<String> {
    let state = user_dir(env, "STATE_DIRECTORY", "XDG_STATE_HOME", ".local/state", "coder")?;
    text(&state.join("spool").join(daemon.as_str()))
}
