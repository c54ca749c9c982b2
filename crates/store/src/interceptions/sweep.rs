use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::RunQueryDsl;
use rbac::Action;
use time::OffsetDateTime;

use super::ANY;
use crate::query::{Access, Db, Fut, Permit, Query, check};

/// Closes interceptions that began before an instant and have not ended, oldest first: with error type
/// `unknown` and the message `no end was recorded`, at the time of their newest fact. Should their end arrive
/// after all, it replaces this one. Yields how many it closed; those that somebody else is writing to are left
/// for the next time.
#[derive(Debug)]
pub struct SweepOpen {
    /// Those that began later may still be under way.
    pub started_before: OffsetDateTime,
    /// Most to close.
    pub limit: i64,
}

const SWEEP: &str = concat!(
    "UPDATE aibridge_interceptions i
        SET ended_at = greatest(i.started_at,
                (SELECT max(t.created_at) FROM aibridge_token_usages t   WHERE t.interception_id = i.id),
                (SELECT max(p.created_at) FROM aibridge_user_prompts p   WHERE p.interception_id = i.id),
                (SELECT max(c.created_at) FROM aibridge_tool_usages c    WHERE c.interception_id = i.id),
                (SELECT max(m.created_at) FROM aibridge_model_thoughts m WHERE m.interception_id = i.id)),
            error_type = '", swept_type!(), "', error_message = '", swept_message!(), "'
       FROM (SELECT id FROM aibridge_interceptions
              WHERE ended_at IS NULL AND started_at < $1
              ORDER BY started_at LIMIT $2 FOR UPDATE SKIP LOCKED) open
      WHERE i.id = open.id"
);

impl Query for SweepOpen {
    const NAME: &'static str = "interceptions.sweep_open";
    type Out = usize;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, usize> {
        Box::pin(async move {
            let closed = diesel::sql_query(SWEEP)
                .bind::<Timestamptz, _>(self.started_before)
                .bind::<BigInt, _>(self.limit.max(0))
                .execute(db.conn())
                .await?;
            Ok(closed)
        })
    }
}
