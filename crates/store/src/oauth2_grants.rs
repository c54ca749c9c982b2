//! What users consented to. A grant is the family of the codes and tokens that were issued under it, which end
//! together.
//!
//! Whatever is issued, used up or ended under a grant is so while its row is locked: codes and tokens after it.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::{Oauth2AppId, Oauth2GrantId, UserId};
use time::OffsetDateTime;

use crate::oauth2_apps::USE_GRANULARITY;
use crate::oauth2_tokens::Ended;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::rows::{Condition, Terms};
use crate::schema::{
    oauth2_grants as grants, oauth2_provider_app_codes as codes,
    oauth2_provider_app_tokens as tokens, users,
};
use crate::{Error, Pk};

/// Most grants of a page.
pub const PAGE_MAX: i64 = 1_000;

/// A row of `oauth2_grants`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = grants, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Grant {
    pub id: Pk<Oauth2GrantId>,
    pub app_id: Pk<Oauth2AppId>,
    pub user_id: Pk<UserId>,
    /// Separated by spaces; not empty.
    pub scope: String,
    pub audience: Vec<String>,
    pub created_at: OffsetDateTime,
    pub last_used_at: Option<OffsetDateTime>,
    pub revoked_at: Option<OffsetDateTime>,
    pub revoke_reason: Option<String>,
}

impl Grant {
    /// The object that rules speak of: grants are decided about like the codes and tokens under them.
    #[must_use]
    pub const fn object(&self) -> Object<'static> {
        of(self.user_id.0).id(self.id.0.uuid())
    }
}

/// Grants, codes and tokens of a user.
pub(crate) const fn of(user: UserId) -> Object<'static> {
    Object::new(Resource::Oauth2AppCodeToken).owner(user)
}

const TERMS: Terms<grants::table> = Terms {
    id: Some(|ids| Box::new(grants::id.eq_any(ids))),
    owner: Some(|user| Box::new(grants::user_id.eq(user))),
    ..Terms::NONE
};

/// Reads a grant of a user that was not revoked, and keeps others from revoking it or issuing under it.
pub(crate) async fn lock_live(
    db: &mut Db<'_>,
    id: Pk<Oauth2GrantId>,
    user_id: Pk<UserId>,
) -> Result<Grant, Error> {
    Ok(grants::table
        .find(id)
        .filter(grants::user_id.eq(user_id))
        .filter(grants::revoked_at.is_null())
        .select(Grant::as_select())
        .for_no_key_update()
        .first(db.conn())
        .await?)
}

/// As [`lock_live`], of this client.
pub(crate) async fn lock_live_of(
    db: &mut Db<'_>,
    id: Pk<Oauth2GrantId>,
    (user_id, app_id): (Pk<UserId>, Pk<Oauth2AppId>),
) -> Result<Grant, Error> {
    let grant = lock_live(db, id, user_id).await?;
    if grant.app_id == app_id { Ok(grant) } else { Err(Error::NotFound) }
}

async fn lock(db: &mut Db<'_>, id: Oauth2GrantId) -> Result<Grant, Error> {
    Ok(grants::table
        .find(Pk(id))
        .select(Grant::as_select())
        .for_no_key_update()
        .first(db.conn())
        .await?)
}

