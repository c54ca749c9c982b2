//! Tokens of users for services outside, such as Git hosts.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::Action;
use serde_json::Value;
use stdx::Secret;
use stdx::ids::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::{external_auth_links, users};
use crate::sealed::columns::{EXTERNAL_ACCESS_TOKEN, EXTERNAL_REFRESH_TOKEN};
use crate::sealed::{Keys, Sealed};
use crate::user_links::Tokens;
use crate::users::object;
use crate::{Error, Pk};

/// Most links of one user that are read.
const LINKS_MAX: i64 = 1_000;

#[derive(Queryable, Selectable)]
#[diesel(table_name = external_auth_links, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    provider_id: String,
    user_id: Pk<UserId>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    oauth_access_token: Sealed,
    oauth_access_token_key_id: Option<String>,
    oauth_refresh_token: Sealed,
    oauth_refresh_token_key_id: Option<String>,
    oauth_expiry: Option<OffsetDateTime>,
    oauth_extra: Option<Value>,
    oauth_refresh_failure_reason: String,
}

/// A link, in hand.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct ExternalAuthLink {
    pub id: Uuid,
    pub provider_id: String,
    pub user_id: UserId,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    /// Empty if they cannot be opened.
    pub oauth: Tokens,
    /// Why they cannot be opened.
    pub fault: Option<String>,
    /// What else the service told with the tokens.
    pub oauth_extra: Option<Value>,
    /// Why the refresh token is known to be dead; empty while it is not.
    pub refresh_failure_reason: String,
}

impl Row {
    fn refresh(&self, keys: Keys<'_>) -> Result<Secret<String>, Error> {
        let key = self.oauth_refresh_token_key_id.as_deref();
        keys.open(EXTERNAL_REFRESH_TOKEN, self.id, &self.oauth_refresh_token, key)
    }

    fn tokens(&self, keys: Keys<'_>) -> Result<Tokens, Error> {
        let key = self.oauth_access_token_key_id.as_deref();
        let access = keys.open(EXTERNAL_ACCESS_TOKEN, self.id, &self.oauth_access_token, key)?;
        Ok(Tokens { access, refresh: self.refresh(keys)?, expiry: self.oauth_expiry })
    }

    fn with(self, oauth: Tokens, fault: Option<String>) -> ExternalAuthLink {
        ExternalAuthLink {
            id: self.id,
            provider_id: self.provider_id,
            user_id: self.user_id.0,
            created_at: self.created_at,
            updated_at: self.updated_at,
            oauth,
            fault,
            oauth_extra: self.oauth_extra,
            refresh_failure_reason: self.oauth_refresh_failure_reason,
        }
    }

    fn open(self, keys: Keys<'_>) -> Result<ExternalAuthLink, Error> {
        let oauth = self.tokens(keys)?;
        Ok(self.with(oauth, None))
    }

    /// For lists: one that cannot be opened does not keep the others back.
    fn open_or_tell(self, keys: Keys<'_>) -> ExternalAuthLink {
        match self.tokens(keys) {
            Ok(oauth) => self.with(oauth, None),
            Err(error) => self.with(Tokens::default(), Some(stdx::chain(&error).to_string())),
        }
    }
}

/// The columns of the tokens of a link, sealed, each with the key that sealed it now.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = external_auth_links, treat_none_as_null = true)]
struct SealedTokens {
    #[diesel(column_name = oauth_access_token)]
    access: Sealed,
    #[diesel(column_name = oauth_access_token_key_id)]
    access_key_id: Option<String>,
    #[diesel(column_name = oauth_refresh_token)]
    refresh: Sealed,
    #[diesel(column_name = oauth_refresh_token_key_id)]
    refresh_key_id: Option<String>,
    #[diesel(column_name = oauth_expiry)]
    expiry: Option<OffsetDateTime>,
}

impl SealedTokens {
    fn seal(keys: Keys<'_>, id: Uuid, tokens: &Tokens) -> Result<Self, Error> {
        let access = keys.seal(EXTERNAL_ACCESS_TOKEN, id, &tokens.access)?;
        let refresh = keys.seal(EXTERNAL_REFRESH_TOKEN, id, &tokens.refresh)?;
        Ok(Self {
            access: access.value,
            access_key_id: access.key_id,
            refresh: refresh.value,
            refresh_key_id: refresh.key_id,
            expiry: tokens.expiry,
        })
    }
}

async fn lock(db: &mut Db<'_>, user: UserId, provider: &str) -> Result<Row, Error> {
    Ok(external_auth_links::table
        .filter(external_auth_links::user_id.eq(Pk(user)))
        .filter(external_auth_links::provider_id.eq(provider))
        .select(Row::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

/// A user's link to one service.
#[derive(Debug)]
pub struct GetExternalAuthLink {
    /// Whose.
    pub user_id: UserId,
    /// The configured service.
    pub provider_id: String,
}

impl Query for GetExternalAuthLink {
    const NAME: &'static str = "external_auth_links.get_external_auth_link";
    type Out = ExternalAuthLink;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::ReadPersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let row: Row = external_auth_links::table
                .filter(external_auth_links::user_id.eq(Pk(self.user_id)))
                .filter(external_auth_links::provider_id.eq(&self.provider_id))
                .select(Row::as_select())
                .first(db.conn())
                .await?;
            row.open(db.keys())
        })
    }
}

/// All links of a user, by service; at most 1,000.
#[derive(Debug)]
pub struct ListExternalAuthLinks {
    /// Whose.
    pub user_id: UserId,
}

