//! Clients that registered themselves, and what they do with their registration.

use diesel::dsl::{exists, not};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::Action;
use serde_json::Value;
use stdx::ids::Oauth2AppId;
use time::OffsetDateTime;

use super::{ANY, App, RegisteredApp, lock, object};
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::{oauth2_grants as grants, oauth2_provider_apps as apps};
use crate::{Error, Pk};

/// Most clients that are removed at a time.
const AT_A_TIME: i64 = 1_000;

/// A client with the hash of the token by which it manages its registration. For who checks a presented token, which
/// is not everybody who may read clients: it takes the right to change this one.
#[derive(Debug)]
pub struct FindRegistration {
    /// Which; also one that administrators made.
    pub id: Oauth2AppId,
}

impl Query for FindRegistration {
    const NAME: &'static str = "oauth2_apps.find_registration";
    type Out = Option<RegisteredApp>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(apps::table
                .find(Pk(self.id))
                .select(RegisteredApp::as_select())
                .first(db.conn())
                .await
                .optional()?)
        })
    }
}

/// Gives a client that registered itself another token to manage its registration by; the one before is void.
#[derive(Clone, Debug)]
pub struct SetRegistrationToken {
    /// Which.
    pub id: Oauth2AppId,
    /// SHA-256 of the token; 32 bytes.
    pub hash: Vec<u8>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for SetRegistrationToken {
    const NAME: &'static str = "oauth2_apps.set_registration_token";
    /// [`Error::NotFound`] of a client that administrators made.
    type Out = Change<RegisteredApp>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let old: RegisteredApp = apps::table
                .find(Pk(self.id))
                .filter(apps::dynamically_registered)
                .select(RegisteredApp::as_select())
                .for_update()
                .first(db.conn())
                .await?;
            let new = diesel::update(apps::table.find(old.app.id))
                .set((
                    apps::registration_access_token.eq(&self.hash),
                    apps::updated_at.eq(self.now),
                ))
                .returning(RegisteredApp::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// What a client says of itself. Whether it is confidential is not among it: that never changes.
#[derive(Clone, Debug, PartialEq, Eq, AsChangeset)]
#[diesel(table_name = apps, treat_none_as_null = true)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct ClientMetadata {
    pub name: String,
    pub icon: String,
    /// The first of `redirect_uris`.
    pub callback_url: String,
    pub redirect_uris: Vec<String>,
    pub grant_types: Vec<String>,
    pub response_types: Vec<String>,
    pub token_endpoint_auth_method: String,
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
}

/// Replaces all that a client says of itself.
#[derive(Clone, Debug)]
pub struct UpdateMetadata {
    /// Which.
    pub id: Oauth2AppId,
    /// What it says from now on.
    pub metadata: ClientMetadata,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateMetadata {
    const NAME: &'static str = "oauth2_apps.update_metadata";
    /// [`Error::NotFound`] of a client that administrators made.
    type Out = Change<App>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<App>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            if !old.dynamically_registered {
                return Err(Error::NotFound);
            }
            let new = diesel::update(apps::table.find(old.id))
                .set((&self.metadata, apps::updated_at.eq(self.now)))
                .returning(App::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// Removes clients that registered themselves, were neither registered nor used since an instant, and were never
/// granted anything: not even what was revoked since. Those that somebody else changes at this moment are left for the
/// next time.
#[derive(Debug)]
pub struct DeleteUnusedApps {
    /// What was registered or used later stays.
    pub before: OffsetDateTime,
    /// At most 1,000.
    pub limit: i64,
}

impl Query for DeleteUnusedApps {
    const NAME: &'static str = "oauth2_apps.delete_unused_apps";
    type Out = Vec<Change<App>>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let ungranted = || not(exists(grants::table.filter(grants::app_id.eq(apps::id))));
            let due: Vec<Pk<Oauth2AppId>> = apps::table
                .filter(apps::dynamically_registered)
                .filter(
                    apps::last_used_at
                        .is_null()
                        .or(apps::last_used_at.assume_not_null().lt(self.before)),
                )
                .filter(apps::created_at.lt(self.before))
                .filter(ungranted())
                .order((apps::last_used_at, apps::created_at))
                .limit(self.limit.clamp(0, AT_A_TIME))
                .select(apps::id)
                .for_update()
                .skip_locked()
                .load(db.conn())
                .await?;
            // Asked again now that they are locked: a grant that was committed between the look and the lock is not
            // seen by the statement above.
            let gone: Vec<App> = diesel::delete(apps::table)
                .filter(apps::id.eq_any(due))
                .filter(ungranted())
                .returning(App::as_returning())
                .get_results(db.conn())
                .await?;
            Ok(gone.into_iter().map(Change::deleted).collect())
        })
    }
}
