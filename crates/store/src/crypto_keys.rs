//! Keys by which the deployment signs and seals its own tokens, one series for each feature.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::Secret;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Error;
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::crypto_keys;
use crate::sealed::columns::CRYPTO_KEY;
use crate::sealed::{Keys, Sealed};

/// Most keys of one feature that are read; a month apart, they last for eight years.
const KEYS_MAX: i64 = 100;

const ANY: Object<'static> = Object::new(Resource::CryptoKey);

/// A key of a feature, in hand.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct CryptoKey {
    pub id: Uuid,
    pub feature: String,
    pub sequence: i32,
    /// Hexadecimal. Absent once the key is deleted.
    pub secret: Option<Secret<String>>,
    pub starts_at: OffsetDateTime,
    pub deletes_at: Option<OffsetDateTime>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = crypto_keys, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    feature: String,
    sequence: i32,
    secret: Option<Sealed>,
    secret_key_id: Option<String>,
    starts_at: OffsetDateTime,
    deletes_at: Option<OffsetDateTime>,
}

impl Row {
    fn open(self, keys: Keys<'_>) -> Result<CryptoKey, Error> {
        let open =
            |value: &Sealed| keys.open(CRYPTO_KEY, self.id, value, self.secret_key_id.as_deref());
        Ok(CryptoKey {
            secret: self.secret.as_ref().map(open).transpose()?,
            id: self.id,
            feature: self.feature,
            sequence: self.sequence,
            starts_at: self.starts_at,
            deletes_at: self.deletes_at,
        })
    }
}

/// The newest keys of a feature, newest first, deleted ones included.
#[derive(Debug)]
pub struct ListCryptoKeys {
    /// Which series.
    pub feature: &'static str,
}

impl Query for ListCryptoKeys {
    const NAME: &'static str = "crypto_keys.list_crypto_keys";
    type Out = Vec<CryptoKey>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<CryptoKey>> {
        Box::pin(async move {
            let rows: Vec<Row> = crypto_keys::table
                .filter(crypto_keys::feature.eq(self.feature))
                .order(crypto_keys::sequence.desc())
                .limit(KEYS_MAX)
                .select(Row::as_select())
                .load(db.conn())
                .await?;
            rows.into_iter().map(|row| row.open(db.keys())).collect()
        })
    }
}

/// Adds a key to its series.
#[derive(Debug)]
pub struct InsertCryptoKey {
    /// Identifier.
    pub id: Uuid,
    /// Which series.
    pub feature: &'static str,
    /// One more than the newest.
    pub sequence: i32,
    /// Hexadecimal.
    pub secret: Secret<String>,
    /// From when on it is used.
    pub starts_at: OffsetDateTime,
}

impl Query for InsertCryptoKey {
    const NAME: &'static str = "crypto_keys.insert_crypto_key";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let sealed = db.keys().seal(CRYPTO_KEY, self.id, &self.secret)?;
            diesel::insert_into(crypto_keys::table)
                .values((
                    crypto_keys::id.eq(self.id),
                    crypto_keys::feature.eq(self.feature),
                    crypto_keys::sequence.eq(self.sequence),
                    crypto_keys::secret.eq(sealed.value),
                    crypto_keys::secret_key_id.eq(sealed.key_id),
                    crypto_keys::starts_at.eq(self.starts_at),
                ))
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

/// Says when a key is deleted: what it signed must have expired by then.
#[derive(Debug)]
pub struct RetireCryptoKey {
    /// Which.
    pub id: Uuid,
    /// When.
    pub deletes_at: OffsetDateTime,
}

impl Query for RetireCryptoKey {
    const NAME: &'static str = "crypto_keys.retire_crypto_key";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            diesel::update(crypto_keys::table.find(self.id))
                .set(crypto_keys::deletes_at.eq(self.deletes_at))
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

/// Forgets the secrets of keys whose time has come. The rows stay, so that sequences never repeat. Yields how many.
#[derive(Debug)]
pub struct DeleteCryptoKeys {
    /// The current time.
    pub now: OffsetDateTime,
}

impl Query for DeleteCryptoKeys {
    const NAME: &'static str = "crypto_keys.delete_crypto_keys";
    type Out = usize;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, usize> {
        Box::pin(async move {
            let due = crypto_keys::table
                .filter(crypto_keys::deletes_at.le(self.now))
                .filter(crypto_keys::secret.is_not_null());
            Ok(diesel::update(due)
                .set((
                    crypto_keys::secret.eq(None::<Sealed>),
                    crypto_keys::secret_key_id.eq(None::<String>),
                ))
                .execute(db.conn())
                .await?)
        })
    }
}

crate::queries![ListCryptoKeys, InsertCryptoKey, RetireCryptoKey, DeleteCryptoKeys];
