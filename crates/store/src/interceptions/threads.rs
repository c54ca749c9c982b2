//! Threads: the interceptions of a session, grouped by the tool calls that tie one request to the next. There is no
//! table of them.

use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};
use stdx::ids::{InterceptionId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::list::{Filter, Page};
use super::rows::Interception;
use crate::Pk;
use crate::query::{Access, Db, Fut, Permit, Query};
use crate::schema::aibridge_interceptions;

/// A page of a session's threads, oldest first, each with all its interceptions and their records.
#[derive(Debug)]
pub struct ListThreads {
    /// Which session.
    pub session_id: String,
    /// Whose; two users may have sent the same key.
    pub initiator: UserId,
    /// Only threads after this root. Excludes `before`.
    pub after: Option<InterceptionId>,
    /// Only threads before this root.
    pub before: Option<InterceptionId>,
    /// Threads, at most 200.
    pub limit: i64,
}

#[derive(QueryableByName)]
struct Root {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

impl Query for ListThreads {
    const NAME: &'static str = "interceptions.list_threads";
    /// `None`: the cursor is no root of this session.
    type Out = Option<Page>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Interception, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Option<Page>> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let (order, cursor) = match (self.after, self.before) {
                (Some(after), _) => (1, Some(after)),
                (None, Some(before)) => (-1, Some(before)),
                (None, None) => (1, None),
            };
            let filter = Filter {
                session_id: Some(self.session_id.clone()),
                initiator: Some(self.initiator),
                ..Filter::default()
            };
            let mut started_at = None;
            if let Some(cursor) = cursor {
                let mut query = aibridge_interceptions::table
                    .filter(aibridge_interceptions::id.eq(Pk(cursor)))
                    .filter(aibridge_interceptions::thread_root_id.is_null())
                    .select(aibridge_interceptions::started_at)
                    .into_boxed();
                for condition in filter.conditions(&rows) {
                    query = query.filter(condition);
                }
                let Some(at) = query.first::<OffsetDateTime>(db.conn()).await.optional()? else {
                    return Ok(None);
                };
                started_at = Some(at);
            }
            let roots: Vec<Root> = diesel::sql_query(
                "SELECT i.id FROM aibridge_interceptions i
                  WHERE i.session_id = $1 AND i.initiator_id = $2 AND i.ended_at IS NOT NULL
                    AND i.thread_root_id IS NULL
                    AND ($3 IS NULL OR i.initiator_id = ANY ($3))
                    AND ($4 IS NULL OR i.id = ANY ($4))
                    AND ($5 IS NULL OR $7 > 0 AND (i.started_at, i.id) > ($5, $6)
                                    OR $7 < 0 AND (i.started_at, i.id) < ($5, $6))
                  ORDER BY CASE WHEN $7 > 0 THEN i.started_at END, CASE WHEN $7 < 0 THEN i.started_at END DESC,
                           CASE WHEN $7 > 0 THEN i.id END, CASE WHEN $7 < 0 THEN i.id END DESC
                  LIMIT $8",
            )
            .bind::<Text, _>(&self.session_id)
            .bind::<SqlUuid, _>(Pk(self.initiator))
            .bind::<Nullable<Array<SqlUuid>>, _>(rows.owners())
            .bind::<Nullable<Array<SqlUuid>>, _>(rows.ids())
            .bind::<Nullable<Timestamptz>, _>(started_at)
            .bind::<Nullable<SqlUuid>, _>(cursor.map(Pk))
            .bind::<Integer, _>(order)
            .bind::<BigInt, _>(self.limit.clamp(1, 200))
            .load(db.conn())
            .await?;
            let roots: Vec<Uuid> = roots.into_iter().map(|root| root.id).collect();
            let mut query = aibridge_interceptions::table
                .filter(
                    aibridge_interceptions::id
                        .eq_any(roots.clone())
                        .or(aibridge_interceptions::thread_root_id.assume_not_null().eq_any(roots)),
                )
                .order((aibridge_interceptions::started_at, aibridge_interceptions::id))
                .select(Interception::as_select())
                .into_boxed();
            let own = Filter { initiator: Some(self.initiator), ..Filter::default() };
            for condition in own.conditions(&rows) {
                query = query.filter(condition);
            }
            let interceptions = query.load(db.conn()).await?;
            Page::around(db, interceptions).await.map(Some)
        })
    }
}
