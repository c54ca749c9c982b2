//! OAuth2 clients: those that administrators made, and those that registered themselves.

mod list;
mod registered;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use ipnet::IpNet;
use rbac::{Action, Object, Resource};
use serde_json::Value;
use stdx::ids::Oauth2AppId;
use time::OffsetDateTime;

use crate::oauth2_tokens::{Ended, keys_of_app};
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::oauth2_provider_apps as apps;
use crate::{Error, Pk};

pub use list::{CountApps, ListApps, ListAppsOfUser, PAGE_MAX};
pub use registered::{
    ClientMetadata, DeleteUnusedApps, FindRegistration, SetRegistrationToken, UpdateMetadata,
};

/// How far a recorded use may lie behind: a write per request would cost more than the request.
pub(crate) const USE_GRANULARITY: time::Duration = time::Duration::MINUTE;

/// All of them. They belong to nobody: whoever registers one has no rights on it but those of its token.
const ANY: Object<'static> = Object::new(Resource::Oauth2App);

const fn object(id: Oauth2AppId) -> Object<'static> {
    ANY.id(id.uuid())
}

const TERMS: Terms<apps::table> =
    Terms { id: Some(|ids| Box::new(apps::id.eq_any(ids))), ..Terms::NONE };

/// A row of `oauth2_provider_apps` with all that may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = apps, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct App {
    pub id: Pk<Oauth2AppId>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    /// Up to 64 characters; others may have the same.
    pub name: String,
    pub icon: String,
    /// Where users are sent back to when the client does not say where.
    pub callback_url: String,
    /// All that the client may name; empty: the callback alone.
    pub redirect_uris: Vec<String>,
    /// `confidential` or `public`. Never changes.
    pub client_type: String,
    pub dynamically_registered: bool,
    pub client_id_issued_at: Option<OffsetDateTime>,
    pub client_secret_expires_at: Option<OffsetDateTime>,
    pub grant_types: Vec<String>,
    pub response_types: Vec<String>,
    /// `client_secret_basic`, `client_secret_post` or `none`.
    pub token_endpoint_auth_method: String,
    /// Separated by spaces; empty: no limit.
    pub scope: String,
    pub contacts: Vec<String>,
    pub client_uri: Option<String>,
    pub logo_uri: Option<String>,
    pub tos_uri: Option<String>,
    pub policy_uri: Option<String>,
    pub jwks_uri: Option<String>,
    pub jwks: Option<Value>,
    pub software_id: Option<String>,
    pub software_version: Option<String>,
    pub registration_client_uri: Option<String>,
    pub registered_from_ip: Option<IpNet>,
    pub last_used_at: Option<OffsetDateTime>,
}

/// The whole row. Only who makes a client, or checks by which token it manages itself, has it in hand.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = apps, check_for_backend(diesel::pg::Pg))]
pub struct RegisteredApp {
    /// What may be shown.
    #[diesel(embed)]
    pub app: App,
    /// SHA-256 of the token by which the client manages its registration; 32 bytes.
    pub registration_access_token: Option<Vec<u8>>,
}

async fn lock(db: &mut Db<'_>, id: Oauth2AppId) -> Result<App, Error> {
    Ok(apps::table.find(Pk(id)).select(App::as_select()).for_update().first(db.conn()).await?)
}

/// Stores a client. Its name need not be new.
#[derive(Clone, Debug)]
pub struct InsertApp(pub RegisteredApp);

impl Query for InsertApp {
    const NAME: &'static str = "oauth2_apps.insert_app";
    type Out = Change<RegisteredApp>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let new = diesel::insert_into(apps::table)
                .values(&self.0)
                .returning(RegisteredApp::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(new))
        })
    }
}

/// A client by its identifier.
#[derive(Debug)]
pub struct GetApp {
    /// Which.
    pub id: Oauth2AppId,
}

impl Query for GetApp {
    const NAME: &'static str = "oauth2_apps.get_app";
    type Out = App;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, App> {
        Box::pin(async move {
            Ok(apps::table.find(Pk(self.id)).select(App::as_select()).first(db.conn()).await?)
        })
    }
}

/// Changes what administrators say of a client; everything else stays.
#[derive(Clone, Debug)]
pub struct UpdateApp {
    /// Which.
    pub id: Oauth2AppId,
    /// Up to 64 characters, not empty.
    pub name: String,
    /// Address of a picture, or empty.
    pub icon: String,
    /// Where users are sent back to.
    pub callback_url: String,
    /// All that the client may name from now on; `None` leaves them, also those that led where the callback led.
    pub redirect_uris: Option<Vec<String>>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateApp {
    const NAME: &'static str = "oauth2_apps.update_app";
    type Out = Change<App>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<App>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            let new = diesel::update(apps::table.find(old.id))
                .set((
                    apps::name.eq(&self.name),
                    apps::icon.eq(&self.icon),
                    apps::callback_url.eq(&self.callback_url),
                    self.redirect_uris.as_ref().map(|uris| apps::redirect_uris.eq(uris)),
                    apps::updated_at.eq(self.now),
                ))
                .returning(App::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// Notes that a client was used, to the minute. Nothing happens to one that is not there.
#[derive(Debug)]
pub struct TouchApp {
    /// Which.
    pub id: Oauth2AppId,
    /// When it was used.
    pub now: OffsetDateTime,
}

impl Query for TouchApp {
    const NAME: &'static str = "oauth2_apps.touch_app";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let is_behind = apps::last_used_at
                .is_null()
                .or(apps::last_used_at.assume_not_null().le(self.now - USE_GRANULARITY));
            diesel::update(apps::table.find(Pk(self.id)))
                .filter(is_behind)
                .set(apps::last_used_at.eq(self.now))
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

/// Deletes a client with its secrets, and ends all that was granted to it.
#[derive(Debug)]
pub struct DeleteApp {
    /// Which.
    pub id: Oauth2AppId,
}

impl Query for DeleteApp {
    const NAME: &'static str = "oauth2_apps.delete_app";
    type Out = Ended<Change<App>>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            // While it is locked nothing more is issued to it: the keys are all that there are.
            let old = lock(db, self.id).await?;
            let api_keys = keys_of_app(db, old.id).await?;
            diesel::delete(apps::table.find(old.id)).execute(db.conn()).await?;
            Ok(Ended { what: Change::deleted(old), api_keys })
        })
    }
}

crate::queries![
    InsertApp,
    GetApp,
    ListApps,
    CountApps,
    ListAppsOfUser,
    UpdateApp,
    TouchApp,
    DeleteApp,
    FindRegistration,
    SetRegistrationToken,
    UpdateMetadata,
    DeleteUnusedApps,
];
