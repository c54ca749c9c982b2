use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::{GroupId, UserId};
use time::Date as Day;

use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::{Pk, users};

/// Adds to what a user spent on one day in UTC, attributed to a group. Yields the sum of the day. Atomic: two who add
/// at once both count.
#[derive(Debug)]
pub struct AddSpend {
    /// Who spent.
    pub user_id: UserId,
    /// What it is attributed to.
    pub group_id: GroupId,
    /// In UTC.
    pub day: Day,
    /// At least 0.
    pub micros: i64,
}

#[derive(QueryableByName)]
struct Sum {
    #[diesel(sql_type = BigInt)]
    micros: i64,
}

impl Query for AddSpend {
    const NAME: &'static str = "ai_budgets.add_spend";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        let recorded = Object::new(Resource::Interception).owner(self.user_id);
        Access::Before(vec![check(Action::Update, recorded)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let sum: Sum = diesel::sql_query(
                "INSERT INTO ai_user_daily_spend AS s (user_id, effective_group_id, day, spend_micros)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (user_id, effective_group_id, day)
                 DO UPDATE SET spend_micros = s.spend_micros + excluded.spend_micros
                 RETURNING spend_micros AS micros",
            )
            .bind::<SqlUuid, _>(Pk(self.user_id))
            .bind::<SqlUuid, _>(Pk(self.group_id))
            .bind::<Date, _>(self.day)
            .bind::<BigInt, _>(self.micros)
            .get_result(db.conn())
            .await?;
            Ok(sum.micros)
        })
    }
}

/// What a user spent since a day, attributed to a group.
#[derive(Debug)]
pub struct GetSpend {
    /// Who spent.
    pub user_id: UserId,
    /// What it is attributed to.
    pub group_id: GroupId,
    /// The first day that counts, in UTC.
    pub since: Day,
}

impl Query for GetSpend {
    const NAME: &'static str = "ai_budgets.get_spend";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, users::object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let sum: Sum = diesel::sql_query(
                "SELECT coalesce(sum(spend_micros), 0)::bigint AS micros FROM ai_user_daily_spend
                  WHERE user_id = $1 AND effective_group_id = $2 AND day >= $3",
            )
            .bind::<SqlUuid, _>(Pk(self.user_id))
            .bind::<SqlUuid, _>(Pk(self.group_id))
            .bind::<Date, _>(self.since)
            .get_result(db.conn())
            .await?;
            Ok(sum.micros)
        })
    }
}