impl Query for ListExternalAuthLinks {
    const NAME: &'static str = "external_auth_links.list_external_auth_links";
    type Out = Vec<ExternalAuthLink>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::ReadPersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows: Vec<Row> = external_auth_links::table
                .filter(external_auth_links::user_id.eq(Pk(self.user_id)))
                .order(external_auth_links::provider_id)
                .limit(LINKS_MAX)
                .select(Row::as_select())
                .load(db.conn())
                .await?;
            let keys = db.keys();
            Ok(rows.into_iter().map(|row| row.open_or_tell(keys)).collect())
        })
    }
}

/// Links a live user to a service.
#[derive(Debug)]
pub struct InsertExternalAuthLink {
    /// Identifier.
    pub id: Uuid,
    /// Whose.
    pub user_id: UserId,
    /// The configured service; one link of each.
    pub provider_id: String,
    /// What the service gave.
    pub oauth: Tokens,
    /// What else it told.
    pub oauth_extra: Option<Value>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertExternalAuthLink {
    const NAME: &'static str = "external_auth_links.insert_external_auth_link";
    type Out = ExternalAuthLink;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            // Held to the end: tokens of a user who is deleted meanwhile would outlive the account.
            users::table
                .find(Pk(self.user_id))
                .filter(users::deleted.eq(false))
                .select(users::id)
                .for_share()
                .first::<Pk<UserId>>(db.conn())
                .await?;
            let row: Row = diesel::insert_into(external_auth_links::table)
                .values((
                    external_auth_links::id.eq(self.id),
                    external_auth_links::user_id.eq(Pk(self.user_id)),
                    external_auth_links::provider_id.eq(&self.provider_id),
                    external_auth_links::created_at.eq(self.now),
                    external_auth_links::updated_at.eq(self.now),
                    external_auth_links::oauth_extra.eq(&self.oauth_extra),
                    SealedTokens::seal(db.keys(), self.id, &self.oauth)?,
                ))
                .returning(Row::as_returning())
                .get_result(db.conn())
                .await?;
            row.open(db.keys())
        })
    }
}

/// Replaces the tokens of a link, which are then taken for good ones. The old ones need not open to be replaced.
#[derive(Debug)]
pub struct UpdateExternalAuthLink {
    /// Whose.
    pub user_id: UserId,
    /// The configured service.
    pub provider_id: String,
    /// What the service gave.
    pub oauth: Tokens,
    /// What else it told.
    pub oauth_extra: Option<Value>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateExternalAuthLink {
    const NAME: &'static str = "external_auth_links.update_external_auth_link";
    type Out = ExternalAuthLink;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let id = lock(db, self.user_id, &self.provider_id).await?.id;
            let tokens = SealedTokens::seal(db.keys(), id, &self.oauth)?;
            let row: Row = diesel::update(external_auth_links::table.find(id))
                .set((
                    tokens,
                    external_auth_links::oauth_extra.eq(&self.oauth_extra),
                    external_auth_links::oauth_refresh_failure_reason.eq(""),
                    external_auth_links::updated_at.eq(self.now),
                ))
                .returning(Row::as_returning())
                .get_result(db.conn())
                .await?;
            row.open(db.keys())
        })
    }
}

/// Writes down how a refresh went, unless somebody else has refreshed since the link was read: then the tokens are
/// newer than what is known here.
#[derive(Debug)]
pub struct UpdateRefreshToken {
    /// Whose.
    pub user_id: UserId,
    /// The configured service.
    pub provider_id: String,
    /// The refresh token that the caller read.
    pub known: Secret<String>,
    /// The one from now on; empty if it is dead.
    pub refresh: Secret<String>,
    /// Why it is dead; empty if it is not.
    pub failure_reason: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateRefreshToken {
    const NAME: &'static str = "external_auth_links.update_refresh_token";
    /// Whether the known token was still the stored one; a link that is gone has none.
    type Out = bool;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, bool> {
        Box::pin(async move {
            let locked = lock(db, self.user_id, &self.provider_id).await;
            let Some(row) = Error::optional(locked)? else { return Ok(false) };
            // The ciphertext of one token is another each time: the tokens themselves are compared.
            if row.refresh(db.keys())?.expose() != self.known.expose() {
                return Ok(false);
            }
            let sealed = db.keys().seal(EXTERNAL_REFRESH_TOKEN, row.id, &self.refresh)?;
            diesel::update(external_auth_links::table.find(row.id))
                .set((
                    external_auth_links::oauth_refresh_token.eq(sealed.value),
                    external_auth_links::oauth_refresh_token_key_id.eq(sealed.key_id),
                    external_auth_links::oauth_refresh_failure_reason.eq(&self.failure_reason),
                    external_auth_links::updated_at.eq(self.now),
                ))
                .execute(db.conn())
                .await?;
            Ok(true)
        })
    }
}

/// Forgets a link; [`Error::NotFound`] if there is none.
#[derive(Debug)]
pub struct DeleteExternalAuthLink {
    /// Whose.
    pub user_id: UserId,
    /// The configured service.
    pub provider_id: String,
}

impl Query for DeleteExternalAuthLink {
    const NAME: &'static str = "external_auth_links.delete_external_auth_link";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let gone = diesel::delete(external_auth_links::table)
                .filter(external_auth_links::user_id.eq(Pk(self.user_id)))
                .filter(external_auth_links::provider_id.eq(&self.provider_id))
                .execute(db.conn())
                .await?;
            if gone == 0 { Err(Error::NotFound) } else { Ok(()) }
        })
    }
}

crate::queries![
    GetExternalAuthLink,
    ListExternalAuthLinks,
    InsertExternalAuthLink,
    UpdateExternalAuthLink,
    UpdateRefreshToken,
    DeleteExternalAuthLink,
];
