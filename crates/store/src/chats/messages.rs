//! What is said in chats, and what waits to be said. All of it is decided about like the chat.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};
use serde_json::Value;
use stdx::ids::{ChatId, ChatModelId, UserId};
use time::OffsetDateTime;

use super::{PAGE_MAX, TERMS, lock};
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::rows::Rows;
use crate::schema::{chat_messages, chat_queued_messages, chats};
use crate::{Error, Pk};

/// Most messages that are stored at a time.
pub const BATCH_MAX: usize = 500;

/// What a model reported of an answer. Absent: it did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = chat_messages, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Usage {
    pub input_tokens: Option<i64>,
    pub output_tokens: Option<i64>,
    pub total_tokens: Option<i64>,
    pub reasoning_tokens: Option<i64>,
    pub cache_creation_tokens: Option<i64>,
    pub cache_read_tokens: Option<i64>,
    /// Tokens that fit the model's memory.
    pub context_limit: Option<i64>,
    /// Millionths of the deployment's currency.
    pub total_cost_micros: Option<i64>,
    /// Milliseconds.
    pub runtime_ms: Option<i64>,
}

/// A row of `chat_messages`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = chat_messages, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Message {
    /// Grows within a chat.
    pub id: i64,
    pub chat_id: Pk<ChatId>,
    pub model_config_id: Option<Pk<ChatModelId>>,
    pub created_at: OffsetDateTime,
    pub created_by: Option<Pk<UserId>>,
    /// The key that began the turn.
    pub api_key_id: Option<String>,
    pub role: String,
    pub content: Option<Value>,
    pub content_version: i32,
    pub visibility: String,
    #[diesel(embed)]
    pub usage: Usage,
    pub compressed: bool,
    pub deleted: bool,
    pub provider_response_id: Option<String>,
}

/// A message to be stored.
#[derive(Clone, Debug, PartialEq, Eq, Insertable)]
#[diesel(table_name = chat_messages, check_for_backend(diesel::pg::Pg))]
pub struct NewMessage {
    /// The model that said it, or to which it was said.
    pub model_config_id: Option<Pk<ChatModelId>>,
    /// The person who said it.
    pub created_by: Option<Pk<UserId>>,
    /// `system`, `user`, `assistant` or `tool`.
    pub role: &'static str,
    /// Its parts, in the form that the version tells.
    pub content: Option<Value>,
    /// Form of the content.
    pub content_version: i32,
    /// Who is shown it: `user`, `model` or `both`.
    pub visibility: &'static str,
    /// What the model reported.
    #[diesel(embed)]
    pub usage: Usage,
    /// Whether it stands for earlier messages.
    pub compressed: bool,
    /// The provider's identifier of the answer.
    pub provider_response_id: Option<String>,
}

/// Stores messages of one turn, in their order; at most [`BATCH_MAX`], more are [`Error::Unfit`]. The chat goes on with
/// the model of the last one that has one. Whoever else writes to the chat waits, so a reader who goes on after the
/// last message that it saw misses none.
#[derive(Clone, Debug)]
pub struct InsertMessages {
    /// To which chat.
    pub chat_id: ChatId,
    /// The key that began the turn: the gateway is called in its name. Without it the turn cannot go on.
    pub api_key_id: Option<String>,
    /// What was said.
    pub messages: Vec<NewMessage>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertMessages {
    const NAME: &'static str = "chats.insert_messages";
    type Out = Vec<Message>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                Ok(vec![check(Action::Update, lock(db, query.chat_id).await?.object())])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<Message>> {
        Box::pin(async move {
            if self.messages.len() > BATCH_MAX {
                return Err(Error::Unfit("too many messages at a time".into()));
            }
            if self.messages.is_empty() {
                return Ok(Vec::new());
            }
            let of_turn = |message: &'a NewMessage| {
                (
                    chat_messages::chat_id.eq(Pk(self.chat_id)),
                    chat_messages::created_at.eq(self.now),
                    chat_messages::api_key_id.eq(self.api_key_id.as_deref()),
                    message,
                )
            };
            let rows: Vec<_> = self.messages.iter().map(of_turn).collect();
            let mut stored: Vec<Message> = diesel::insert_into(chat_messages::table)
                .values(rows)
                .returning(Message::as_returning())
                .get_results(db.conn())
                .await?;
            stored.sort_by_key(|message| message.id);
            let model = self.messages.iter().rev().find_map(|message| message.model_config_id);
            diesel::update(chats::table.find(Pk(self.chat_id)))
                .set((
                    chats::updated_at.eq(self.now),
                    model.map(|model| chats::last_model_config_id.eq(model)),
                ))
                .execute(db.conn())
                .await?;
            Ok(stored)
        })
    }
}