/// Notes what a live user consented to. There may be several for a client: one for each place where it runs.
#[derive(Clone, Debug)]
pub struct InsertGrant {
    /// Identifier.
    pub id: Oauth2GrantId,
    /// To whom.
    pub app_id: Oauth2AppId,
    /// Who.
    pub user_id: UserId,
    /// To what, separated by spaces; not empty.
    pub scope: String,
    /// For which resources; empty: for all.
    pub audience: Vec<String>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertGrant {
    const NAME: &'static str = "oauth2_grants.insert_grant";
    /// [`Error::NotFound`] if the user is deleted, [`Error::Missing`] if the client is.
    type Out = Change<Grant>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, of(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            // Held to the end: what is granted by a user who is deleted meanwhile would outlive the account.
            users::table
                .find(Pk(self.user_id))
                .filter(users::deleted.eq(false))
                .select(users::id)
                .for_share()
                .first::<Pk<UserId>>(db.conn())
                .await?;
            let new = diesel::insert_into(grants::table)
                .values((
                    grants::id.eq(Pk(self.id)),
                    grants::app_id.eq(Pk(self.app_id)),
                    grants::user_id.eq(Pk(self.user_id)),
                    grants::scope.eq(&self.scope),
                    grants::audience.eq(&self.audience),
                    grants::created_at.eq(self.now),
                ))
                .returning(Grant::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(new))
        })
    }
}

/// A grant by its identifier, revoked or not.
#[derive(Debug)]
pub struct GetGrant {
    /// Which.
    pub id: Oauth2GrantId,
}

impl Query for GetGrant {
    const NAME: &'static str = "oauth2_grants.get_grant";
    type Out = Grant;

