//! MCP servers that the deployment offers to its agents, and the tokens of users for them.

mod tokens;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::Secret;
use stdx::ids::McpServerId;
use time::OffsetDateTime;

use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::mcp_server_configs;
use crate::sealed::columns::{MCP_API_KEY, MCP_CLIENT_SECRET, MCP_HEADERS};
use crate::sealed::{Keys, Sealed, SealedPair};
use crate::{Error, Pk};

pub use tokens::{DeleteUserToken, GetUserToken, UpsertUserToken, UserToken};

/// Most servers that a list returns.
const LIST_MAX: i64 = 1_000;

#[derive(Queryable, Selectable)]
#[diesel(table_name = mcp_server_configs, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Pk<McpServerId>,
    display_name: String,
    slug: String,
    description: String,
    url: String,
    auth_type: String,
    oauth2_client_id: String,
    oauth2_client_secret: Sealed,
    oauth2_client_secret_key_id: Option<String>,
    api_key_header: String,
    api_key_value: Sealed,
    api_key_value_key_id: Option<String>,
    custom_headers: Sealed,
    custom_headers_key_id: Option<String>,
    enabled: bool,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

/// What a server wants to be told, in hand. Empty: nothing.
#[derive(Clone, Debug, Default)]
pub struct McpSecrets {
    /// Of the deployment as a client of the server.
    pub oauth2_client_secret: Secret<String>,
    /// The value of the header that [`McpSettings::api_key_header`] names.
    pub api_key_value: Secret<String>,
    /// An object of texts in JSON: headers by name.
    pub custom_headers: Secret<String>,
}

/// What administrators say of a server, besides its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Insertable, AsChangeset)]
#[diesel(table_name = mcp_server_configs)]
pub struct McpSettings {
    /// For people.
    pub display_name: String,
    /// In names of tools; unique.
    pub slug: String,
    /// For people.
    pub description: String,
    /// Where it is.
    pub url: String,
    /// `none`, `oauth2`, `api_key` or `custom_headers`.
    pub auth_type: String,
    /// Of the deployment as a client of the server.
    pub oauth2_client_id: String,
    /// Name of a header.
    pub api_key_header: String,
    /// Whether it is offered.
    pub enabled: bool,
}

/// A server, in hand.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct McpServer {
    pub id: McpServerId,
    pub settings: McpSettings,
    /// Empty if one of them cannot be opened.
    pub secrets: McpSecrets,
    /// Why they cannot be opened.
    pub fault: Option<String>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

impl Row {
    fn secrets(&self, keys: Keys<'_>) -> Result<McpSecrets, Error> {
        let open = |column, value, key_id: &Option<String>| {
            keys.open(column, self.id.0.uuid(), value, key_id.as_deref())
        };
        Ok(McpSecrets {
            oauth2_client_secret: open(
                MCP_CLIENT_SECRET,
                &self.oauth2_client_secret,
                &self.oauth2_client_secret_key_id,
            )?,
            api_key_value: open(MCP_API_KEY, &self.api_key_value, &self.api_key_value_key_id)?,
            custom_headers: open(MCP_HEADERS, &self.custom_headers, &self.custom_headers_key_id)?,
        })
    }

