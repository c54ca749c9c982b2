//! Models that chats may use, and what people may spend in chats.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use serde_json::Value;
use stdx::ids::{ChatModelId, ProviderId, UserId};
use time::OffsetDateTime;

use crate::query::{Access, Change, Db, Fut, IS_NEW, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::{chat_model_configs, chat_usage_limit_config};
use crate::{Error, Pk};

/// Most models that a list returns.
const LIST_MAX: i64 = 1_000;

/// A row of `chat_model_configs`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = chat_model_configs, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct ChatModel {
    pub id: Pk<ChatModelId>,
    pub ai_provider_id: Option<Pk<ProviderId>>,
    pub provider: String,
    pub model: String,
    pub display_name: String,
    pub created_by: Option<Pk<UserId>>,
    pub updated_by: Option<Pk<UserId>>,
    pub enabled: bool,
    pub is_default: bool,
    pub deleted: bool,
    pub deleted_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    /// Tokens that fit its memory.
    pub context_limit: i64,
    /// Percent of its memory from which on what was said is summed up.
    pub compression_threshold: i32,
    /// An object.
    pub options: Value,
}

const fn object(id: ChatModelId) -> Object<'static> {
    Object::new(Resource::ChatModelConfig).id(id.uuid())
}

const TERMS: Terms<chat_model_configs::table> =
    Terms { id: Some(|ids| Box::new(chat_model_configs::id.eq_any(ids))), ..Terms::NONE };

/// What administrators say of a model.
#[derive(Clone, Debug, PartialEq, Eq, Insertable, AsChangeset)]
#[diesel(table_name = chat_model_configs, treat_none_as_null = true)]
pub struct ModelSettings {
    /// The provider that serves it; it cannot be removed for good meanwhile.
    pub ai_provider_id: Option<Pk<ProviderId>>,
    /// Kind of the provider.
    pub provider: String,
    /// What the provider calls it.
    pub model: String,
    /// For people.
    pub display_name: String,
    /// Whether it is offered.
    pub enabled: bool,
    /// Tokens that fit its memory; more than 0.
    pub context_limit: i64,
    /// Percent of its memory from which on what was said is summed up; 0 to 100.
    pub compression_threshold: i32,
    /// An object.
    pub options: Value,
}

