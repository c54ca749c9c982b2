use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use time::OffsetDateTime;
use uuid::Uuid;

use crypt::signing::SigningKey;

use crate::Error;
use crate::locks::{self, Lock};
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::{audit_chain, audit_checkpoints, audit_signing_keys};
use crate::sealed::Sealed;
use crate::sealed::columns::AUDIT_SIGNING_KEY;

/// What a checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The chain has come so far.
    At,
    /// All rows up to this one were removed by retention; the chain goes on after it.
    Start,
}

impl Kind {
    /// The name in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::At => "at",
            Self::Start => "start",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        [Self::At, Self::Start].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What the hash of a row was at a time, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of the row.
    pub sequence: i64,
    /// What is said of it.
    pub kind: Kind,
    /// Of the row.
    pub hash: Vec<u8>,
    /// When, in microseconds.
    pub time: OffsetDateTime,
    /// Whose signature it is.
    pub signing_key_id: Uuid,
    /// Ed25519, 64 bytes.
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// What is signed: the bytes `audit checkpoint 1` and a zero byte, the kind as text and a zero byte, the sequence
    /// and the time in microseconds since 1970 as 8 bytes each, big-endian, the 16 bytes of the key's id, the hash.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let micros = self.time.unix_timestamp_nanos().div_euclid(1_000);
        let mut out = b"audit checkpoint 1\0".to_vec();
        out.extend_from_slice(self.kind.as_str().as_bytes());
        out.push(0);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&i64::try_from(micros).unwrap_or(i64::MAX).to_be_bytes());
        out.extend_from_slice(self.signing_key_id.as_bytes());
        out.extend_from_slice(&self.hash);
        out
    }
}

/// Signs how far the chain is, if there are new rows and either enough of them or the last checkpoint is old, and if
/// nobody else is at it.
#[derive(Debug)]
pub struct MakeCheckpoint {
    /// New rows that are enough.
    pub rows_min: i64,
    /// The last checkpoint is old if it is from before this, or from then.
    pub old: OffsetDateTime,
    /// Now.
    pub now: OffsetDateTime,
}

impl Query for MakeCheckpoint {
    const NAME: &'static str = "audit_chain.make_checkpoint";
    type Out = Option<Checkpoint>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, Object::new(Resource::AuditLog))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            if !locks::try_take(db, Lock::AuditCheckpoints).await? {
                return Ok(None);
            }
            let (sequence, hash): (i64, Vec<u8>) = audit_chain::table
                .select((audit_chain::sequence, audit_chain::hash))
                .first(db.conn())
                .await?;
            let last: Option<(i64, OffsetDateTime)> = audit_checkpoints::table
                .order((audit_checkpoints::sequence.desc(), audit_checkpoints::time.desc()))
                .select((audit_checkpoints::sequence, audit_checkpoints::time))
                .first(db.conn())
                .await
                .optional()?;
            let (covered, is_old) = last.map_or((0, true), |(at, time)| (at, time <= self.old));
            let new = sequence - covered;
            if new < 1 || (!is_old && new < self.rows_min) {
                return Ok(None);
            }
            sign(db, Kind::At, sequence, hash, self.now).await.map(Some)
        })
    }
}

/// Retires the key that signs checkpoints. The next one is signed by a new key; the old public half stays.
#[derive(Debug)]
pub struct RotateSigningKey {
    /// Now.
    pub now: OffsetDateTime,
}

impl Query for RotateSigningKey {
    const NAME: &'static str = "audit_chain.rotate_signing_key";
    type Out = ();
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, Object::new(Resource::AuditLog))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            locks::take(db, Lock::AuditCheckpoints).await?;
            diesel::update(audit_signing_keys::table)
                .filter(audit_signing_keys::retired_at.is_null())
                .set((
                    audit_signing_keys::retired_at.eq(self.now),
                    audit_signing_keys::private_key.eq(None::<Sealed>),
                    audit_signing_keys::private_key_key_id.eq(None::<String>),
                ))
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

/// Writes a checkpoint. The caller holds [`Lock::AuditCheckpoints`].
pub(super) async fn sign(
    db: &mut Db<'_>,
    kind: Kind,
    sequence: i64,
    hash: Vec<u8>,
    now: OffsetDateTime,
) -> Result<Checkpoint, Error> {
    let (signing_key_id, key) = current_key(db, now).await?;
    let nanos = now.nanosecond();
    let time = now.replace_nanosecond(nanos - nanos % 1_000).unwrap_or(now);
    let mut made = Checkpoint { sequence, kind, hash, time, signing_key_id, signature: Vec::new() };
    made.signature = key.sign(&made.message());
    diesel::insert_into(audit_checkpoints::table)
        .values((
            audit_checkpoints::sequence.eq(made.sequence),
            audit_checkpoints::kind.eq(made.kind.as_str()),
            audit_checkpoints::hash.eq(&made.hash),
            audit_checkpoints::time.eq(made.time),
            audit_checkpoints::signing_key_id.eq(made.signing_key_id),
            audit_checkpoints::signature.eq(&made.signature),
        ))
        .execute(db.conn())
        .await?;
    Ok(made)
}

/// The key that signs; a new one if there is none, or if it was lost with the key that sealed it.
async fn current_key(db: &mut Db<'_>, now: OffsetDateTime) -> Result<(Uuid, SigningKey), Error> {
    let found: Option<(Uuid, Option<Sealed>, Option<String>)> = audit_signing_keys::table
        .filter(audit_signing_keys::retired_at.is_null())
        .filter(audit_signing_keys::private_key.is_not_null())
        .select((
            audit_signing_keys::id,
            audit_signing_keys::private_key,
            audit_signing_keys::private_key_key_id,
        ))
        .first(db.conn())
        .await
        .optional()?;
    if let Some((id, Some(sealed), key_id)) = found {
        let text = db.keys().open(AUDIT_SIGNING_KEY, id, &sealed, key_id.as_deref())?;
        let key = SigningKey::read(&text).map_err(|_| Error::Corrupt {
            table: "audit_signing_keys",
            column: "private_key",
            row: id.to_string(),
        })?;
        return Ok((id, key));
    }
    let id = db.keys().rng.uuid_v7(now);
    let text = SigningKey::generate(db.keys().rng);
    let key = SigningKey::read(&text).map_err(|error| Error::Internal(Box::new(error)))?;
    let sealed = db.keys().seal(AUDIT_SIGNING_KEY, id, &text)?;
    diesel::insert_into(audit_signing_keys::table)
        .values((
            audit_signing_keys::id.eq(id),
            audit_signing_keys::created_at.eq(now),
            audit_signing_keys::public_key.eq(key.public_key()),
            audit_signing_keys::private_key.eq(Some(sealed.value)),
            audit_signing_keys::private_key_key_id.eq(sealed.key_id),
        ))
        .execute(db.conn())
        .await?;
    let public_key = crypt::hex(&key.public_key());
    tracing::info!(signing_key.id = %id, public_key, "new key for checkpoints of the audit log");
    Ok((id, key))
}