/// The chat itself, if the subject may read it.
fn readable(
    rows: &Rows,
    id: ChatId,
) -> chats::BoxedQuery<'static, diesel::pg::Pg, diesel::sql_types::Uuid> {
    let chat = chats::table.find(Pk(id)).select(chats::id).into_boxed();
    match rows.condition(&TERMS) {
        Some(readable) => chat.filter(readable),
        None => chat,
    }
}

/// Messages of a chat that the subject may read, oldest first, without deleted ones.
#[derive(Debug)]
pub struct ListMessages {
    /// Of which chat.
    pub chat_id: ChatId,
    /// Only what came after this message; 0 for all.
    pub after: i64,
    /// At most [`PAGE_MAX`].
    pub limit: i64,
}

impl Query for ListMessages {
    const NAME: &'static str = "chats.list_messages";
    type Out = Vec<Message>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Chat, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Vec<Message>> {
        Box::pin(async move {
            Ok(chat_messages::table
                .filter(chat_messages::chat_id.eq_any(readable(&permit.into_rows(), self.chat_id)))
                .filter(chat_messages::id.gt(self.after))
                .filter(chat_messages::deleted.eq(false))
                .order(chat_messages::id)
                .limit(self.limit.clamp(0, PAGE_MAX))
                .select(Message::as_select())
                .load(db.conn())
                .await?)
        })
    }
}

/// A row of `chat_queued_messages`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = chat_queued_messages, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct QueuedMessage {
    pub id: i64,
    pub chat_id: Pk<ChatId>,
    pub content: Value,
    pub created_at: OffsetDateTime,
    pub api_key_id: Option<String>,
}

/// Keeps what somebody said to a chat that is busy.
#[derive(Clone, Debug)]
pub struct InsertQueued {
    /// To which chat.
    pub chat_id: ChatId,
    /// The key in whose name it was said.
    pub api_key_id: Option<String>,
    /// Its parts.
    pub content: Value,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertQueued {
    const NAME: &'static str = "chats.insert_queued";
    type Out = QueuedMessage;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                Ok(vec![check(Action::Update, lock(db, query.chat_id).await?.object())])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, QueuedMessage> {
        Box::pin(async move {
            Ok(diesel::insert_into(chat_queued_messages::table)
                .values((
                    chat_queued_messages::chat_id.eq(Pk(self.chat_id)),
                    chat_queued_messages::content.eq(&self.content),
                    chat_queued_messages::created_at.eq(self.now),
                    chat_queued_messages::api_key_id.eq(&self.api_key_id),
                ))
                .returning(QueuedMessage::as_returning())
                .get_result(db.conn())
                .await?)
        })
    }
}

/// What waits to be said to a chat that the subject may read, oldest first; at most [`PAGE_MAX`].
#[derive(Debug)]
pub struct ListQueued {
    /// To which chat.
    pub chat_id: ChatId,
}

impl Query for ListQueued {
    const NAME: &'static str = "chats.list_queued";
    type Out = Vec<QueuedMessage>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Chat, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let chat = readable(&permit.into_rows(), self.chat_id);
            Ok(chat_queued_messages::table
                .filter(chat_queued_messages::chat_id.eq_any(chat))
                .order(chat_queued_messages::id)
                .limit(PAGE_MAX)
                .select(QueuedMessage::as_select())
                .load(db.conn())
                .await?)
        })
    }
}

/// Takes the message that waited longest out of the queue; `None` if nothing waits.
#[derive(Debug)]
pub struct PopQueued {
    /// Of which chat.
    pub chat_id: ChatId,
}

impl Query for PopQueued {
    const NAME: &'static str = "chats.pop_queued";
    type Out = Option<QueuedMessage>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                Ok(vec![check(Action::Update, lock(db, query.chat_id).await?.object())])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            // The chat is locked, so nobody else takes the same one.
            let oldest: Option<i64> = chat_queued_messages::table
                .filter(chat_queued_messages::chat_id.eq(Pk(self.chat_id)))
                .order(chat_queued_messages::id)
                .select(chat_queued_messages::id)
                .first(db.conn())
                .await
                .optional()?;
            let Some(oldest) = oldest else { return Ok(None) };
            Ok(diesel::delete(chat_queued_messages::table.find(oldest))
                .returning(QueuedMessage::as_returning())
                .get_result(db.conn())
                .await
                .optional()?)
        })
    }
}