    fn with(self, secrets: McpSecrets, fault: Option<String>) -> McpServer {
        McpServer {
            id: self.id.0,
            settings: McpSettings {
                display_name: self.display_name,
                slug: self.slug,
                description: self.description,
                url: self.url,
                auth_type: self.auth_type,
                oauth2_client_id: self.oauth2_client_id,
                api_key_header: self.api_key_header,
                enabled: self.enabled,
            },
            secrets,
            fault,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }

    fn open(self, keys: Keys<'_>) -> Result<McpServer, Error> {
        let secrets = self.secrets(keys)?;
        Ok(self.with(secrets, None))
    }

    /// For lists and changes: what cannot be opened does not keep the rest back.
    fn open_or_tell(self, keys: Keys<'_>) -> McpServer {
        match self.secrets(keys) {
            Ok(secrets) => self.with(secrets, None),
            Err(error) => self.with(McpSecrets::default(), Some(stdx::chain(&error).to_string())),
        }
    }
}

/// Secrets to be stored, sealed, each with the key that sealed it.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = mcp_server_configs, treat_none_as_null = true)]
struct SealedSecrets {
    oauth2_client_secret: Sealed,
    oauth2_client_secret_key_id: Option<String>,
    api_key_value: Sealed,
    api_key_value_key_id: Option<String>,
    custom_headers: Sealed,
    custom_headers_key_id: Option<String>,
}

/// New secrets of a server. What is `None` stays as it is; an empty one takes the old one away.
#[derive(Clone, Debug, Default)]
pub struct NewSecrets {
    /// Of the deployment as a client of the server.
    pub oauth2_client_secret: Option<Secret<String>>,
    /// The value of a header.
    pub api_key_value: Option<Secret<String>>,
    /// An object of texts in JSON: headers by name.
    pub custom_headers: Option<Secret<String>>,
}

impl NewSecrets {
    /// What is to be stored in the place of what is stored in `old`, which need not open.
    fn seal(
        &self,
        keys: Keys<'_>,
        id: McpServerId,
        old: Option<&Row>,
    ) -> Result<SealedSecrets, Error> {
        let stored = |value: &Sealed, key_id: &Option<String>| SealedPair {
            value: value.clone(),
            key_id: key_id.clone(),
        };
        let seal = |column, secret: &Option<Secret<String>>, old: Option<SealedPair>| match (
            secret, old,
        ) {
            (None, Some(kept)) => Ok(kept),
            (None, None) => keys.seal(column, id.uuid(), &Secret::default()),
            (Some(secret), _) => keys.seal(column, id.uuid(), secret),
        };
        let client_secret = seal(
            MCP_CLIENT_SECRET,
            &self.oauth2_client_secret,
            old.map(|old| stored(&old.oauth2_client_secret, &old.oauth2_client_secret_key_id)),
        )?;
        let api_key = seal(
            MCP_API_KEY,
            &self.api_key_value,
            old.map(|old| stored(&old.api_key_value, &old.api_key_value_key_id)),
        )?;
        let headers = seal(
            MCP_HEADERS,
            &self.custom_headers,
            old.map(|old| stored(&old.custom_headers, &old.custom_headers_key_id)),
        )?;
        Ok(SealedSecrets {
            oauth2_client_secret: client_secret.value,
            oauth2_client_secret_key_id: client_secret.key_id,
            api_key_value: api_key.value,
            api_key_value_key_id: api_key.key_id,
            custom_headers: headers.value,
            custom_headers_key_id: headers.key_id,
        })
    }
}

const fn object(id: McpServerId) -> Object<'static> {
    Object::new(Resource::McpServerConfig).id(id.uuid())
}

const TERMS: Terms<mcp_server_configs::table> =
    Terms { id: Some(|ids| Box::new(mcp_server_configs::id.eq_any(ids))), ..Terms::NONE };