/// Reads a live model, and keeps others from changing it.
async fn lock(db: &mut Db<'_>, id: ChatModelId) -> Result<ChatModel, Error> {
    Ok(chat_model_configs::table
        .find(Pk(id))
        .filter(chat_model_configs::deleted.eq(false))
        .select(ChatModel::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

/// Offers a model. There is one default at most: see [`SetDefaultModel`] for another one.
#[derive(Clone, Debug)]
pub struct InsertModel {
    /// Identifier.
    pub id: ChatModelId,
    /// What it is.
    pub settings: ModelSettings,
    /// Whether new chats begin with it. [`Error::Conflict`] if they begin with another.
    pub is_default: bool,
    /// Who offers it.
    pub by: Option<UserId>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertModel {
    const NAME: &'static str = "chat_models.insert_model";
    type Out = Change<ChatModel>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<ChatModel>> {
        Box::pin(async move {
            let new = diesel::insert_into(chat_model_configs::table)
                .values((
                    chat_model_configs::id.eq(Pk(self.id)),
                    &self.settings,
                    chat_model_configs::is_default.eq(self.is_default),
                    chat_model_configs::created_by.eq(self.by.map(Pk)),
                    chat_model_configs::updated_by.eq(self.by.map(Pk)),
                    chat_model_configs::created_at.eq(self.now),
                    chat_model_configs::updated_at.eq(self.now),
                ))
                .returning(ChatModel::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(new))
        })
    }
}

/// A model by its identifier. Chats go on showing deleted ones.
#[derive(Debug)]
pub struct GetModel {
    /// Which.
    pub id: ChatModelId,
}

impl Query for GetModel {
    const NAME: &'static str = "chat_models.get_model";
    type Out = ChatModel;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ChatModel> {
        Box::pin(async move {
            let row = chat_model_configs::table.find(Pk(self.id));
            Ok(row.select(ChatModel::as_select()).first(db.conn()).await?)
        })
    }
}

/// Live models that the subject may read: the default first, then by provider and model; at most 1,000.
#[derive(Debug)]
pub struct ListModels {
    /// Leave out those that are not offered.
    pub only_enabled: bool,
}

impl Query for ListModels {
    const NAME: &'static str = "chat_models.list_models";
    type Out = Vec<ChatModel>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::ChatModelConfig, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Vec<ChatModel>> {
        Box::pin(async move {
            let mut query = chat_model_configs::table
                .filter(chat_model_configs::deleted.eq(false))
                .order((
                    chat_model_configs::is_default.desc(),
                    chat_model_configs::provider,
                    chat_model_configs::model,
                    chat_model_configs::id,
                ))
                .limit(LIST_MAX)
                .select(ChatModel::as_select())
                .into_boxed();
            if let Some(readable) = permit.into_rows().condition(&TERMS) {
                query = query.filter(readable);
            }
            if self.only_enabled {
                query = query.filter(chat_model_configs::enabled);
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// Replaces what was said of a live model. Whether it is the default stays as it is.
#[derive(Clone, Debug)]
pub struct UpdateModel {
    /// Which.
    pub id: ChatModelId,
    /// What it is from now on.
    pub settings: ModelSettings,
    /// Who says so.
    pub by: Option<UserId>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateModel {
    const NAME: &'static str = "chat_models.update_model";
    type Out = Change<ChatModel>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<ChatModel>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            let new = diesel::update(chat_model_configs::table.find(old.id))
                .set((
                    &self.settings,
                    chat_model_configs::updated_by.eq(self.by.map(Pk)),
                    chat_model_configs::updated_at.eq(self.now),
                ))
                .returning(ChatModel::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// Lets new chats begin with this model instead of the one that they began with. Changes both, the old one first; the
/// model alone if it is the first default or was it already.
#[derive(Clone, Debug)]
pub struct SetDefaultModel {
    /// Which; a live one.
    pub id: ChatModelId,
    /// Who says so.
    pub by: Option<UserId>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for SetDefaultModel {
    const NAME: &'static str = "chat_models.set_default_model";
    type Out = Vec<Change<ChatModel>>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        // Another model stops being the default, so this is about all of them.
        Access::Before(vec![check(Action::Update, Object::new(Resource::ChatModelConfig))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            // All live ones are locked, in one order: whoever makes another one the default waits for the end of this.
            let live: Vec<ChatModel> = chat_model_configs::table
                .filter(chat_model_configs::deleted.eq(false))
                .order(chat_model_configs::id)
                .select(ChatModel::as_select())
                .for_update()
                .load(db.conn())
                .await?;
            if !live.iter().any(|model| model.id.0 == self.id) {
                return Err(Error::NotFound);
            }
            let (chosen, others): (Vec<_>, Vec<_>) =
                live.into_iter().partition(|model| model.id.0 == self.id);
            let mut changes = Vec::new();
            for old in others.into_iter().filter(|model| model.is_default).chain(chosen) {
                let new = diesel::update(chat_model_configs::table.find(old.id))
                    .set((
                        chat_model_configs::is_default.eq(old.id.0 == self.id),
                        chat_model_configs::updated_by.eq(self.by.map(Pk)),
                        chat_model_configs::updated_at.eq(self.now),
                    ))
                    .returning(ChatModel::as_returning())
                    .get_result(db.conn())
                    .await?;
                changes.push(Change::updated(old, new));
            }
            Ok(changes)
        })
    }
}

/// Takes a model away. Its row stays for the chats that used it; it is not the default any more.
#[derive(Clone, Debug)]
pub struct DeleteModel {
    /// Which; a live one.
    pub id: ChatModelId,
    /// Who says so.
    pub by: Option<UserId>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for DeleteModel {
    const NAME: &'static str = "chat_models.delete_model";
    type Out = Change<ChatModel>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<ChatModel>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            let new = diesel::update(chat_model_configs::table.find(old.id))
                .set((
                    chat_model_configs::deleted.eq(true),
                    chat_model_configs::deleted_at.eq(self.now),
                    chat_model_configs::is_default.eq(false),
                    chat_model_configs::updated_by.eq(self.by.map(Pk)),
                    chat_model_configs::updated_at.eq(self.now),
                ))
                .returning(ChatModel::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// What people may spend in chats unless their account or group says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = chat_usage_limit_config, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct UsageLimit {
    /// Whether limits are looked at at all.
    pub enabled: bool,
    /// Millionths of the deployment's currency.
    pub default_limit_micros: i64,
    pub period: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

const DEPLOYMENT: Object<'static> = Object::new(Resource::DeploymentConfig);

/// The limit; [`Error::NotFound`] if none was ever set.
#[derive(Debug)]
pub struct GetUsageLimit;

impl Query for GetUsageLimit {
    const NAME: &'static str = "chat_models.get_usage_limit";
    type Out = UsageLimit;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, DEPLOYMENT)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, UsageLimit> {
        Box::pin(async move {
            let row = chat_usage_limit_config::table.find(true);
            Ok(row.select(UsageLimit::as_select()).first(db.conn()).await?)
        })
    }
}

/// Sets the limit, whether there was one or not.
#[derive(Clone, Debug)]
pub struct UpsertUsageLimit {
    /// Whether limits are looked at at all.
    pub enabled: bool,
    /// Millionths of the deployment's currency; not negative.
    pub default_limit_micros: i64,
    /// `day`, `week` or `month`.
    pub period: &'static str,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpsertUsageLimit {
    const NAME: &'static str = "chat_models.upsert_usage_limit";
    type Out = Change<UsageLimit>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, DEPLOYMENT)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<UsageLimit>> {
        use chat_usage_limit_config as config;
        Box::pin(async move {
            let values = (
                config::enabled.eq(self.enabled),
                config::default_limit_micros.eq(self.default_limit_micros),
                config::period.eq(self.period),
                config::updated_at.eq(self.now),
            );
            // A row that is there is locked and yielded as it is.
            let (found, is_new): (UsageLimit, bool) = diesel::insert_into(config::table)
                .values((values, config::created_at.eq(self.now)))
                .on_conflict(config::singleton)
                .do_update()
                .set(config::singleton.eq(excluded(config::singleton)))
                .returning((UsageLimit::as_returning(), sql::<Bool>(IS_NEW)))
                .get_result(db.conn())
                .await?;
            if is_new {
                return Ok(Change::created(found));
            }
            let new = diesel::update(config::table.find(true))
                .set(values)
                .returning(UsageLimit::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(found, new))
        })
    }
}

crate::queries![
    InsertModel,
    GetModel,
    ListModels,
    UpdateModel,
    SetDefaultModel,
    DeleteModel,
    GetUsageLimit,
    UpsertUsageLimit,
];
