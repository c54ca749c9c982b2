//! Tokens of users for servers that want OAuth2: one for each server.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::ids::{McpServerId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Db, Fut, IS_NEW, Permit, Query, check};
use crate::schema::{mcp_server_user_tokens, users};
use crate::sealed::columns::{MCP_ACCESS_TOKEN, MCP_REFRESH_TOKEN};
use crate::sealed::{Keys, Sealed};
use crate::user_links::Tokens;
use crate::users::object;
use crate::{Error, Pk};

#[derive(Queryable, Selectable)]
#[diesel(table_name = mcp_server_user_tokens, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    mcp_server_config_id: Pk<McpServerId>,
    user_id: Pk<UserId>,
    access_token: Sealed,
    access_token_key_id: Option<String>,
    refresh_token: Sealed,
    refresh_token_key_id: Option<String>,
    token_type: String,
    expiry: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

/// A user's tokens for a server, in hand.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct UserToken {
    pub id: Uuid,
    pub server_id: McpServerId,
    pub user_id: UserId,
    pub tokens: Tokens,
    pub token_type: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

impl Row {
    fn open(self, keys: Keys<'_>) -> Result<UserToken, Error> {
        let key = self.access_token_key_id.as_deref();
        let access = keys.open(MCP_ACCESS_TOKEN, self.id, &self.access_token, key)?;
        let key = self.refresh_token_key_id.as_deref();
        let refresh = keys.open(MCP_REFRESH_TOKEN, self.id, &self.refresh_token, key)?;
        Ok(UserToken {
            id: self.id,
            server_id: self.mcp_server_config_id.0,
            user_id: self.user_id.0,
            tokens: Tokens { access, refresh, expiry: self.expiry },
            token_type: self.token_type,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// The columns of tokens, sealed, each with the key that sealed it now.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = mcp_server_user_tokens, treat_none_as_null = true)]
struct SealedTokens {
    access_token: Sealed,
    access_token_key_id: Option<String>,
    refresh_token: Sealed,
    refresh_token_key_id: Option<String>,
    expiry: Option<OffsetDateTime>,
}

impl SealedTokens {
    fn seal(keys: Keys<'_>, id: Uuid, tokens: &Tokens) -> Result<Self, Error> {
        let access = keys.seal(MCP_ACCESS_TOKEN, id, &tokens.access)?;
        let refresh = keys.seal(MCP_REFRESH_TOKEN, id, &tokens.refresh)?;
        Ok(Self {
            access_token: access.value,
            access_token_key_id: access.key_id,
            refresh_token: refresh.value,
            refresh_token_key_id: refresh.key_id,
            expiry: tokens.expiry,
        })
    }
}

/// Keeps the tokens of a live user for a server, in place of those that there were, which need not open for that.
#[derive(Debug)]
pub struct UpsertUserToken {
    /// Identifier; not used if there were some.
    pub id: Uuid,
    /// Whose.
    pub user_id: UserId,
    /// For which server.
    pub server_id: McpServerId,
    /// What the server gave.
    pub tokens: Tokens,
    /// How they are sent, such as `Bearer`.
    pub token_type: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpsertUserToken {
    const NAME: &'static str = "mcp_servers.upsert_user_token";
    type Out = UserToken;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, UserToken> {
        use mcp_server_user_tokens as t;
        Box::pin(async move {
            // Held to the end: tokens of a user who is deleted meanwhile would outlive the account.
            users::table
                .find(Pk(self.user_id))
                .filter(users::deleted.eq(false))
                .select(users::id)
                .for_share()
                .first::<Pk<UserId>>(db.conn())
                .await?;
            // A row that is there is locked and yielded as it is: values are sealed for the id of their row.
            let (found, is_new): (Row, bool) = diesel::insert_into(t::table)
                .values((
                    t::id.eq(self.id),
                    t::mcp_server_config_id.eq(Pk(self.server_id)),
                    t::user_id.eq(Pk(self.user_id)),
                    SealedTokens::seal(db.keys(), self.id, &self.tokens)?,
                    t::token_type.eq(&self.token_type),
                    t::created_at.eq(self.now),
                    t::updated_at.eq(self.now),
                ))
                .on_conflict((t::mcp_server_config_id, t::user_id))
                .do_update()
                .set(t::user_id.eq(excluded(t::user_id)))
                .returning((Row::as_returning(), sql::<Bool>(IS_NEW)))
                .get_result(db.conn())
                .await?;
            if is_new {
                return found.open(db.keys());
            }
            let row: Row = diesel::update(t::table.find(found.id))
                .set((
                    SealedTokens::seal(db.keys(), found.id, &self.tokens)?,
                    t::token_type.eq(&self.token_type),
                    t::updated_at.eq(self.now),
                ))
                .returning(Row::as_returning())
                .get_result(db.conn())
                .await?;
            row.open(db.keys())
        })
    }
}

/// A user's tokens for a server. Some that cannot be opened are an error.
#[derive(Debug)]
pub struct GetUserToken {
    /// Whose.
    pub user_id: UserId,
    /// For which server.
    pub server_id: McpServerId,
}

impl Query for GetUserToken {
    const NAME: &'static str = "mcp_servers.get_user_token";
    type Out = UserToken;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::ReadPersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, UserToken> {
        Box::pin(async move {
            let row: Row = mcp_server_user_tokens::table
                .filter(mcp_server_user_tokens::user_id.eq(Pk(self.user_id)))
                .filter(mcp_server_user_tokens::mcp_server_config_id.eq(Pk(self.server_id)))
                .select(Row::as_select())
                .first(db.conn())
                .await?;
            row.open(db.keys())
        })
    }
}

/// Forgets a user's tokens for a server; [`Error::NotFound`] if there are none.
#[derive(Debug)]
pub struct DeleteUserToken {
    /// Whose.
    pub user_id: UserId,
    /// For which server.
    pub server_id: McpServerId,
}

impl Query for DeleteUserToken {
    const NAME: &'static str = "mcp_servers.delete_user_token";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let gone = diesel::delete(mcp_server_user_tokens::table)
                .filter(mcp_server_user_tokens::user_id.eq(Pk(self.user_id)))
                .filter(mcp_server_user_tokens::mcp_server_config_id.eq(Pk(self.server_id)))
                .execute(db.conn())
                .await?;
            if gone == 0 { Err(Error::NotFound) } else { Ok(()) }
        })
    }
}
