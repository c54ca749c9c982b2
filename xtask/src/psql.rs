//! PostgreSQL's own client: what was stored, told by the database itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::tree::output;

/// PostgreSQL's own client, with the address in its environment.
#[derive(Clone)]
pub(crate) struct Psql {
    program: PathBuf,
    address: [(&'static str, String); 5],
}

impl Psql {
    /// `bin`: where PostgreSQL's programs lie. `url`: `postgres://user:password@host:port/database?…`.
    pub(crate) fn new(bin: &Path, url: &str) -> Result<Self> {
        let parts = || {
            let (user, rest) = url.split_once("://")?.1.split_once('@')?;
            let (user, password) = user.split_once(':')?;
            let (place, database) = rest.split_once('/')?;
            let (host, port) = place.rsplit_once(':')?;
            let database = database.split('?').next()?;
            Some([
                ("PGUSER", user.to_owned()),
                ("PGPASSWORD", password.to_owned()),
                ("PGHOST", host.to_owned()),
                ("PGPORT", port.to_owned()),
                ("PGDATABASE", database.to_owned()),
            ])
        };
        let address = parts().context("the database's address is not as expected")?;
        let own = bin.join("psql");
        let program = if own.is_file() { own } else { PathBuf::from("psql") };
        Ok(Self { program, address })
    }

    /// Runs a statement and returns what it yields, a line a row.
    pub(crate) fn run(&self, sql: &str) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.envs(self.address.iter().map(|(name, value)| (name, value)));
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        output(&mut command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_for_the_environment() {
        let psql =
            Psql::new(Path::new("/nowhere"), "postgres://u:p@127.0.0.1:5433/d?sslmode=disable");
        let address = psql.unwrap().address;
        let wanted = ["u", "p", "127.0.0.1", "5433", "d"];
        assert!(address.iter().map(|(_, value)| value.as_str()).eq(wanted), "{address:?}");
        for url in ["", "postgres://u@h:1/d", "postgres://u:p@h/d", "postgres://u:p@h:1"] {
            assert!(Psql::new(Path::new("/nowhere"), url).is_err(), "{url}");
        }
    }
}
