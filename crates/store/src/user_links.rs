//! What identity providers say of users: one link of each user for each way to log in.

mod claims;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use serde_json::Value;
use stdx::Secret;
use stdx::ids::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::user_links;
use crate::sealed::columns::{LINK_ACCESS_TOKEN, LINK_REFRESH_TOKEN};
use crate::sealed::{Keys, Sealed};
use crate::users::object;
use crate::{Error, Pk};

pub use claims::{ListClaimFields, ListClaimValues};

/// Most links of one user that are read; there are fewer ways to log in.
const LINKS_MAX: i64 = 100;

#[derive(Queryable, Selectable)]
#[diesel(table_name = user_links, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    user_id: Pk<UserId>,
    login_type: String,
    linked_id: String,
    oauth_access_token: Sealed,
    oauth_access_token_key_id: Option<String>,
    oauth_refresh_token: Sealed,
    oauth_refresh_token_key_id: Option<String>,
    oauth_expiry: Option<OffsetDateTime>,
    claims: Value,
}

/// A link, in hand.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct UserLink {
    pub id: Uuid,
    pub user_id: UserId,
    pub login_type: String,
    pub linked_id: String,
    pub oauth: Tokens,
    /// Of the last login: an object of objects, see [`ListClaimFields`].
    pub claims: Value,
}

/// Tokens of a service outside, in hand.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// Empty if there is none.
    pub access: Secret<String>,
    /// Empty if there is none.
    pub refresh: Secret<String>,
    /// When the access token ends; `None` = it does not.
    pub expiry: Option<OffsetDateTime>,
}

impl Row {
    fn open(self, keys: Keys<'_>) -> Result<UserLink, Error> {
        let access = keys.open(
            LINK_ACCESS_TOKEN,
            self.id,
            &self.oauth_access_token,
            self.oauth_access_token_key_id.as_deref(),
        )?;
        let refresh = keys.open(
            LINK_REFRESH_TOKEN,
            self.id,
            &self.oauth_refresh_token,
            self.oauth_refresh_token_key_id.as_deref(),
        )?;
        Ok(UserLink {
            id: self.id,
            user_id: self.user_id.0,
            login_type: self.login_type,
            linked_id: self.linked_id,
            oauth: Tokens { access, refresh, expiry: self.oauth_expiry },
            claims: self.claims,
        })
    }
}

/// The columns of the tokens of a link, sealed.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = user_links, treat_none_as_null = true)]
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
        let access = keys.seal(LINK_ACCESS_TOKEN, id, &tokens.access)?;
        let refresh = keys.seal(LINK_REFRESH_TOKEN, id, &tokens.refresh)?;
        Ok(Self {
            access: access.value,
            access_key_id: access.key_id,
            refresh: refresh.value,
            refresh_key_id: refresh.key_id,
            expiry: tokens.expiry,
        })
    }
}

/// Who logs in by this identity, if anybody is known to. For the authenticator alone.
#[derive(Debug)]
pub struct FindByLinkedId {
    /// `github` or `oidc`.
    pub login_type: &'static str,
    /// Issuer and subject, as the provider told them. The empty one is nobody's.
    pub linked_id: String,
}

impl Query for FindByLinkedId {
    const NAME: &'static str = "user_links.find_by_linked_id";
    type Out = Option<UserLink>;

    fn access(&self) -> Access<Self> {
        // As for passwords: whoever may change every user.
        Access::Before(vec![check(Action::Update, Object::new(Resource::User))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            // The database would refuse to even compare a text with U+0000.
            if self.linked_id.is_empty() || self.linked_id.contains('\0') {
                return Ok(None);
            }
            let row: Option<Row> = user_links::table
                .filter(user_links::login_type.eq(self.login_type))
                .filter(user_links::linked_id.eq(&self.linked_id))
                .filter(user_links::linked_id.ne(""))
                .select(Row::as_select())
                .first(db.conn())
                .await
                .optional()?;
            row.map(|row| row.open(db.keys())).transpose()
        })
    }
}

/// A user's link for one way to log in.
#[derive(Debug)]
pub struct GetUserLink {
    /// Whose.
    pub user_id: UserId,
    /// `github` or `oidc`.
    pub login_type: &'static str,
}

impl Query for GetUserLink {
    const NAME: &'static str = "user_links.get_user_link";
    type Out = UserLink;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::ReadPersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, UserLink> {
        Box::pin(async move {
            let row: Row = user_links::table
                .filter(user_links::user_id.eq(Pk(self.user_id)))
                .filter(user_links::login_type.eq(self.login_type))
                .select(Row::as_select())
                .first(db.conn())
                .await?;
            row.open(db.keys())
        })
    }
}

