//! Sessions and threads: interceptions grouped by the session key that a client sent, and by the tool calls
//! that tie one request to the next. There is no table of either.

use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};
use stdx::ids::{InterceptionId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::list::{Filter, PAGE_MAX, Page};
use super::rows::Interception;
use crate::Pk;
use crate::query::{Access, Db, Fut, Permit, Query};
use crate::schema::aibridge_interceptions;
use crate::users::{UserName, names_of};

/// One session of one user.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
#[expect(missing_docs, reason = "aggregates over the session's interceptions")]
pub struct Session {
    #[diesel(sql_type = Text)]
    pub session_id: String,
    #[diesel(sql_type = SqlUuid)]
    pub initiator_id: Uuid,
    #[diesel(sql_type = Array<Text>)]
    pub providers: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    pub models: Vec<String>,
    #[diesel(sql_type = Text)]
    pub client: String,
    #[diesel(sql_type = diesel::sql_types::Jsonb)]
    pub metadata: serde_json::Value,
    #[diesel(sql_type = Timestamptz)]
    pub started_at: OffsetDateTime,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<OffsetDateTime>,
    #[diesel(sql_type = Timestamptz)]
    pub last_active_at: OffsetDateTime,
    #[diesel(sql_type = BigInt)]
    pub threads: i64,
    #[diesel(sql_type = BigInt)]
    pub input_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub output_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub cache_read_input_tokens: i64,
    #[diesel(sql_type = BigInt)]
    pub cache_write_input_tokens: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub last_prompt: Option<String>,
}

/// Where the next page of sessions begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCursor {
    /// The last session of the previous page. When several users sent this key, the one active longest ago
    /// counts, so that pages never repeat.
    pub session_id: String,
}

/// Binds the filter in one fixed order; a NULL switches its condition off.
macro_rules! bind_filter {
    ($query:expr, $filter:expr, $rows:expr) => {{
        let owners: Option<Vec<Pk<UserId>>> = $rows.owners();
        let ids: Option<Vec<Uuid>> = $rows.ids();
        $query
            .bind::<Nullable<Array<SqlUuid>>, _>(owners)
            .bind::<Nullable<Array<SqlUuid>>, _>(ids)
            .bind::<Nullable<SqlUuid>, _>($filter.initiator.map(Pk))
            .bind::<Nullable<Text>, _>($filter.provider.clone())
            .bind::<Nullable<Text>, _>($filter.provider_name.clone())
            .bind::<Nullable<Text>, _>($filter.model.clone())
            .bind::<Nullable<Text>, _>($filter.client.clone())
            .bind::<Nullable<Text>, _>($filter.session_id.clone())
            .bind::<Nullable<Timestamptz>, _>($filter.started_after)
            .bind::<Nullable<Timestamptz>, _>($filter.started_before)
    }};
}

/// The sessions that match: cheap aggregates first, so that a page is chosen before anything is joined.
const MATCHING: &str = "
    WITH matching AS (
        SELECT i.session_id, i.initiator_id
          FROM aibridge_interceptions i
         WHERE i.ended_at IS NOT NULL
           AND ($1 IS NULL OR i.initiator_id = ANY ($1))
           AND ($2 IS NULL OR i.id = ANY ($2))
           AND ($3 IS NULL OR i.initiator_id = $3)
           AND ($4 IS NULL OR i.provider = $4)
           AND ($5 IS NULL OR i.provider_name = $5)
           AND ($6 IS NULL OR i.model = $6)
           AND ($7 IS NULL OR i.client = $7)
           AND ($8 IS NULL OR i.session_id = $8)
           AND ($9 IS NULL OR i.started_at >= $9)
           AND ($10 IS NULL OR i.started_at <= $10)
         GROUP BY i.session_id, i.initiator_id
    ), sessions AS (
        SELECT i.session_id, i.initiator_id,
               min(i.started_at) AS started_at, max(i.ended_at) AS ended_at,
               max(i.started_at) AS last_active_at,
               count(*) FILTER (WHERE i.thread_root_id IS NULL) AS threads,
               array_agg(DISTINCT i.provider) AS providers, array_agg(DISTINCT i.model) AS models,
               (array_agg(i.client ORDER BY i.started_at, i.id))[1] AS client,
               (array_agg(i.metadata ORDER BY i.started_at, i.id))[1] AS metadata,
               array_agg(i.id) AS interceptions
          FROM aibridge_interceptions i
          JOIN matching m ON m.session_id = i.session_id AND m.initiator_id = i.initiator_id
         WHERE i.ended_at IS NOT NULL AND ($2 IS NULL OR i.id = ANY ($2))
         GROUP BY i.session_id, i.initiator_id
    )";

