use std::fmt;

use stdx::Secret;

/// Name of the database and of its owner.
pub(crate) const NAME: &str = "coder";

/// How to reach the server of a cluster.
#[derive(Clone)]
pub struct Connection {
    port: u16,
    password: Secret<String>,
}

impl Connection {
    pub(crate) const fn new(port: u16, password: Secret<String>) -> Self {
        Self { port, password }
    }

    /// `postgres://coder:<password>@127.0.0.1:<port>/coder?sslmode=disable`. The connection never leaves
    /// the machine, so it is not encrypted.
    #[must_use]
    pub fn url(&self) -> Secret<String> {
        let Self { port, password } = self;
        Secret::new(format!(
            "postgres://{NAME}:{}@127.0.0.1:{port}/{NAME}?sslmode=disable",
            password.expose()
        ))
    }

    /// A line for a shell that opens the database: `psql "<url>"`.
    #[must_use]
    pub fn psql_line(&self) -> Secret<String> {
        Secret::new(format!("psql \"{}\"", self.url().expose()))
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("port", &self.port).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_in_the_url_and_nowhere_else() {
        let connection = Connection::new(5433, Secret::from("planted"));
        assert_eq!(
            connection.psql_line().expose(),
            "psql \"postgres://coder:planted@127.0.0.1:5433/coder?sslmode=disable\""
        );
        assert!(!format!("{connection:?}").contains("planted"));
    }
}
