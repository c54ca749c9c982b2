//! The type that a secret has at rest.
//!
//! Columns of the SQL domain `sealed_text` accept and yield [`Sealed`] and nothing else, and only the
//! keyring in a [`Db`](crate::Db) turns a [`Secret`] into one or back. A plain `String` does not fit:
//!
//! ```compile_fail,E0277
//! use diesel::ExpressionMethods as _;
//! let _ = store::schema::ai_provider_keys::api_key.eq("sk-plain".to_owned());
//! ```
//!
//! A sealed value cannot be made by hand either:
//!
//! ```compile_fail,E0423
//! let _ = store::Sealed(String::from("sk-plain"));
//! ```

use std::fmt;
use std::io::Write as _;

use crypt::{Keyring, Place};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::SqlType;
use stdx::{Rng, Secret};
use uuid::Uuid;

use crate::Error;

pub mod columns;

pub use columns::SealedColumn;

/// The SQL domain `sealed_text`; on the wire it is `text`.
#[derive(Clone, Copy, Debug, SqlType, QueryId)]
#[diesel(postgres_type(oid = 25, array_oid = 1009))]
pub struct SealedText;

/// A secret at rest: ciphertext, or plaintext while the deployment has no encryption keys.
#[derive(Clone, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = SealedText)]
pub struct Sealed(String);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[sealed]")
    }
}

impl FromSql<SealedText, Pg> for Sealed {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(std::str::from_utf8(value.as_bytes())?.to_owned()))
    }
}

impl ToSql<SealedText, Pg> for Sealed {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(self.0.as_bytes())?;
        Ok(IsNull::No)
    }
}

/// A sealed value and the digest of the key that sealed it; the two columns always travel together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPair {
    /// For the value column.
    pub value: Sealed,
    /// For the key-id column: absent when the value is not encrypted.
    pub key_id: Option<String>,
}

/// Seals and opens values with the deployment's keys.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    pub(crate) ring: &'a Keyring,
    pub(crate) rng: &'a dyn Rng,
}

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys<'_> {
    /// Seals `secret` for one row of a column. An empty one stays as it is where the column says that it is none.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the cipher fails.
    pub fn seal(
        &self,
        at: SealedColumn,
        row: Uuid,
        secret: &Secret<String>,
    ) -> Result<SealedPair, Error> {
        if at.blank_is_none && secret.expose().is_empty() {
            return Ok(SealedPair { value: Sealed(String::new()), key_id: None });
        }
        let sealed = self
            .ring
            .seal(place(at, row), secret, self.rng)
            .map_err(|source| Error::seal(at, row, source))?;
        Ok(SealedPair { value: Sealed(sealed.text), key_id: sealed.key_digest })
    }

    /// Opens what [`Keys::seal`] made, or returns a value that was never encrypted as it is.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the key is unknown or the value was tampered with. Never holds the value.
    pub fn open(
        &self,
        at: SealedColumn,
        row: Uuid,
        value: &Sealed,
        key_id: Option<&str>,
    ) -> Result<Secret<String>, Error> {
        self.ring
            .open(place(at, row), &value.0, key_id)
            .map_err(|source| Error::open(at, row, source))
    }
}

fn place(at: SealedColumn, row: Uuid) -> Place<'static> {
    Place::new(at.table, at.column, row)
}
