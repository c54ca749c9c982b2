use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::ids::{GroupId, UserId};
use time::OffsetDateTime;

use super::group;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::user_ai_budget_overrides;
use crate::{Error, Pk, users};

/// A row of `user_ai_budget_overrides`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = user_ai_budget_overrides, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct BudgetOverride {
    pub user_id: Pk<UserId>,
    pub group_id: Pk<GroupId>,
    pub spend_limit_micros: i64,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

async fn lock(db: &mut Db<'_>, user: UserId) -> Result<BudgetOverride, Error> {
    Ok(user_ai_budget_overrides::table
        .find(Pk(user))
        .select(BudgetOverride::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

/// A user's override.
#[derive(Debug)]
pub struct GetBudgetOverride {
    /// Whose.
    pub user_id: UserId,
}

impl Query for GetBudgetOverride {
    const NAME: &'static str = "ai_budgets.get_budget_override";
    type Out = BudgetOverride;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, users::object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, BudgetOverride> {
        Box::pin(async move {
            Ok(user_ai_budget_overrides::table
                .find(Pk(self.user_id))
                .select(BudgetOverride::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// Sets a user's override. Needs `update` on the user and on the group. The user has to be in the group, or the answer
/// is [`Error::Check`] of `user_ai_budget_overrides_must_be_group_member`.
#[derive(Debug)]
pub struct UpsertBudgetOverride {
    /// Whose.
    pub user_id: UserId,
    /// What the spending is attributed to.
    pub group_id: GroupId,
    /// 0 allows nothing.
    pub spend_limit_micros: i64,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpsertBudgetOverride {
    const NAME: &'static str = "ai_budgets.upsert_budget_override";
    type Out = Change<BudgetOverride>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                let group = group(db, query.group_id).await?;
                Ok(vec![
                    check(Action::Update, users::object(query.user_id)),
                    check(Action::Update, group.object()),
                ])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let old = Error::optional(lock(db, self.user_id).await)?;
            let new = diesel::insert_into(user_ai_budget_overrides::table)
                .values((
                    user_ai_budget_overrides::user_id.eq(Pk(self.user_id)),
                    user_ai_budget_overrides::group_id.eq(Pk(self.group_id)),
                    user_ai_budget_overrides::spend_limit_micros.eq(self.spend_limit_micros),
                    user_ai_budget_overrides::created_at.eq(self.now),
                    user_ai_budget_overrides::updated_at.eq(self.now),
                ))
                .on_conflict(user_ai_budget_overrides::user_id)
                .do_update()
                .set((
                    user_ai_budget_overrides::group_id.eq(Pk(self.group_id)),
                    user_ai_budget_overrides::spend_limit_micros.eq(self.spend_limit_micros),
                    user_ai_budget_overrides::updated_at.eq(self.now),
                ))
                .returning(BudgetOverride::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change { old, new: Some(new) })
        })
    }
}

/// Takes a user's override away. Needs `update` on the user and on the group that it is attributed to.
#[derive(Debug)]
pub struct DeleteBudgetOverride {
    /// Whose.
    pub user_id: UserId,
}

impl Query for DeleteBudgetOverride {
    const NAME: &'static str = "ai_budgets.delete_budget_override";
    type Out = Change<BudgetOverride>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                let own = lock(db, query.user_id).await?;
                let group = group(db, own.group_id.0).await?;
                Ok(vec![
                    check(Action::Update, users::object(query.user_id)),
                    check(Action::Update, group.object()),
                ])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let gone = diesel::delete(user_ai_budget_overrides::table.find(Pk(self.user_id)))
                .returning(BudgetOverride::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::deleted(gone))
        })
    }
}