    fn access(&self) -> Access<Self> {
        Access::After(|grant: &Grant| vec![check(Action::Read, grant.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Grant> {
        Box::pin(async move {
            Ok(grants::table.find(Pk(self.id)).select(Grant::as_select()).first(db.conn()).await?)
        })
    }
}

/// The last grant of a user to a client that was not revoked, if there is one.
#[derive(Debug)]
pub struct FindLiveGrant {
    /// To whom.
    pub app_id: Oauth2AppId,
    /// Whose.
    pub user_id: UserId,
}

impl Query for FindLiveGrant {
    const NAME: &'static str = "oauth2_grants.find_live_grant";
    type Out = Option<Grant>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, of(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(grants::table
                .filter(grants::app_id.eq(Pk(self.app_id)))
                .filter(grants::user_id.eq(Pk(self.user_id)))
                .filter(grants::revoked_at.is_null())
                .order((grants::created_at.desc(), grants::id.desc()))
                .select(Grant::as_select())
                .first(db.conn())
                .await
                .optional()?)
        })
    }
}

/// A page of the grants of a user that the subject may read, newest first.
#[derive(Debug)]
pub struct ListGrants {
    /// Whose.
    pub user_id: UserId,
    /// Leave out those that were revoked.
    pub only_live: bool,
    /// Rows to skip.
    pub offset: i64,
    /// At most [`PAGE_MAX`].
    pub limit: i64,
}

impl Query for ListGrants {
    const NAME: &'static str = "oauth2_grants.list_grants";
    type Out = Vec<Grant>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Oauth2AppCodeToken, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Vec<Grant>> {
        Box::pin(async move {
            let mut query = grants::table
                .filter(grants::user_id.eq(Pk(self.user_id)))
                .order((grants::created_at.desc(), grants::id.desc()))
                .offset(self.offset.max(0))
                .limit(self.limit.clamp(0, PAGE_MAX))
                .select(Grant::as_select())
                .into_boxed();
            if let Some(readable) = permit.into_rows().condition(&TERMS) {
                query = query.filter(readable);
            }
            if self.only_live {
                query = query.filter(grants::revoked_at.is_null());
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// Notes that something was done under a grant, to the minute. Nothing happens to one that is not the user's, not there
/// or revoked. Whoever may issue under a grant may note it.
#[derive(Debug)]
pub struct TouchGrant {
    /// Which.
    pub id: Oauth2GrantId,
    /// Whose, as read with the grant.
    pub user_id: UserId,
    /// When it was used.
    pub now: OffsetDateTime,
}

impl Query for TouchGrant {
    const NAME: &'static str = "oauth2_grants.touch_grant";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, of(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let is_behind = grants::last_used_at
                .is_null()
                .or(grants::last_used_at.assume_not_null().le(self.now - USE_GRANULARITY));
            diesel::update(grants::table.find(Pk(self.id)))
                .filter(grants::user_id.eq(Pk(self.user_id)))
                .filter(grants::revoked_at.is_null())
                .filter(is_behind)
                .set(grants::last_used_at.eq(self.now))
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

/// Revokes a grant and ends its family: its codes, its tokens and the API keys that are its access tokens. The row
/// stays and says why.
#[derive(Debug)]
pub struct RevokeGrant {
    /// Which.
    pub id: Oauth2GrantId,
    /// Why.
    pub reason: &'static str,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for RevokeGrant {
    const NAME: &'static str = "oauth2_grants.revoke_grant";
    /// No change if it was revoked before: what was said then stays.
    type Out = Ended<Option<Change<Grant>>>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(
                async move { Ok(vec![check(Action::Delete, lock(db, query.id).await?.object())]) },
            )
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            if old.revoked_at.is_some() {
                return Ok(Ended { what: None, api_keys: Vec::new() });
            }
            let ended = revoke(db, vec![old], self.reason, self.now).await?;
            Ok(Ended { what: ended.what.into_iter().next(), api_keys: ended.api_keys })
        })
    }
}

/// Revokes all grants of a user, or those to one client, as [`RevokeGrant`] does. Those that were revoked before stay
/// as they are and are not among the changes.
#[derive(Debug)]
pub struct RevokeGrants {
    /// Whose.
    pub user_id: UserId,
    /// Only those to this client.
    pub app_id: Option<Oauth2AppId>,
    /// Why.
    pub reason: &'static str,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for RevokeGrants {
    const NAME: &'static str = "oauth2_grants.revoke_grants";
    type Out = Ended<Vec<Change<Grant>>>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, of(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let live: Condition<grants::table> = Box::new(grants::revoked_at.is_null());
            let chosen: Condition<grants::table> = match self.app_id {
                Some(app) => Box::new(grants::app_id.eq(Pk(app)).and(live)),
                None => live,
            };
            // Without a limit: to leave some would be worse than to take long.
            let live: Vec<Grant> = grants::table
                .filter(grants::user_id.eq(Pk(self.user_id)))
                .filter(chosen)
                .order(grants::id)
                .select(Grant::as_select())
                .for_no_key_update()
                .load(db.conn())
                .await?;
            revoke(db, live, self.reason, self.now).await
        })
    }
}

/// Revokes grants that are locked and live, and ends their families.
async fn revoke(
    db: &mut Db<'_>,
    mut live: Vec<Grant>,
    reason: &str,
    now: OffsetDateTime,
) -> Result<Ended<Vec<Change<Grant>>>, Error> {
    let ids: Vec<Pk<Oauth2GrantId>> = live.iter().map(|grant| grant.id).collect();
    diesel::delete(codes::table).filter(codes::grant_id.eq_any(&ids)).execute(db.conn()).await?;
    // The keys go with the tokens: a trigger sees to that.
    let api_keys: Vec<Option<String>> = diesel::delete(tokens::table)
        .filter(tokens::grant_id.eq_any(&ids))
        .returning(tokens::api_key_id)
        .get_results(db.conn())
        .await?;
    let mut revoked: Vec<Grant> = diesel::update(grants::table)
        .filter(grants::id.eq_any(&ids))
        .set((grants::revoked_at.eq(now), grants::revoke_reason.eq(reason)))
        .returning(Grant::as_returning())
        .get_results(db.conn())
        .await?;
    live.sort_unstable_by_key(|grant| grant.id);
    revoked.sort_unstable_by_key(|grant| grant.id);
    let what = live.into_iter().zip(revoked).map(|(old, new)| Change::updated(old, new)).collect();
    Ok(Ended { what, api_keys: api_keys.into_iter().flatten().collect() })
}

crate::queries![
    InsertGrant,
    GetGrant,
    FindLiveGrant,
    ListGrants,
    TouchGrant,
    RevokeGrant,
    RevokeGrants,
];