/// Offers a server.
#[derive(Clone, Debug)]
pub struct InsertMcpServer {
    /// Identifier.
    pub id: McpServerId,
    /// What it is.
    pub settings: McpSettings,
    /// What it wants to be told.
    pub secrets: NewSecrets,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertMcpServer {
    const NAME: &'static str = "mcp_servers.insert_mcp_server";
    type Out = Change<McpServer>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<McpServer>> {
        Box::pin(async move {
            let row: Row = diesel::insert_into(mcp_server_configs::table)
                .values((
                    mcp_server_configs::id.eq(Pk(self.id)),
                    &self.settings,
                    self.secrets.seal(db.keys(), self.id, None)?,
                    mcp_server_configs::created_at.eq(self.now),
                    mcp_server_configs::updated_at.eq(self.now),
                ))
                .returning(Row::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(row.open_or_tell(db.keys())))
        })
    }
}

/// A server with its secrets, for who calls it. One whose secrets cannot be opened is an error.
#[derive(Debug)]
pub struct GetMcpServer {
    /// Which.
    pub id: McpServerId,
}

impl Query for GetMcpServer {
    const NAME: &'static str = "mcp_servers.get_mcp_server";
    type Out = McpServer;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, McpServer> {
        Box::pin(async move {
            let row = mcp_server_configs::table.find(Pk(self.id));
            let row: Row = row.select(Row::as_select()).first(db.conn()).await?;
            row.open(db.keys())
        })
    }
}

/// Servers that the subject may read, by slug; at most 1,000. One whose secrets cannot be opened says so and does not
/// keep the others back.
#[derive(Debug)]
pub struct ListMcpServers {
    /// Leave out those that are not offered.
    pub only_enabled: bool,
    /// Only these.
    pub ids: Option<Vec<McpServerId>>,
}

impl Query for ListMcpServers {
    const NAME: &'static str = "mcp_servers.list_mcp_servers";
    type Out = Vec<McpServer>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::McpServerConfig, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Vec<McpServer>> {
        Box::pin(async move {
            let mut query = mcp_server_configs::table
                .order(mcp_server_configs::slug)
                .limit(LIST_MAX)
                .select(Row::as_select())
                .into_boxed();
            if let Some(readable) = permit.into_rows().condition(&TERMS) {
                query = query.filter(readable);
            }
            if self.only_enabled {
                query = query.filter(mcp_server_configs::enabled);
            }
            if let Some(ids) = &self.ids {
                let ids: Vec<Pk<McpServerId>> = ids.iter().copied().map(Pk).collect();
                query = query.filter(mcp_server_configs::id.eq_any(ids));
            }
            let rows: Vec<Row> = query.load(db.conn()).await?;
            let keys = db.keys();
            Ok(rows.into_iter().map(|row| row.open_or_tell(keys)).collect())
        })
    }
}

/// Replaces what was said of a server, and those of its secrets that are given. The old ones need not open for that.
#[derive(Clone, Debug)]
pub struct UpdateMcpServer {
    /// Which.
    pub id: McpServerId,
    /// What it is from now on.
    pub settings: McpSettings,
    /// What it wants to be told from now on.
    pub secrets: NewSecrets,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateMcpServer {
    const NAME: &'static str = "mcp_servers.update_mcp_server";
    type Out = Change<McpServer>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<McpServer>> {
        Box::pin(async move {
            let old: Row = mcp_server_configs::table
                .find(Pk(self.id))
                .select(Row::as_select())
                .for_update()
                .first(db.conn())
                .await?;
            let new: Row = diesel::update(mcp_server_configs::table.find(old.id))
                .set((
                    &self.settings,
                    self.secrets.seal(db.keys(), self.id, Some(&old))?,
                    mcp_server_configs::updated_at.eq(self.now),
                ))
                .returning(Row::as_returning())
                .get_result(db.conn())
                .await?;
            let keys = db.keys();
            Ok(Change::updated(old.open_or_tell(keys), new.open_or_tell(keys)))
        })
    }
}

/// Takes a server away, and the tokens of users for it.
#[derive(Debug)]
pub struct DeleteMcpServer {
    /// Which.
    pub id: McpServerId,
}

impl Query for DeleteMcpServer {
    const NAME: &'static str = "mcp_servers.delete_mcp_server";
    type Out = Change<McpServer>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<McpServer>> {
        Box::pin(async move {
            let row: Row = diesel::delete(mcp_server_configs::table.find(Pk(self.id)))
                .returning(Row::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::deleted(row.open_or_tell(db.keys())))
        })
    }
}

crate::queries![
    InsertMcpServer,
    GetMcpServer,
    ListMcpServers,
    UpdateMcpServer,
    DeleteMcpServer,
    UpsertUserToken,
    GetUserToken,
    DeleteUserToken,
];
