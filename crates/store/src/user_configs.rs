//! Settings of one user, such as the theme.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::ids::UserId;

use crate::Pk;
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::user_configs;
use crate::users::object;

/// Most settings of one user that are read.
const LIST_MAX: i64 = 1_000;

/// The settings of a user, in the order of their keys; at most 1,000.
#[derive(Debug)]
pub struct ListUserConfigs {
    /// Whose.
    pub user_id: UserId,
}

impl Query for ListUserConfigs {
    const NAME: &'static str = "user_configs.list_user_configs";
    /// Key and value.
    type Out = Vec<(String, String)>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::ReadPersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(user_configs::table
                .filter(user_configs::user_id.eq(Pk(self.user_id)))
                .order(user_configs::key)
                .limit(LIST_MAX)
                .select((user_configs::key, user_configs::value))
                .load(db.conn())
                .await?)
        })
    }
}

/// Sets one of a user's settings.
#[derive(Debug)]
pub struct SetUserConfig {
    /// Whose.
    pub user_id: UserId,
    /// Which; at most 256 characters.
    pub key: String,
    /// To what.
    pub value: String,
}

impl Query for SetUserConfig {
    const NAME: &'static str = "user_configs.set_user_config";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            diesel::insert_into(user_configs::table)
                .values((
                    user_configs::user_id.eq(Pk(self.user_id)),
                    user_configs::key.eq(&self.key),
                    user_configs::value.eq(&self.value),
                ))
                .on_conflict((user_configs::user_id, user_configs::key))
                .do_update()
                .set(user_configs::value.eq(&self.value))
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

crate::queries![ListUserConfigs, SetUserConfig];
