//! Deployment-wide values made at run time.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};

use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::site_configs;

/// The key of the deployment's identifier.
pub const DEPLOYMENT_ID: &str = "deployment_id";

/// Returns the value of a key, after storing `value` if there was none.
#[derive(Debug)]
pub struct GetOrInsert {
    /// Which.
    pub key: &'static str,
    /// Taken only when the key is new.
    pub value: String,
}

impl Query for GetOrInsert {
    const NAME: &'static str = "site_configs.get_or_insert";
    type Out = String;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, Object::new(Resource::DeploymentConfig))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, String> {
        Box::pin(async move {
            diesel::insert_into(site_configs::table)
                .values((site_configs::key.eq(self.key), site_configs::value.eq(&self.value)))
                .on_conflict_do_nothing()
                .execute(db.conn())
                .await?;
            Ok(site_configs::table
                .find(self.key)
                .select(site_configs::value)
                .first(db.conn())
                .await?)
        })
    }
}

crate::queries![GetOrInsert];
