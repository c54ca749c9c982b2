use std::fmt;

use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use ipnet::IpNet;
use serde_json::value::RawValue;
use stdx::Secret;
use time::OffsetDateTime;
use tokio_postgres::Config;
use uuid::Uuid;

use super::checkpoint::{Checkpoint, Kind};
use super::entry::{Entry, Link};
use crate::Error;
use crate::connect::{ConnectError, dial};
use crate::error::Source;
use crate::migrate;
use crate::schema::{audit_chain, audit_checkpoints, audit_logs, audit_signing_keys};

/// The columns of [`StoredEntry`].
pub(super) const COLUMNS: &str = "id, time, user_id, organization_id, ip, user_agent, resource_type, resource_id, \
     resource_target, resource_icon, action, diff::text AS diff, status_code, \
     additional_fields::text AS additional_fields, request_id";

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No connection.
    #[error("could not connect to the database")]
    Connect(#[source] Source),
    /// The schema is another than this program's.
    #[error(
        "the schema of the database is not the one that this program knows: run the program that the servers run, or \
         start this one's server first"
    )]
    Schema,
    /// The database failed.
    #[error("the database failed")]
    Store(#[source] Error),
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<diesel::result::Error> for ReadError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Where the chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of the last row; 0 when there was never one.
    pub sequence: i64,
    /// Of the last row.
    pub hash: Vec<u8>,
    /// Whether rows from before the chain have got their places.
    pub adopted: bool,
}

/// A key that signed checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Which.
    pub id: Uuid,
    /// 32 bytes.
    pub bytes: Vec<u8>,
}

#[derive(QueryableByName)]
pub(super) struct StoredEntry {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    time: OffsetDateTime,
    #[diesel(sql_type = SqlUuid)]
    user_id: Uuid,
    #[diesel(sql_type = SqlUuid)]
    organization_id: Uuid,
    #[diesel(sql_type = Nullable<diesel::pg::sql_types::Inet>)]
    ip: Option<IpNet>,
    #[diesel(sql_type = Nullable<Text>)]
    user_agent: Option<String>,
    #[diesel(sql_type = Text)]
    resource_type: String,
    #[diesel(sql_type = SqlUuid)]
    resource_id: Uuid,
    #[diesel(sql_type = Text)]
    resource_target: String,
    #[diesel(sql_type = Text)]
    resource_icon: String,
    #[diesel(sql_type = Text)]
    action: String,
    #[diesel(sql_type = Text)]
    diff: String,
    #[diesel(sql_type = Integer)]
    status_code: i32,
    #[diesel(sql_type = Text)]
    additional_fields: String,
    #[diesel(sql_type = SqlUuid)]
    request_id: Uuid,
}

impl StoredEntry {
    pub(super) fn into_entry(self) -> Result<Entry, Error> {
        let json =
            |text| RawValue::from_string(text).map_err(|error| Error::Internal(Box::new(error)));
        Ok(Entry {
            id: self.id,
            time: self.time,
            user_id: self.user_id,
            organization_id: self.organization_id,
            ip: self.ip,
            user_agent: self.user_agent,
            resource_type: self.resource_type,
            resource_id: self.resource_id,
            resource_target: self.resource_target,
            resource_icon: self.resource_icon,
            action: self.action,
            diff: json(self.diff)?,
            status_code: self.status_code,
            additional_fields: json(self.additional_fields)?,
            request_id: self.request_id,
        })
    }
}

#[derive(QueryableByName)]
struct StoredRow {
    #[diesel(embed)]
    entry: StoredEntry,
    #[diesel(sql_type = BigInt)]
    sequence: i64,
    #[diesel(sql_type = Binary)]
    previous_hash: Vec<u8>,
    #[diesel(sql_type = Binary)]
    hash: Vec<u8>,
}

#[derive(QueryableByName)]
struct Stray {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// The way to the whole log for those who check or keep it: one state of the database, read without locks. No key is
/// needed.
pub struct Reader {
    conn: AsyncPgConnection,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// Connects to a database that a server has migrated.
    ///
    /// # Errors
    /// [`ReadError::Connect`], [`ReadError::Schema`].
    pub async fn open(url: &Secret<String>) -> Result<Self, ReadError> {
        let config: Config = url
            .expose()
            .parse()
            .map_err(|source| ReadError::Connect(Box::new(ConnectError::Url(source))))?;
        let mut conn =
            dial(&config).await.map_err(|source| ReadError::Connect(Box::new(source)))?;
        if !migrate::is_current(&mut conn).await? {
            return Err(ReadError::Schema);
        }
        conn.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        Ok(Self { conn })
    }

