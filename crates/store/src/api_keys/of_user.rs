use diesel::PgArrayExpressionMethods as _;
use diesel::dsl::not;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};
use stdx::ids::UserId;
use time::OffsetDateTime;

use super::{ApiKey, LIST_MAX, object};
use crate::Pk;
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::{api_keys, users};

/// Keys have no UUIDs, so an allow list of identifiers can name none of them.
const TERMS: Terms<api_keys::table> =
    Terms { owner: Some(|user| Box::new(api_keys::user_id.eq(user))), ..Terms::NONE };

/// Keys that the subject may read, last used first; at most 10,000. Absent fields do not narrow.
#[derive(Debug, Default)]
pub struct ListKeys {
    /// Of one user.
    pub user_id: Option<UserId>,
    /// Made in this way: `password`, `token`, `oidc`, ...
    pub login_type: Option<String>,
    /// Leave out what expired before this instant.
    pub live_at: Option<OffsetDateTime>,
    /// Leave out what was not used after this instant.
    pub used_after: Option<OffsetDateTime>,
}

impl Query for ListKeys {
    const NAME: &'static str = "api_keys.list_keys";
    type Out = Vec<ApiKey>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::ApiKey, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let mut query = api_keys::table
                .order((api_keys::last_used.desc(), api_keys::id))
                .limit(LIST_MAX)
                .select(ApiKey::as_select())
                .into_boxed();
            if let Some(readable) = rows.condition(&TERMS) {
                query = query.filter(readable);
            }
            if let Some(user) = self.user_id {
                query = query.filter(api_keys::user_id.eq(Pk(user)));
            }
            if let Some(login_type) = &self.login_type {
                query = query.filter(api_keys::login_type.eq(login_type));
            }
            if let Some(now) = self.live_at {
                query = query.filter(api_keys::expires_at.gt(now));
            }
            if let Some(after) = self.used_after {
                query = query.filter(api_keys::last_used.gt(after));
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// The key that a user used last, if one has not expired and the account is neither deleted nor suspended.
#[derive(Debug)]
pub struct FindLastUsedId {
    /// Whose.
    pub user_id: UserId,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for FindLastUsedId {
    const NAME: &'static str = "api_keys.find_last_used_id";
    type Out = Option<String>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(api_keys::table
                .inner_join(users::table.on(users::id.eq(api_keys::user_id)))
                .filter(api_keys::user_id.eq(Pk(self.user_id)))
                .filter(api_keys::expires_at.gt(self.now))
                .filter(not(users::deleted))
                .filter(users::status.ne("suspended"))
                .order((api_keys::last_used.desc(), api_keys::id))
                .select(api_keys::id)
                .first(db.conn())
                .await
                .optional()?)
        })
    }
}

/// Deletes all keys of a user, or those that only connect to applications. Yields their identifiers, which whoever
/// remembers keys has to be told.
#[derive(Debug)]
pub struct DeleteKeysOfUser {
    /// Whose.
    pub user_id: UserId,
    /// Only those that hold the scope for applications of workspaces.
    pub only_application_connect: bool,
}

impl Query for DeleteKeysOfUser {
    const NAME: &'static str = "api_keys.delete_keys_of_user";
    type Out = Vec<String>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let mut keys = diesel::delete(api_keys::table)
                .filter(api_keys::user_id.eq(Pk(self.user_id)))
                .into_boxed();
            if self.only_application_connect {
                keys = keys.filter(api_keys::scopes.contains(vec!["coder:application_connect"]));
            }
            Ok(keys.returning(api_keys::id).get_results(db.conn()).await?)
        })
    }
}