/// All links of a user, by the way to log in.
#[derive(Debug)]
pub struct ListUserLinks {
    /// Whose.
    pub user_id: UserId,
}

impl Query for ListUserLinks {
    const NAME: &'static str = "user_links.list_user_links";
    type Out = Vec<UserLink>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::ReadPersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows: Vec<Row> = user_links::table
                .filter(user_links::user_id.eq(Pk(self.user_id)))
                .order(user_links::login_type)
                .limit(LINKS_MAX)
                .select(Row::as_select())
                .load(db.conn())
                .await?;
            let keys = db.keys();
            rows.into_iter().map(|row| row.open(keys)).collect()
        })
    }
}

/// Links a user, who must not be deleted, to an identity.
#[derive(Debug)]
pub struct InsertUserLink {
    /// Identifier.
    pub id: Uuid,
    /// Whose.
    pub user_id: UserId,
    /// `github` or `oidc`; one link of each.
    pub login_type: &'static str,
    /// Issuer and subject; nobody else's.
    pub linked_id: String,
    /// What the provider gave.
    pub oauth: Tokens,
    /// An object of objects, see [`ListClaimFields`].
    pub claims: Value,
}

impl Query for InsertUserLink {
    const NAME: &'static str = "user_links.insert_user_link";
    type Out = UserLink;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, UserLink> {
        Box::pin(async move {
            let row: Row = diesel::insert_into(user_links::table)
                .values((
                    user_links::id.eq(self.id),
                    user_links::user_id.eq(Pk(self.user_id)),
                    user_links::login_type.eq(self.login_type),
                    user_links::linked_id.eq(&self.linked_id),
                    user_links::claims.eq(&self.claims),
                    SealedTokens::seal(db.keys(), self.id, &self.oauth)?,
                ))
                .returning(Row::as_returning())
                .get_result(db.conn())
                .await?;
            row.open(db.keys())
        })
    }
}

/// Replaces tokens and claims of a link. The old tokens need not open to be replaced.
#[derive(Debug)]
pub struct UpdateUserLink {
    /// Whose.
    pub user_id: UserId,
    /// `github` or `oidc`.
    pub login_type: &'static str,
    /// What the provider gave.
    pub oauth: Tokens,
    /// An object of objects, see [`ListClaimFields`].
    pub claims: Value,
}

impl Query for UpdateUserLink {
    const NAME: &'static str = "user_links.update_user_link";
    type Out = UserLink;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, UserLink> {
        Box::pin(async move {
            let id: Uuid = user_links::table
                .filter(user_links::user_id.eq(Pk(self.user_id)))
                .filter(user_links::login_type.eq(self.login_type))
                .select(user_links::id)
                .for_update()
                .first(db.conn())
                .await?;
            let tokens = SealedTokens::seal(db.keys(), id, &self.oauth)?;
            let row: Row = diesel::update(user_links::table.find(id))
                .set((tokens, user_links::claims.eq(&self.claims)))
                .returning(Row::as_returning())
                .get_result(db.conn())
                .await?;
            row.open(db.keys())
        })
    }
}

/// Writes down the identity of a link that was made before identities were. Never changes one that is known
/// ([`Error::NotFound`]): that would give the account to somebody else.
#[derive(Debug)]
pub struct SetLinkedId {
    /// Whose.
    pub user_id: UserId,
    /// `github` or `oidc`.
    pub login_type: &'static str,
    /// Issuer and subject; nobody else's.
    pub linked_id: String,
}

impl Query for SetLinkedId {
    const NAME: &'static str = "user_links.set_linked_id";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let links = user_links::table
                .filter(user_links::user_id.eq(Pk(self.user_id)))
                .filter(user_links::login_type.eq(self.login_type))
                .filter(user_links::linked_id.eq(""));
            let set = diesel::update(links)
                .set(user_links::linked_id.eq(&self.linked_id))
                .execute(db.conn())
                .await?;
            if set == 0 { Err(Error::NotFound) } else { Ok(()) }
        })
    }
}

crate::queries![
    FindByLinkedId,
    GetUserLink,
    ListUserLinks,
    InsertUserLink,
    UpdateUserLink,
    SetLinkedId,
    ListClaimFields,
    ListClaimValues,
];
