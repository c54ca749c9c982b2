use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};
use stdx::ids::{InterceptionId, UserId};
use time::OffsetDateTime;

use super::rows::{Interception, Prompt, Thought, Tokens, Tool};
use crate::query::{Access, Db, Fut, Permit, Query};
use crate::rows::{Rows, Terms};
use crate::schema::{
    aibridge_interceptions, aibridge_model_thoughts, aibridge_token_usages, aibridge_tool_usages,
    aibridge_user_prompts,
};
use crate::users::{UserName, names_of};
use crate::{Error, Pk};

/// Most rows of a page.
pub(super) const PAGE_MAX: i64 = 1_000;

/// Which interceptions. Absent fields do not narrow. Those still in flight are never listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "one per column; times are inclusive")]
pub struct Filter {
    pub initiator: Option<UserId>,
    pub provider: Option<String>,
    pub provider_name: Option<String>,
    pub model: Option<String>,
    pub client: Option<String>,
    pub session_id: Option<String>,
    pub started_after: Option<OffsetDateTime>,
    pub started_before: Option<OffsetDateTime>,
}

pub(super) type Condition = crate::rows::Condition<aibridge_interceptions::table>;

/// Interceptions belong to people, not to organizations.
const TERMS: Terms<aibridge_interceptions::table> = Terms {
    id: Some(|ids| Box::new(aibridge_interceptions::id.eq_any(ids))),
    owner: Some(|user| Box::new(aibridge_interceptions::initiator_id.eq(user))),
    ..Terms::NONE
};

impl Filter {
    pub(super) fn conditions(&self, rows: &Rows) -> Vec<Condition> {
        let mut all: Vec<Condition> =
            vec![Box::new(aibridge_interceptions::ended_at.is_not_null())];
        all.extend(rows.condition(&TERMS));
        if let Some(user) = self.initiator {
            all.push(Box::new(aibridge_interceptions::initiator_id.eq(Pk(user))));
        }
        if let Some(provider) = &self.provider {
            all.push(Box::new(aibridge_interceptions::provider.eq(provider.clone())));
        }
        if let Some(name) = &self.provider_name {
            all.push(Box::new(aibridge_interceptions::provider_name.eq(name.clone())));
        }
        if let Some(model) = &self.model {
            all.push(Box::new(aibridge_interceptions::model.eq(model.clone())));
        }
        if let Some(client) = &self.client {
            all.push(Box::new(aibridge_interceptions::client.eq(client.clone())));
        }
        if let Some(session) = &self.session_id {
            all.push(Box::new(aibridge_interceptions::session_id.eq(session.clone())));
        }
        if let Some(after) = self.started_after {
            all.push(Box::new(aibridge_interceptions::started_at.ge(after)));
        }
        if let Some(before) = self.started_before {
            all.push(Box::new(aibridge_interceptions::started_at.le(before)));
        }
        all
    }
}

/// Interceptions with everything recorded about them.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "one list per table; children in order of (created_at, id)")]
pub struct Page {
    pub interceptions: Vec<Interception>,
    pub users: Vec<UserName>,
    pub tokens: Vec<Tokens>,
    pub prompts: Vec<Prompt>,
    pub tools: Vec<Tool>,
    pub thoughts: Vec<Thought>,
}

