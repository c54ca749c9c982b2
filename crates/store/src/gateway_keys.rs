//! The keys by which gateway daemons prove who they are.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::GatewayKeyId;
use time::OffsetDateTime;

use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::ai_gateway_keys;
use crate::{Error, Pk};

/// Most keys a list returns.
const LIST_MAX: i64 = 10_000;
/// How far a recorded use may lie behind: a write per request would cost more than the request.
const USE_GRANULARITY: time::Duration = time::Duration::MINUTE;

const ANY: Object<'static> = Object::new(Resource::AiGatewayKey);

const fn object(id: GatewayKeyId) -> Object<'static> {
    ANY.id(id.uuid())
}

/// A row of `ai_gateway_keys` with all that may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = ai_gateway_keys, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct GatewayKey {
    pub id: Pk<GatewayKeyId>,
    pub created_at: OffsetDateTime,
    pub name: String,
    pub secret_prefix: String,
    pub last_used_at: Option<OffsetDateTime>,
}

/// The whole row. Only who makes, checks or removes a key has it in hand.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = ai_gateway_keys, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct HashedGatewayKey {
    pub id: Pk<GatewayKeyId>,
    pub created_at: OffsetDateTime,
    pub name: String,
    pub secret_prefix: String,
    pub hashed_secret: Vec<u8>,
    pub last_used_at: Option<OffsetDateTime>,
}

/// Stores a key. Its name, prefix and hash must be new.
#[derive(Clone, Debug)]
pub struct InsertGatewayKey(pub HashedGatewayKey);

impl Query for InsertGatewayKey {
    const NAME: &'static str = "gateway_keys.insert_gateway_key";
    type Out = Change<HashedGatewayKey>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let row = diesel::insert_into(ai_gateway_keys::table)
                .values(&self.0)
                .returning(HashedGatewayKey::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(row))
        })
    }
}

/// All keys, oldest first, without their hashes. At most 10,000.
#[derive(Debug)]
pub struct ListGatewayKeys;

impl Query for ListGatewayKeys {
    const NAME: &'static str = "gateway_keys.list_gateway_keys";
    type Out = Vec<GatewayKey>;

    fn access(&self) -> Access<Self> {
        // They belong to the deployment: who may read one may read all.
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<GatewayKey>> {
        Box::pin(async move {
            Ok(ai_gateway_keys::table
                .order((ai_gateway_keys::created_at, ai_gateway_keys::id))
                .limit(LIST_MAX)
                .select(GatewayKey::as_select())
                .load(db.conn())
                .await?)
        })
    }
}

/// The key with this hash, if there is one.
#[derive(Debug)]
pub struct FindByHash {
    /// SHA-256 of what was presented.
    pub hashed_secret: Vec<u8>,
}

impl Query for FindByHash {
    const NAME: &'static str = "gateway_keys.find_by_hash";
    type Out = Option<HashedGatewayKey>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(ai_gateway_keys::table
                .filter(ai_gateway_keys::hashed_secret.eq(&self.hashed_secret))
                .select(HashedGatewayKey::as_select())
                .first(db.conn())
                .await
                .optional()?)
        })
    }
}

/// Which of these keys still exist.
#[derive(Debug)]
pub struct ListExisting {
    /// Identifiers to ask for.
    pub ids: Vec<GatewayKeyId>,
}

impl Query for ListExisting {
    const NAME: &'static str = "gateway_keys.list_existing";
    type Out = Vec<GatewayKeyId>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let ids: Vec<Pk<GatewayKeyId>> = ai_gateway_keys::table
                .filter(ai_gateway_keys::id.eq_any(self.ids.iter().copied().map(Pk)))
                .select(ai_gateway_keys::id)
                .load(db.conn())
                .await?;
            Ok(ids.into_iter().map(|id| id.0).collect())
        })
    }
}

/// Notes the use of keys. A use within a minute of the last recorded one changes nothing.
#[derive(Debug)]
pub struct TouchGatewayKeys {
    /// Which.
    pub ids: Vec<GatewayKeyId>,
    /// When they were used.
    pub now: OffsetDateTime,
}

impl Query for TouchGatewayKeys {
    const NAME: &'static str = "gateway_keys.touch_gateway_keys";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let is_behind = ai_gateway_keys::last_used_at
                .is_null()
                .or(ai_gateway_keys::last_used_at.le(self.now - USE_GRANULARITY));
            diesel::update(ai_gateway_keys::table)
                .filter(ai_gateway_keys::id.eq_any(self.ids.iter().copied().map(Pk)))
                .filter(is_behind.assume_not_null())
                .set(ai_gateway_keys::last_used_at.eq(self.now))
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

/// Deletes a key for good. No such key is no error: it is gone, as asked.
#[derive(Debug)]
pub struct DeleteGatewayKey {
    /// Which.
    pub id: GatewayKeyId,
}

impl Query for DeleteGatewayKey {
    const NAME: &'static str = "gateway_keys.delete_gateway_key";
    type Out = Option<Change<HashedGatewayKey>>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let old = diesel::delete(ai_gateway_keys::table.find(Pk(self.id)))
                .returning(HashedGatewayKey::as_returning())
                .get_result(db.conn())
                .await
                .optional()
                .map_err(Error::from)?;
            Ok(old.map(Change::deleted))
        })
    }
}

crate::queries![
    InsertGatewayKey,
    ListGatewayKeys,
    FindByHash,
    ListExisting,
    TouchGatewayKeys,
    DeleteGatewayKey,
];
