//! Keys that users bring for their own requests to AI providers.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::Secret;
use stdx::ids::{ProviderId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::user_ai_provider_keys;
use crate::sealed::columns::OWN_PROVIDER_KEY;
use crate::sealed::{Keys, Sealed};
use crate::{Error, Pk, users};

/// Most keys of one user; there is one for a provider at most.
const KEYS_MAX: i64 = 1_000;

/// A user's key, in hand.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct OwnProviderKey {
    pub id: Uuid,
    pub user_id: UserId,
    pub provider_id: ProviderId,
    /// Empty if it cannot be opened.
    pub api_key: Secret<String>,
    /// Why it cannot be opened.
    pub fault: Option<String>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = user_ai_provider_keys, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    user_id: Pk<UserId>,
    ai_provider_id: Pk<ProviderId>,
    api_key: Sealed,
    api_key_key_id: Option<String>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl Row {
    fn open(self, keys: Keys<'_>) -> Result<OwnProviderKey, Error> {
        let key = self.api_key_key_id.as_deref();
        let api_key = keys.open(OWN_PROVIDER_KEY, self.id, &self.api_key, key)?;
        Ok(self.with(api_key, None))
    }

    /// A key that cannot be opened is listed, replaced and deleted without its text.
    fn show(self, keys: Keys<'_>) -> OwnProviderKey {
        let key = self.api_key_key_id.as_deref();
        match keys.open(OWN_PROVIDER_KEY, self.id, &self.api_key, key) {
            Ok(api_key) => self.with(api_key, None),
            Err(error) => self.with(Secret::default(), Some(stdx::chain(&error).to_string())),
        }
    }

    fn with(self, api_key: Secret<String>, fault: Option<String>) -> OwnProviderKey {
        OwnProviderKey {
            id: self.id,
            user_id: self.user_id.0,
            provider_id: self.ai_provider_id.0,
            api_key,
            fault,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// A user's key for a provider.
#[derive(Debug)]
pub struct GetOwnKey {
    /// Whose.
    pub user_id: UserId,
    /// For which provider.
    pub provider_id: ProviderId,
}

impl Query for GetOwnKey {
    const NAME: &'static str = "own_provider_keys.get_own_key";
    type Out = OwnProviderKey;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::ReadPersonal, users::object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, OwnProviderKey> {
        Box::pin(async move {
            let row: Row = user_ai_provider_keys::table
                .filter(user_ai_provider_keys::user_id.eq(Pk(self.user_id)))
                .filter(user_ai_provider_keys::ai_provider_id.eq(Pk(self.provider_id)))
                .select(Row::as_select())
                .first(db.conn())
                .await?;
            row.open(db.keys())
        })
    }
}

/// A user's keys, by provider.
#[derive(Debug)]
pub struct ListOwnKeys {
    /// Whose.
    pub user_id: UserId,
}

impl Query for ListOwnKeys {
    const NAME: &'static str = "own_provider_keys.list_own_keys";
    type Out = Vec<OwnProviderKey>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::ReadPersonal, users::object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<OwnProviderKey>> {
        Box::pin(async move {
            let rows: Vec<Row> = user_ai_provider_keys::table
                .filter(user_ai_provider_keys::user_id.eq(Pk(self.user_id)))
                .order(user_ai_provider_keys::ai_provider_id)
                .limit(KEYS_MAX)
                .select(Row::as_select())
                .load(db.conn())
                .await?;
            Ok(rows.into_iter().map(|row| row.show(db.keys())).collect())
        })
    }
}

/// Stores a user's key for a provider, in place of the one before.
#[derive(Debug)]
pub struct UpsertOwnKey {
    /// Of a new row.
    pub id: Uuid,
    /// Whose.
    pub user_id: UserId,
    /// For which provider.
    pub provider_id: ProviderId,
    /// Not empty.
    pub api_key: Secret<String>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpsertOwnKey {
    const NAME: &'static str = "own_provider_keys.upsert_own_key";
    type Out = Change<OwnProviderKey>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, users::object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        use user_ai_provider_keys as k;
        Box::pin(async move {
            // The value is sealed for its row, so the row has to be known first.
            let there: Option<Row> = k::table
                .filter(k::user_id.eq(Pk(self.user_id)))
                .filter(k::ai_provider_id.eq(Pk(self.provider_id)))
                .select(Row::as_select())
                .for_update()
                .first(db.conn())
                .await
                .optional()?;
            let id = there.as_ref().map_or(self.id, |row| row.id);
            let sealed = db.keys().seal(OWN_PROVIDER_KEY, id, &self.api_key)?;
            let (value, key) = (k::api_key.eq(&sealed.value), k::api_key_key_id.eq(&sealed.key_id));
            let row: Row = if there.is_some() {
                diesel::update(k::table.find(id))
                    .set((value, key, k::updated_at.eq(self.now)))
                    .returning(Row::as_returning())
                    .get_result(db.conn())
                    .await?
            } else {
                diesel::insert_into(k::table)
                    .values((
                        k::id.eq(id),
                        k::user_id.eq(Pk(self.user_id)),
                        k::ai_provider_id.eq(Pk(self.provider_id)),
                        value,
                        key,
                        k::created_at.eq(self.now),
                        k::updated_at.eq(self.now),
                    ))
                    .returning(Row::as_returning())
                    .get_result(db.conn())
                    .await?
            };
            let old = there.map(|row| row.show(db.keys()));
            Ok(Change { old, new: Some(row.open(db.keys())?) })
        })
    }
}

/// Removes a user's key for a provider.
#[derive(Debug)]
pub struct DeleteOwnKey {
    /// Whose.
    pub user_id: UserId,
    /// For which provider.
    pub provider_id: ProviderId,
}

impl Query for DeleteOwnKey {
    const NAME: &'static str = "own_provider_keys.delete_own_key";
    type Out = Change<OwnProviderKey>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, users::object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<OwnProviderKey>> {
        Box::pin(async move {
            let gone: Row = diesel::delete(user_ai_provider_keys::table)
                .filter(user_ai_provider_keys::user_id.eq(Pk(self.user_id)))
                .filter(user_ai_provider_keys::ai_provider_id.eq(Pk(self.provider_id)))
                .returning(Row::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::deleted(gone.show(db.keys())))
        })
    }
}

crate::queries![GetOwnKey, ListOwnKeys, UpsertOwnKey, DeleteOwnKey];