const PAGE: &str = ", page AS (
        SELECT * FROM sessions
         WHERE $11 IS NULL
            OR (last_active_at, session_id, initiator_id) < (
                SELECT last_active_at, session_id, initiator_id FROM sessions WHERE session_id = $11
                 ORDER BY last_active_at, initiator_id LIMIT 1)
         ORDER BY last_active_at DESC, session_id DESC, initiator_id DESC
        OFFSET $12 LIMIT $13
    )
    SELECT page.session_id, page.initiator_id, page.providers, page.models, page.client, page.metadata,
           page.started_at, page.ended_at, page.last_active_at, page.threads,
           t.input_tokens, t.output_tokens, t.cache_read_input_tokens, t.cache_write_input_tokens,
           (SELECT p.prompt FROM aibridge_user_prompts p
             WHERE p.interception_id = ANY (page.interceptions)
             ORDER BY p.created_at DESC, p.id DESC LIMIT 1) AS last_prompt
      FROM page
      CROSS JOIN LATERAL (
        SELECT coalesce(sum(u.input_tokens), 0)::bigint AS input_tokens,
               coalesce(sum(u.output_tokens), 0)::bigint AS output_tokens,
               coalesce(sum(u.cache_read_input_tokens), 0)::bigint AS cache_read_input_tokens,
               coalesce(sum(u.cache_write_input_tokens), 0)::bigint AS cache_write_input_tokens
          FROM aibridge_token_usages u WHERE u.interception_id = ANY (page.interceptions)
      ) t
     ORDER BY page.last_active_at DESC, page.session_id DESC, page.initiator_id DESC";

/// A page of sessions, last active first.
#[derive(Debug)]
pub struct ListSessions {
    /// A session matches when one of its interceptions does.
    pub filter: Filter,
    /// Only what comes after this one. Excludes `offset`.
    pub after: Option<SessionCursor>,
    /// Rows to skip.
    pub offset: i64,
    /// At most 1,000.
    pub limit: i64,
}

impl Query for ListSessions {
    const NAME: &'static str = "interceptions.list_sessions";
    type Out = (Vec<Session>, Vec<UserName>);

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Interception, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let query = diesel::sql_query(format!("{MATCHING}{PAGE}"));
            let sessions: Vec<Session> = bind_filter!(query, self.filter, rows)
                .bind::<Nullable<Text>, _>(self.after.as_ref().map(|after| &after.session_id))
                .bind::<BigInt, _>(self.offset.max(0))
                .bind::<BigInt, _>(self.limit.clamp(0, PAGE_MAX))
                .load(db.conn())
                .await?;
            let users =
                names_of(db, sessions.iter().map(|row| UserId::new(row.initiator_id))).await?;
            Ok((sessions, users))
        })
    }
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How many sessions match.
#[derive(Debug)]
pub struct CountSessions {
    /// Which.
    pub filter: Filter,
}

impl Query for CountSessions {
    const NAME: &'static str = "interceptions.count_sessions";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Interception, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let query =
                diesel::sql_query(format!("{MATCHING} SELECT count(*) AS count FROM sessions"));
            let counted: Counted =
                bind_filter!(query, self.filter, rows).get_result(db.conn()).await?;
            Ok(counted.count)
        })
    }
}

/// One session by its key. `None` when it does not exist or may not be read.
#[derive(Debug)]
pub struct GetSession {
    /// Which.
    pub session_id: String,
}

impl Query for GetSession {
    const NAME: &'static str = "interceptions.get_session";
    type Out = Option<(Session, Vec<UserName>)>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Interception, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let filter = Filter { session_id: Some(self.session_id.clone()), ..Filter::default() };
            let query = diesel::sql_query(format!("{MATCHING}{PAGE}"));
            let session: Option<Session> = bind_filter!(query, filter, rows)
                .bind::<Nullable<Text>, _>(None::<String>)
                .bind::<BigInt, _>(0)
                .bind::<BigInt, _>(1)
                .load::<Session>(db.conn())
                .await?
                .pop();
            let Some(session) = session else { return Ok(None) };
            let users = names_of(db, std::iter::once(UserId::new(session.initiator_id))).await?;
            Ok(Some((session, users)))
        })
    }
}

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