    /// Where the chain ends.
    ///
    /// # Errors
    /// [`ReadError::Store`], also if there is none.
    pub async fn head(&mut self) -> Result<Head, ReadError> {
        let (sequence, hash, adopted): (i64, Vec<u8>, Option<OffsetDateTime>) = audit_chain::table
            .select((audit_chain::sequence, audit_chain::hash, audit_chain::adopted_at))
            .first(&mut self.conn)
            .await?;
        Ok(Head { sequence, hash, adopted: adopted.is_some() })
    }

    /// All keys that ever signed, oldest first.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub async fn public_keys(&mut self) -> Result<Vec<PublicKey>, ReadError> {
        let keys: Vec<(Uuid, Vec<u8>)> = audit_signing_keys::table
            .order((audit_signing_keys::created_at, audit_signing_keys::id))
            .select((audit_signing_keys::id, audit_signing_keys::public_key))
            .load(&mut self.conn)
            .await?;
        Ok(keys.into_iter().map(|(id, bytes)| PublicKey { id, bytes }).collect())
    }

    /// The last checkpoint that says where the chain starts.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub async fn start(&mut self) -> Result<Option<Checkpoint>, ReadError> {
        let found: Option<Stored> = stored()
            .filter(audit_checkpoints::kind.eq(Kind::Start.as_str()))
            .order(audit_checkpoints::sequence.desc())
            .first(&mut self.conn)
            .await
            .optional()?;
        Ok(found.map(checkpoint).transpose()?)
    }

    /// Checkpoints of rows after `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub async fn checkpoints(
        &mut self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Checkpoint>, ReadError> {
        let found: Vec<Stored> = stored()
            .filter(audit_checkpoints::kind.eq(Kind::At.as_str()))
            .filter(audit_checkpoints::sequence.gt(after))
            .order(audit_checkpoints::sequence.asc())
            .limit(limit)
            .load(&mut self.conn)
            .await?;
        Ok(found.into_iter().map(checkpoint).collect::<Result<_, _>>()?)
    }

    /// Rows of the chain after `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub async fn rows(&mut self, after: i64, limit: i64) -> Result<Vec<(Link, Entry)>, ReadError> {
        let rows: Vec<StoredRow> = diesel::sql_query(format!(
            "SELECT {COLUMNS}, sequence, previous_hash, hash FROM audit_logs WHERE sequence > $1
              ORDER BY sequence LIMIT $2"
        ))
        .bind::<BigInt, _>(after)
        .bind::<BigInt, _>(limit)
        .load(&mut self.conn)
        .await?;
        rows.into_iter()
            .map(|StoredRow { entry, sequence, previous_hash, hash }| {
                Ok((Link { sequence, previous_hash, hash }, entry.into_entry()?))
            })
            .collect()
    }

    /// The last row of the chain from before an instant; 0 if there is none.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub async fn last_before(&mut self, time: OffsetDateTime) -> Result<i64, ReadError> {
        let last: Option<Option<i64>> = audit_logs::table
            .filter(audit_logs::time.lt(time))
            .select(diesel::dsl::max(audit_logs::sequence))
            .first(&mut self.conn)
            .await
            .optional()?;
        Ok(last.flatten().unwrap_or(0))
    }

    /// A row that is not in the chain, if there is one.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub async fn stray(&mut self) -> Result<Option<Uuid>, ReadError> {
        let found: Vec<Stray> = diesel::sql_query(
            "SELECT id FROM audit_logs WHERE sequence IS NULL ORDER BY sequence, time, id LIMIT 1",
        )
        .load(&mut self.conn)
        .await?;
        Ok(found.into_iter().map(|stray| stray.id).next())
    }
}

type Stored = (i64, String, Vec<u8>, OffsetDateTime, Uuid, Vec<u8>);

#[diesel::dsl::auto_type(no_type_alias)]
fn stored() -> _ {
    audit_checkpoints::table.select((
        audit_checkpoints::sequence,
        audit_checkpoints::kind,
        audit_checkpoints::hash,
        audit_checkpoints::time,
        audit_checkpoints::signing_key_id,
        audit_checkpoints::signature,
    ))
}

fn checkpoint(
    (sequence, kind, hash, time, signing_key_id, signature): Stored,
) -> Result<Checkpoint, Error> {
    let kind = Kind::of(&kind).ok_or_else(|| Error::Corrupt {
        table: "audit_checkpoints",
        column: "kind",
        row: sequence.to_string(),
    })?;
    Ok(Checkpoint { sequence, kind, hash, time, signing_key_id, signature })
}