impl Page {
    /// Loads what belongs to interceptions that the subject was allowed to list.
    pub(super) async fn around(
        db: &mut Db<'_>,
        interceptions: Vec<Interception>,
    ) -> Result<Self, Error> {
        let ids: Vec<Pk<InterceptionId>> = interceptions.iter().map(|row| row.id).collect();
        let users = names_of(db, interceptions.iter().map(|row| row.initiator_id.0)).await?;
        let tokens = aibridge_token_usages::table
            .filter(aibridge_token_usages::interception_id.eq_any(&ids))
            .order((aibridge_token_usages::created_at, aibridge_token_usages::id))
            .select(Tokens::as_select())
            .load(db.conn())
            .await?;
        let prompts = aibridge_user_prompts::table
            .filter(aibridge_user_prompts::interception_id.eq_any(&ids))
            .order((aibridge_user_prompts::created_at, aibridge_user_prompts::id))
            .select(Prompt::as_select())
            .load(db.conn())
            .await?;
        let tools = aibridge_tool_usages::table
            .filter(aibridge_tool_usages::interception_id.eq_any(&ids))
            .order((aibridge_tool_usages::created_at, aibridge_tool_usages::id))
            .select(Tool::as_select())
            .load(db.conn())
            .await?;
        let thoughts = aibridge_model_thoughts::table
            .filter(aibridge_model_thoughts::interception_id.eq_any(&ids))
            .order((aibridge_model_thoughts::created_at, aibridge_model_thoughts::id))
            .select(Thought::as_select())
            .load(db.conn())
            .await?;
        Ok(Self { interceptions, users, tokens, prompts, tools, thoughts })
    }
}

/// A page, newest first.
#[derive(Debug)]
pub struct ListInterceptions {
    /// Which.
    pub filter: Filter,
    /// Only what comes after this one. Excludes `offset`.
    pub after: Option<InterceptionId>,
    /// Rows to skip.
    pub offset: i64,
    /// At most 1,000.
    pub limit: i64,
}

impl Query for ListInterceptions {
    const NAME: &'static str = "interceptions.list_interceptions";
    /// `None`: the row named by `after` does not exist or may not be read.
    type Out = Option<Page>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Interception, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Option<Page>> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let mut query = aibridge_interceptions::table
                .order((
                    aibridge_interceptions::started_at.desc(),
                    aibridge_interceptions::id.desc(),
                ))
                .limit(self.limit.clamp(0, PAGE_MAX))
                .offset(self.offset.max(0))
                .select(Interception::as_select())
                .into_boxed();
            if let Some(after) = self.after {
                let Some(started_at) = cursor(db, after, &rows).await? else { return Ok(None) };
                // The first half is where the index begins to be read.
                query = query.filter(aibridge_interceptions::started_at.le(started_at)).filter(
                    aibridge_interceptions::started_at
                        .lt(started_at)
                        .or(aibridge_interceptions::id.lt(Pk(after))),
                );
            }
            for condition in self.filter.conditions(&rows) {
                query = query.filter(condition);
            }
            let interceptions = query.load(db.conn()).await?;
            Page::around(db, interceptions).await.map(Some)
        })
    }
}

async fn cursor(
    db: &mut Db<'_>,
    after: InterceptionId,
    rows: &Rows,
) -> Result<Option<OffsetDateTime>, Error> {
    let mut query = aibridge_interceptions::table
        .filter(aibridge_interceptions::id.eq(Pk(after)))
        .select(aibridge_interceptions::started_at)
        .into_boxed();
    for condition in Filter::default().conditions(rows) {
        query = query.filter(condition);
    }
    Ok(query.first(db.conn()).await.optional()?)
}

/// How many match, counted no further than `cap + 1`.
#[derive(Debug)]
pub struct CountInterceptions {
    /// Which.
    pub filter: Filter,
    /// Where counting stops: a count over millions of rows would time the page out.
    pub cap: i64,
}

impl Query for CountInterceptions {
    const NAME: &'static str = "interceptions.count_interceptions";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Interception, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let rows = permit.into_rows();
            // In the order of the indexes, so that counting can stop early.
            let mut query = aibridge_interceptions::table
                .order((
                    aibridge_interceptions::started_at.desc(),
                    aibridge_interceptions::id.desc(),
                ))
                .limit(self.cap.saturating_add(1))
                .select(1.into_sql::<BigInt>())
                .into_boxed();
            for condition in self.filter.conditions(&rows) {
                query = query.filter(condition);
            }
            let seen: Vec<i64> = query.load(db.conn()).await?;
            Ok(i64::try_from(seen.len()).unwrap_or(i64::MAX))
        })
    }
}
