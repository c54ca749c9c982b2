//! Sessions and tokens.

mod of_user;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use ipnet::IpNet;
use rbac::{Action, Object, Resource};
use stdx::ids::UserId;
use time::OffsetDateTime;

use crate::Pk;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::{api_keys, users};

pub use of_user::{DeleteKeysOfUser, FindLastUsedId, ListKeys};

/// Most keys a list returns.
const LIST_MAX: i64 = 10_000;

/// A row of `api_keys`. The hash of the secret never leaves this type's module and the authenticator.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = api_keys, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct ApiKey {
    pub id: String,
    pub hashed_secret: Vec<u8>,
    pub user_id: Pk<UserId>,
    pub last_used: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub login_type: String,
    pub lifetime_seconds: i64,
    pub ip_address: IpNet,
    pub token_name: String,
    pub scopes: Vec<String>,
    pub allow_list: Vec<String>,
}

impl ApiKey {
    /// The object that rules speak of. Key identifiers are no UUIDs, so rules cannot name one key.
    #[must_use]
    pub const fn object(&self) -> Object<'static> {
        object(self.user_id.0)
    }
}

const fn object(owner: UserId) -> Object<'static> {
    Object::new(Resource::ApiKey).owner(owner)
}

/// Stores a key. Needs `create` on the keys of its user.
#[derive(Clone, Debug)]
pub struct InsertApiKey(pub ApiKey);

impl Query for InsertApiKey {
    const NAME: &'static str = "api_keys.insert_api_key";
    type Out = Change<ApiKey>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, self.0.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<ApiKey>> {
        Box::pin(async move {
            let key = diesel::insert_into(api_keys::table)
                .values(&self.0)
                .returning(ApiKey::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(key))
        })
    }
}

/// A key by its public identifier.
#[derive(Debug)]
pub struct GetApiKey {
    /// The part of the token before the hyphen.
    pub id: String,
}

impl Query for GetApiKey {
    const NAME: &'static str = "api_keys.get_api_key";
    type Out = ApiKey;

    fn access(&self) -> Access<Self> {
        Access::After(|key: &ApiKey| vec![check(Action::Read, key.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ApiKey> {
        Box::pin(async move {
            Ok(api_keys::table.find(&self.id).select(ApiKey::as_select()).first(db.conn()).await?)
        })
    }
}

/// A token by its name.
#[derive(Debug)]
pub struct GetTokenByName {
    /// Whose.
    pub user_id: UserId,
    /// Its name, exact.
    pub token_name: String,
}

impl Query for GetTokenByName {
    const NAME: &'static str = "api_keys.get_token_by_name";
    type Out = ApiKey;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ApiKey> {
        Box::pin(async move {
            Ok(api_keys::table
                .filter(api_keys::user_id.eq(Pk(self.user_id)))
                .filter(api_keys::token_name.eq(&self.token_name))
                .filter(api_keys::login_type.eq("token"))
                .select(ApiKey::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// The rows of a list of keys, each with its owner.
type WithOwner = diesel::helper_types::InnerJoinQuerySource<
    api_keys::table,
    users::table,
    diesel::dsl::Eq<users::id, api_keys::user_id>,
>;

/// Keys have no UUIDs, so an allow list of identifiers can name none of them.
const TERMS: Terms<WithOwner> =
    Terms { owner: Some(|user| Box::new(api_keys::user_id.eq(user))), ..Terms::NONE };

/// Tokens that the subject may read, newest first, with their owners' names. At most 10,000.
#[derive(Debug)]
pub struct ListTokens {
    /// Of one user, or of everybody.
    pub user_id: Option<UserId>,
    /// Leave out what expired before this instant; `None` keeps all.
    pub live_at: Option<OffsetDateTime>,
}

impl Query for ListTokens {
    const NAME: &'static str = "api_keys.list_tokens";
    type Out = Vec<(ApiKey, String)>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::ApiKey, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let mut query = api_keys::table
                .inner_join(users::table.on(users::id.eq(api_keys::user_id)))
                .filter(api_keys::login_type.eq("token"))
                .order((api_keys::created_at.desc(), api_keys::id))
                .limit(LIST_MAX)
                .select((ApiKey::as_select(), users::username))
                .into_boxed();
            if let Some(readable) = rows.condition(&TERMS) {
                query = query.filter(readable);
            }
            if let Some(user) = self.user_id {
                query = query.filter(api_keys::user_id.eq(Pk(user)));
            }
            if let Some(now) = self.live_at {
                query = query.filter(api_keys::expires_at.gt(now));
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// Notes a use: last use, address, and the new end of a sliding session. Changes nothing if the key's end is no
/// longer the one that was read: a key that was ended meanwhile must not come back to life.
#[derive(Debug)]
pub struct TouchApiKey {
    /// Which.
    pub id: String,
    /// Whose, as read with the key.
    pub user_id: UserId,
    /// When it was used.
    pub now: OffsetDateTime,
    /// When it ends, as read with the key.
    pub known_expires_at: OffsetDateTime,
    /// When it ends from now on.
    pub expires_at: OffsetDateTime,
    /// From where.
    pub ip_address: IpNet,
}

impl Query for TouchApiKey {
    const NAME: &'static str = "api_keys.touch_api_key";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            diesel::update(api_keys::table.find(&self.id))
                .filter(api_keys::user_id.eq(Pk(self.user_id)))
                .filter(api_keys::expires_at.eq(self.known_expires_at))
                .set((
                    api_keys::last_used.eq(self.now),
                    api_keys::expires_at.eq(self.expires_at),
                    api_keys::updated_at.eq(self.now),
                    api_keys::ip_address.eq(self.ip_address),
                ))
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

/// Ends a key now; the row stays for the record.
#[derive(Debug)]
pub struct ExpireApiKey {
    /// Which.
    pub id: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for ExpireApiKey {
    const NAME: &'static str = "api_keys.expire_api_key";
    type Out = Change<ApiKey>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(
                async move { Ok(vec![check(Action::Update, lock(db, &query.id).await?.object())]) },
            )
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<ApiKey>> {
        Box::pin(async move {
            let old = lock(db, &self.id).await?;
            let new = diesel::update(api_keys::table.find(&self.id))
                .set((api_keys::expires_at.eq(self.now), api_keys::updated_at.eq(self.now)))
                .returning(ApiKey::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// Deletes a key.
#[derive(Debug)]
pub struct DeleteApiKey {
    /// Which.
    pub id: String,
}

impl Query for DeleteApiKey {
    const NAME: &'static str = "api_keys.delete_api_key";
    type Out = Change<ApiKey>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(
                async move { Ok(vec![check(Action::Delete, lock(db, &query.id).await?.object())]) },
            )
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<ApiKey>> {
        Box::pin(async move {
            let old = diesel::delete(api_keys::table.find(&self.id))
                .returning(ApiKey::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::deleted(old))
        })
    }
}

async fn lock(db: &mut Db<'_>, id: &str) -> Result<ApiKey, crate::Error> {
    Ok(api_keys::table.find(id).select(ApiKey::as_select()).for_update().first(db.conn()).await?)
}

crate::queries![
    InsertApiKey,
    GetApiKey,
    GetTokenByName,
    ListTokens,
    TouchApiKey,
    ExpireApiKey,
    DeleteApiKey,
    ListKeys,
    FindLastUsedId,
    DeleteKeysOfUser,
];
