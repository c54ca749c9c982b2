//! Who may spend how much on AI, and what was spent. Amounts are millionths of the currency.
//!
//! A group's budget is what each of its members may spend in a period. A user's override replaces it, and is attributed
//! to a group that the user is in; leaving the group ends it. Without either there is no limit.

mod overrides;
mod spend;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::ids::{GroupId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

pub use overrides::{
    BudgetOverride, DeleteBudgetOverride, GetBudgetOverride, UpsertBudgetOverride,
};
pub use spend::{AddSpend, GetSpend};

use crate::groups::Group;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::{group_ai_budgets, groups, user_ai_budget_overrides};
use crate::{Error, Pk, users};

/// A row of `group_ai_budgets`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = group_ai_budgets, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct GroupBudget {
    pub group_id: Pk<GroupId>,
    pub spend_limit_micros: i64,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// The group that a budget is of, held until the transaction ends.
async fn group(db: &mut Db<'_>, id: GroupId) -> Result<Group, Error> {
    Ok(groups::table
        .find(Pk(id))
        .select(Group::as_select())
        .for_no_key_update()
        .first(db.conn())
        .await?)
}

/// A group's budget; `None` without one. Who may read the group may know.
#[derive(Debug)]
pub struct FindGroupBudget {
    /// Whose.
    pub group_id: GroupId,
}

impl Query for FindGroupBudget {
    const NAME: &'static str = "ai_budgets.find_group_budget";
    type Out = Option<GroupBudget>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                // Without a lock: what is asked is as old as the answer at most.
                let group: Group = groups::table
                    .find(Pk(query.group_id))
                    .select(Group::as_select())
                    .first(db.conn())
                    .await?;
                Ok(vec![check(Action::Read, group.object()).shared(group.acl())])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(find(db, self.group_id))
    }
}

async fn find(db: &mut Db<'_>, id: GroupId) -> Result<Option<GroupBudget>, Error> {
    let budget = group_ai_budgets::table.find(Pk(id)).select(GroupBudget::as_select());
    Ok(budget.first(db.conn()).await.optional()?)
}

/// Sets a group's budget.
#[derive(Debug)]
pub struct UpsertGroupBudget {
    /// Whose.
    pub group_id: GroupId,
    /// More than 0.
    pub spend_limit_micros: i64,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpsertGroupBudget {
    const NAME: &'static str = "ai_budgets.upsert_group_budget";
    type Out = Change<GroupBudget>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                Ok(vec![check(Action::Update, group(db, query.group_id).await?.object())])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let old = find(db, self.group_id).await?;
            let new = diesel::insert_into(group_ai_budgets::table)
                .values((
                    group_ai_budgets::group_id.eq(Pk(self.group_id)),
                    group_ai_budgets::spend_limit_micros.eq(self.spend_limit_micros),
                    group_ai_budgets::created_at.eq(self.now),
                    group_ai_budgets::updated_at.eq(self.now),
                ))
                .on_conflict(group_ai_budgets::group_id)
                .do_update()
                .set((
                    group_ai_budgets::spend_limit_micros.eq(self.spend_limit_micros),
                    group_ai_budgets::updated_at.eq(self.now),
                ))
                .returning(GroupBudget::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change { old, new: Some(new) })
        })
    }
}

/// Takes a group's budget away; [`Error::NotFound`] without one.
#[derive(Debug)]
pub struct DeleteGroupBudget {
    /// Whose.
    pub group_id: GroupId,
}

impl Query for DeleteGroupBudget {
    const NAME: &'static str = "ai_budgets.delete_group_budget";
    type Out = Change<GroupBudget>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                Ok(vec![check(Action::Update, group(db, query.group_id).await?.object())])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let gone = diesel::delete(group_ai_budgets::table.find(Pk(self.group_id)))
                .returning(GroupBudget::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::deleted(gone))
        })
    }
}

/// The limit that holds for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveBudget {
    /// What the spending is attributed to.
    pub group_id: GroupId,
    /// For the period.
    pub spend_limit_micros: i64,
    /// Whether it is the user's own.
    pub is_override: bool,
}

/// The limit that holds for a user, whatever organization it comes from: the override; else the greatest of the groups'
/// budgets, of equal ones that of the organization joined first, then of the lesser id. `None`: no limit.
#[derive(Debug)]
pub struct FindEffectiveBudget {
    /// Whose.
    pub user_id: UserId,
}

const GREATEST: &str = "
    SELECT b.group_id, b.spend_limit_micros
      FROM group_members_expanded e
      JOIN group_ai_budgets b ON b.group_id = e.group_id
      JOIN organization_members m ON m.organization_id = e.organization_id AND m.user_id = e.user_id
     WHERE e.user_id = $1
     ORDER BY b.spend_limit_micros DESC, m.created_at, b.group_id LIMIT 1";

#[derive(QueryableByName)]
struct Greatest {
    #[diesel(sql_type = SqlUuid)]
    group_id: Uuid,
    #[diesel(sql_type = BigInt)]
    spend_limit_micros: i64,
}

impl Query for FindEffectiveBudget {
    const NAME: &'static str = "ai_budgets.find_effective_budget";
    type Out = Option<EffectiveBudget>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, users::object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let own: Option<(Pk<GroupId>, i64)> = user_ai_budget_overrides::table
                .find(Pk(self.user_id))
                .select((
                    user_ai_budget_overrides::group_id,
                    user_ai_budget_overrides::spend_limit_micros,
                ))
                .first(db.conn())
                .await
                .optional()?;
            if let Some((group_id, spend_limit_micros)) = own {
                let (group_id, is_override) = (group_id.0, true);
                return Ok(Some(EffectiveBudget { group_id, spend_limit_micros, is_override }));
            }
            let greatest: Option<Greatest> = diesel::sql_query(GREATEST)
                .bind::<SqlUuid, _>(Pk(self.user_id))
                .get_result(db.conn())
                .await
                .optional()?;
            Ok(greatest.map(|row| EffectiveBudget {
                group_id: GroupId::new(row.group_id),
                spend_limit_micros: row.spend_limit_micros,
                is_override: false,
            }))
        })
    }
}

crate::queries![
    FindGroupBudget,
    UpsertGroupBudget,
    DeleteGroupBudget,
    FindEffectiveBudget,
    GetBudgetOverride,
    UpsertBudgetOverride,
    DeleteBudgetOverride,
    AddSpend,
    GetSpend,
];
