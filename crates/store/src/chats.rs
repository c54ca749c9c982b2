//! Conversations with agents: who has them, what was said, and which server works on them.

mod messages;
mod work;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use serde_json::Value;
use stdx::ids::{ChatId, ChatModelId, McpServerId, OrganizationId, ReplicaId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::{chats, workspaces};
use crate::{Constraint, Error, Pk};

pub use messages::{
    BATCH_MAX, InsertMessages, InsertQueued, ListMessages, ListQueued, Message, NewMessage,
    PopQueued, QueuedMessage, Usage,
};
pub use work::{AcquireChats, HeartbeatChats, ReleaseStaleChats, UpdateStatus};

/// Most chats of a page.
pub const PAGE_MAX: i64 = 1_000;

/// A row of `chats`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = chats, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Chat {
    pub id: Pk<ChatId>,
    pub owner_id: Pk<UserId>,
    pub organization_id: Pk<OrganizationId>,
    pub workspace_id: Option<Uuid>,
    pub title: String,
    pub status: String,
    pub worker_id: Option<Pk<ReplicaId>>,
    pub started_at: Option<OffsetDateTime>,
    pub heartbeat_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub parent_chat_id: Option<Pk<ChatId>>,
    pub root_chat_id: Option<Pk<ChatId>>,
    pub last_model_config_id: Pk<ChatModelId>,
    pub archived: bool,
    pub last_error: Option<String>,
    pub mode: Option<String>,
    pub plan_mode: Option<String>,
    pub mcp_server_ids: Vec<Pk<McpServerId>>,
    /// An object.
    pub labels: Value,
    /// Where it stands among those that are pinned; 0 = it is not.
    pub pin_order: i32,
    pub last_read_message_id: Option<i64>,
    pub last_injected_context: Option<Value>,
    pub dynamic_tools: Option<Value>,
    pub client_type: String,
}

impl Chat {
    /// The object that rules speak of; its messages are decided about like the chat.
    #[must_use]
    pub const fn object(&self) -> Object<'static> {
        object(self.owner_id.0, self.organization_id.0).id(self.id.0.uuid())
    }
}

const fn object(owner: UserId, organization: OrganizationId) -> Object<'static> {
    Object::new(Resource::Chat).owner(owner).in_org(organization)
}

/// Any chat, as rules speak of it: for who works on those of everybody.
const ANY: Object<'static> = Object::new(Resource::Chat);

const TERMS: Terms<chats::table> = Terms {
    id: Some(|ids| Box::new(chats::id.eq_any(ids))),
    org: Some(|orgs| Box::new(chats::organization_id.eq_any(orgs))),
    owner: Some(|user| Box::new(chats::owner_id.eq(user))),
    ..Terms::NONE
};

/// Reads a chat, and keeps others from changing it.
async fn lock(db: &mut Db<'_>, id: ChatId) -> Result<Chat, Error> {
    Ok(chats::table.find(Pk(id)).select(Chat::as_select()).for_update().first(db.conn()).await?)
}

/// Begins a chat.
#[derive(Clone, Debug)]
pub struct InsertChat {
    /// Identifier.
    pub id: ChatId,
    /// Whose.
    pub owner_id: UserId,
    /// Where.
    pub organization_id: OrganizationId,
    /// What its agent works in: a live workspace of the same organization, or else [`Error::Missing`] with
    /// [`Constraint::ChatsWorkspaceFk`].
    pub workspace_id: Option<Uuid>,
    /// The chat that it is a part of, of the same owner in the same organization, or else [`Error::Missing`] with
    /// [`Constraint::ChatsParentFk`].
    pub parent: Option<ChatId>,
    /// What it is called.
    pub title: String,
    /// The state it begins in; there is no default.
    pub status: &'static str,
    /// `ui` or `api`. Not used for a part of another chat, which was begun by whom that was.
    pub client_type: &'static str,
    /// The model that it begins with.
    pub model_config_id: ChatModelId,
    /// `computer_use` or `explore`.
    pub mode: Option<String>,
    /// `plan`.
    pub plan_mode: Option<String>,
    /// MCP servers that its agent may reach.
    pub mcp_server_ids: Vec<McpServerId>,
    /// An object.
    pub labels: Value,
    /// Tools that its client runs.
    pub dynamic_tools: Option<Value>,
    /// When.
    pub now: OffsetDateTime,
}

