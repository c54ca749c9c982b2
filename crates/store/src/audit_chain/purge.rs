use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use time::OffsetDateTime;

use super::checkpoint::{Kind, sign};
use crate::locks::{self, Lock};
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::{audit_checkpoints, audit_logs};

/// Removes the oldest rows, and leaves a signed checkpoint that says where the chain starts now. Returns how many.
///
/// Rows go in the order of the chain up to the first that is to be kept. Rows that are not in the chain are evidence,
/// and stay.
#[derive(Debug)]
pub struct DeleteOldAuditLogs {
    /// Rows from before this go.
    pub before: OffsetDateTime,
    /// Most rows of one run.
    pub limit: i64,
    /// Now.
    pub now: OffsetDateTime,
}

impl Query for DeleteOldAuditLogs {
    const NAME: &'static str = "audit_chain.delete_old_audit_logs";
    type Out = usize;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, Object::new(Resource::System))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, usize> {
        Box::pin(async move {
            locks::take(db, Lock::AuditCheckpoints).await?;
            let oldest: Vec<(Option<i64>, OffsetDateTime, Option<Vec<u8>>)> = audit_logs::table
                .filter(audit_logs::sequence.is_not_null())
                .order(audit_logs::sequence.asc())
                .limit(self.limit.max(0))
                .select((audit_logs::sequence, audit_logs::time, audit_logs::hash))
                .load(db.conn())
                .await?;
            let last = oldest.into_iter().take_while(|(_, time, _)| *time < self.before).last();
            let Some((Some(sequence), _, Some(hash))) = last else { return Ok(0) };
            let removed = diesel::delete(audit_logs::table)
                .filter(audit_logs::sequence.le(sequence))
                .execute(db.conn())
                .await?;
            sign(db, Kind::Start, sequence, hash, self.now).await?;
            // What they said of rows that are gone is said by the new one.
            diesel::delete(audit_checkpoints::table)
                .filter(audit_checkpoints::sequence.lt(sequence))
                .execute(db.conn())
                .await?;
            Ok(removed)
        })
    }
}
