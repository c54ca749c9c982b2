//! Deployment-wide values made at run time.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};

use crate::Error;
use crate::query::{Access, Change, Db, Fut, IS_NEW, Permit, Query, check};
use crate::schema::site_configs;

const ANY: Object<'static> = Object::new(Resource::DeploymentConfig);

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
        Access::Before(vec![check(Action::Update, ANY)])
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

/// Longest key of a setting, in bytes.
pub const KEY_BYTES_MAX: usize = 256;

/// What the deployment was told while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = site_configs, check_for_backend(diesel::pg::Pg))]
pub struct Setting {
    /// At most [`KEY_BYTES_MAX`]; settings of an organization begin with its id.
    pub key: String,
    /// Text that only its readers understand.
    pub value: String,
}

/// Refuses keys that are too long, empty, or of values that are not settings: nobody may change who the deployment is.
fn settable(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::Unfit("keys of settings have 1 to 256 bytes".into()));
    }
    if key == DEPLOYMENT_ID {
        return Err(Error::Unfit("this key is not one of a setting".into()));
    }
    Ok(())
}

/// A setting by its key.
#[derive(Debug)]
pub struct GetSetting {
    /// Which.
    pub key: String,
}

impl Query for GetSetting {
    const NAME: &'static str = "site_configs.get_setting";
    type Out = Setting;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Setting> {
        Box::pin(async move {
            settable(&self.key)?;
            let row = site_configs::table.find(&self.key);
            Ok(row.select(Setting::as_select()).first(db.conn()).await?)
        })
    }
}

/// Sets a setting, whether there was one or not. [`Error::Unfit`] for a key that cannot be one.
#[derive(Debug)]
pub struct UpsertSetting {
    /// Which.
    pub key: String,
    /// From now on.
    pub value: String,
}

impl Query for UpsertSetting {
    const NAME: &'static str = "site_configs.upsert_setting";
    type Out = Change<Setting>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Setting>> {
        Box::pin(async move {
            settable(&self.key)?;
            // A row that is there is locked and yielded as it is: whoever sets the same key waits for the end of this.
            let (found, is_new): (Setting, bool) = diesel::insert_into(site_configs::table)
                .values((site_configs::key.eq(&self.key), site_configs::value.eq(&self.value)))
                .on_conflict(site_configs::key)
                .do_update()
                .set(site_configs::key.eq(excluded(site_configs::key)))
                .returning((Setting::as_returning(), sql::<Bool>(IS_NEW)))
                .get_result(db.conn())
                .await?;
            if is_new {
                return Ok(Change::created(found));
            }
            let new = diesel::update(site_configs::table.find(&self.key))
                .set(site_configs::value.eq(&self.value))
                .returning(Setting::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(found, new))
        })
    }
}

/// Forgets a setting, so that what is built in counts again.
#[derive(Debug)]
pub struct DeleteSetting {
    /// Which.
    pub key: String,
}

impl Query for DeleteSetting {
    const NAME: &'static str = "site_configs.delete_setting";
    type Out = Change<Setting>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Setting>> {
        Box::pin(async move {
            settable(&self.key)?;
            let old = diesel::delete(site_configs::table.find(&self.key))
                .returning(Setting::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::deleted(old))
        })
    }
}

crate::queries![GetOrInsert, GetSetting, UpsertSetting, DeleteSetting];