impl InsertChat {
    async fn parent(&self, db: &mut Db<'_>) -> Result<Option<Chat>, Error> {
        let Some(parent) = self.parent else { return Ok(None) };
        let parent: Option<Chat> = chats::table
            .find(Pk(parent))
            .filter(chats::owner_id.eq(Pk(self.owner_id)))
            .filter(chats::organization_id.eq(Pk(self.organization_id)))
            .select(Chat::as_select())
            .first(db.conn())
            .await
            .optional()?;
        parent.map(Some).ok_or(Error::Missing(Constraint::ChatsParentFk))
    }

    async fn check_workspace(&self, db: &mut Db<'_>) -> Result<(), Error> {
        let Some(workspace) = self.workspace_id else { return Ok(()) };
        // A workspace stays in its organization, so what is read here still holds when the chat is stored.
        let known: Option<Uuid> = workspaces::table
            .find(workspace)
            .filter(workspaces::organization_id.eq(Pk(self.organization_id)))
            .filter(workspaces::deleted.eq(false))
            .select(workspaces::id)
            .first(db.conn())
            .await
            .optional()?;
        known.map(|_| ()).ok_or(Error::Missing(Constraint::ChatsWorkspaceFk))
    }
}

impl Query for InsertChat {
    const NAME: &'static str = "chats.insert_chat";
    type Out = Change<Chat>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        let chat = object(self.owner_id, self.organization_id).id(self.id.uuid());
        Access::Before(vec![check(Action::Create, chat)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Chat>> {
        Box::pin(async move {
            let parent = self.parent(db).await?;
            self.check_workspace(db).await?;
            let servers: Vec<Pk<McpServerId>> =
                self.mcp_server_ids.iter().copied().map(Pk).collect();
            let client_type = parent.as_ref().map_or(self.client_type, |chat| &chat.client_type);
            let root = parent.as_ref().map(|chat| chat.root_chat_id.unwrap_or(chat.id));
            let new = diesel::insert_into(chats::table)
                .values((
                    chats::id.eq(Pk(self.id)),
                    chats::owner_id.eq(Pk(self.owner_id)),
                    chats::organization_id.eq(Pk(self.organization_id)),
                    chats::workspace_id.eq(self.workspace_id),
                    chats::title.eq(&self.title),
                    chats::status.eq(self.status),
                    chats::created_at.eq(self.now),
                    chats::updated_at.eq(self.now),
                    chats::parent_chat_id.eq(self.parent.map(Pk)),
                    chats::root_chat_id.eq(root),
                    chats::last_model_config_id.eq(Pk(self.model_config_id)),
                    chats::mode.eq(&self.mode),
                    chats::plan_mode.eq(&self.plan_mode),
                    chats::mcp_server_ids.eq(servers),
                    chats::labels.eq(&self.labels),
                    chats::dynamic_tools.eq(&self.dynamic_tools),
                    chats::client_type.eq(client_type),
                ))
                .returning(Chat::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(new))
        })
    }
}

/// A chat by its identifier.
#[derive(Debug)]
pub struct GetChat {
    /// Which.
    pub id: ChatId,
}

impl Query for GetChat {
    const NAME: &'static str = "chats.get_chat";
    type Out = Chat;

    fn access(&self) -> Access<Self> {
        Access::After(|chat: &Chat| vec![check(Action::Read, chat.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Chat> {
        Box::pin(async move {
            Ok(chats::table.find(Pk(self.id)).select(Chat::as_select()).first(db.conn()).await?)
        })
    }
}

/// Chats of a user that the subject may read, the latest change first. Absent fields do not narrow.
#[derive(Debug)]
pub struct ListChats {
    /// Whose.
    pub owner_id: UserId,
    /// Only those that are archived, or only those that are not.
    pub archived: Option<bool>,
    /// Only those with all of these labels, and perhaps more; an object.
    pub labels: Option<Value>,
    /// Only what comes after a chat of this time of change and identifier.
    pub after: Option<(OffsetDateTime, ChatId)>,
    /// Rows to skip.
    pub offset: i64,
    /// At most [`PAGE_MAX`].
    pub limit: i64,
}

impl Query for ListChats {
    const NAME: &'static str = "chats.list_chats";
    type Out = Vec<Chat>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Chat, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Vec<Chat>> {
        Box::pin(async move {
            let mut query = chats::table
                .filter(chats::owner_id.eq(Pk(self.owner_id)))
                .order((chats::updated_at.desc(), chats::id.desc()))
                .offset(self.offset.max(0))
                .limit(self.limit.clamp(0, PAGE_MAX))
                .select(Chat::as_select())
                .into_boxed();
            if let Some(readable) = permit.into_rows().condition(&TERMS) {
                query = query.filter(readable);
            }
            if let Some(archived) = self.archived {
                query = query.filter(chats::archived.eq(archived));
            }
            if let Some(labels) = &self.labels {
                query = query.filter(chats::labels.contains(labels));
            }
            if let Some((at, id)) = self.after {
                let same = chats::updated_at.eq(at).and(chats::id.lt(Pk(id)));
                query = query.filter(chats::updated_at.lt(at).or(same));
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// Changes what people may change of a chat. What is `None` stays as it is.
#[derive(Clone, Debug)]
pub struct UpdateChat {
    /// Which.
    pub id: ChatId,
    /// What it is called.
    pub title: Option<String>,
    /// Whether it was put aside.
    pub archived: Option<bool>,
    /// An object; replaces all labels.
    pub labels: Option<Value>,
    /// Where it stands among those that are pinned; 0 = it is not.
    pub pin_order: Option<i32>,
    /// `computer_use`, `explore`, or the absence of both.
    pub mode: Option<Option<String>>,
    /// `plan`, or its absence.
    pub plan_mode: Option<Option<String>>,
    /// MCP servers that its agent may reach.
    pub mcp_server_ids: Option<Vec<McpServerId>>,
    /// When.
    pub now: OffsetDateTime,
}

impl UpdateChat {
    /// Changes nothing but the time.
    #[must_use]
    pub const fn of(id: ChatId, now: OffsetDateTime) -> Self {
        Self {
            id,
            title: None,
            archived: None,
            labels: None,
            pin_order: None,
            mode: None,
            plan_mode: None,
            mcp_server_ids: None,
            now,
        }
    }
}

#[derive(AsChangeset)]
#[diesel(table_name = chats)]
struct Changes<'a> {
    title: Option<&'a str>,
    archived: Option<bool>,
    labels: Option<&'a Value>,
    pin_order: Option<i32>,
    mcp_server_ids: Option<Vec<Pk<McpServerId>>>,
    updated_at: OffsetDateTime,
}

impl Query for UpdateChat {
    const NAME: &'static str = "chats.update_chat";
    type Out = Change<Chat>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(
                async move { Ok(vec![check(Action::Update, lock(db, query.id).await?.object())]) },
            )
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Chat>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            let servers = self.mcp_server_ids.as_ref();
            let new = diesel::update(chats::table.find(old.id))
                .set((
                    Changes {
                        title: self.title.as_deref(),
                        archived: self.archived,
                        labels: self.labels.as_ref(),
                        pin_order: self.pin_order,
                        mcp_server_ids: servers.map(|ids| ids.iter().copied().map(Pk).collect()),
                        updated_at: self.now,
                    },
                    chats::mode.eq(self.mode.as_ref().unwrap_or(&old.mode)),
                    chats::plan_mode.eq(self.plan_mode.as_ref().unwrap_or(&old.plan_mode)),
                ))
                .returning(Chat::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

crate::queries![
    InsertChat,
    GetChat,
    ListChats,
    UpdateChat,
    UpdateStatus,
    AcquireChats,
    HeartbeatChats,
    ReleaseStaleChats,
    InsertMessages,
    ListMessages,
    InsertQueued,
    ListQueued,
    PopQueued,
];
