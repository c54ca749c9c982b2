//! Sessions: interceptions grouped by the session key that a client sent. There is no table of them.
//!
//! A session is represented by its newest interception, so that a page of the last active ones is found by walking
//! from the newest interception on, whatever number there is of older ones.

use std::fmt::Write as _;

use diesel::QueryableByName;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{BoxedSqlQuery, SqlQuery};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, BigInt, HasSqlType, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};
use stdx::ids::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::list::{Filter, PAGE_MAX};
use crate::query::{Access, Db, Fut, Permit, Query};
use crate::rows::Rows;
use crate::users::{UserName, names_of};
use crate::{Error, Pk};

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

/// The columns of a page's sessions, each from all of its interceptions that may be seen.
const SHOWN: &str = "
    SELECT page.session_id, page.initiator_id, s.providers, s.models, s.client, s.metadata,
           s.started_at, s.ended_at, page.started_at AS last_active_at, s.threads,
           t.input_tokens, t.output_tokens, t.cache_read_input_tokens, t.cache_write_input_tokens,
           (SELECT p.prompt FROM aibridge_user_prompts p
             WHERE p.interception_id = ANY (s.interceptions)
             ORDER BY p.created_at DESC, p.id DESC LIMIT 1) AS last_prompt
      FROM page
     CROSS JOIN LATERAL (
        SELECT min(i.started_at) AS started_at, max(i.ended_at) AS ended_at,
               count(*) FILTER (WHERE i.thread_root_id IS NULL) AS threads,
               array_agg(DISTINCT i.provider) AS providers, array_agg(DISTINCT i.model) AS models,
               (array_agg(i.client ORDER BY i.started_at, i.id))[1] AS client,
               (array_agg(i.metadata ORDER BY i.started_at, i.id))[1] AS metadata,
               array_agg(i.id) AS interceptions
          FROM aibridge_interceptions i
         WHERE i.session_id = page.session_id AND i.initiator_id = page.initiator_id";
const SHOWN_TOKENS: &str = "
      ) s
     CROSS JOIN LATERAL (
        SELECT coalesce(sum(u.input_tokens), 0)::bigint AS input_tokens,
               coalesce(sum(u.output_tokens), 0)::bigint AS output_tokens,
               coalesce(sum(u.cache_read_input_tokens), 0)::bigint AS cache_read_input_tokens,
               coalesce(sum(u.cache_write_input_tokens), 0)::bigint AS cache_write_input_tokens
          FROM aibridge_token_usages u WHERE u.interception_id = ANY (s.interceptions)
      ) t
     ORDER BY page.started_at DESC, page.id DESC";

/// A statement whose conditions depend on what is asked for. Only what is asked for is in its text: a condition that
/// is switched off by a NULL keeps plans that are made once for all values from using an index.
struct Statement {
    query: BoxedSqlQuery<'static, Pg, SqlQuery>,
    bound: usize,
}

impl Statement {
    fn new() -> Self {
        Self { query: diesel::sql_query("").into_boxed(), bound: 0 }
    }

    /// Binds a value and yields the name by which the text speaks of it.
    fn bind<T, V>(&mut self, value: V) -> String
    where
        Pg: HasSqlType<T>,
        T: Send + 'static,
        V: ToSql<T, Pg> + Send + 'static,
    {
        let query = std::mem::replace(&mut self.query, diesel::sql_query("").into_boxed());
        self.query = query.bind::<T, V>(value);
        self.bound += 1;
        format!("${}", self.bound)
    }

    /// A condition on column `name` of whatever interception; none without a value.
    fn condition<T, V>(&mut self, column: &'static str, value: Option<V>) -> Option<Condition>
    where
        Pg: HasSqlType<T>,
        T: Send + 'static,
        V: ToSql<T, Pg> + Send + 'static,
    {
        let value = self.bind::<T, V>(value?);
        Some(Condition { column, value })
    }

    fn with(self, text: &str) -> BoxedSqlQuery<'static, Pg, SqlQuery> {
        self.query.sql(text)
    }
}

/// A column with operator, such as `model =`, and the bound value.
struct Condition {
    column: &'static str,
    value: String,
}

/// What is asked of a session's interceptions, by what it decides.
struct Conditions {
    /// Which may be seen at all.
    seen: Vec<Condition>,
    /// Whose and which session.
    session: Vec<Condition>,
    /// What one of them must be like.
    one: Vec<Condition>,
}

impl Conditions {
    fn of(statement: &mut Statement, filter: &Filter, rows: &Rows) -> Self {
        let st = statement;
        let text = |text: &Option<String>| text.clone();
        let seen = [st.condition::<Array<SqlUuid>, _>("id = ANY", rows.ids())];
        let session = [
            st.condition::<Array<SqlUuid>, _>("initiator_id = ANY", rows.owners()),
            st.condition::<SqlUuid, _>("initiator_id =", filter.initiator.map(Pk)),
            st.condition::<Text, _>("session_id =", text(&filter.session_id)),
        ];
        let one = [
            st.condition::<Text, _>("provider =", text(&filter.provider)),
            st.condition::<Text, _>("provider_name =", text(&filter.provider_name)),
            st.condition::<Text, _>("model =", text(&filter.model)),
            st.condition::<Text, _>("client =", text(&filter.client)),
            st.condition::<Timestamptz, _>("started_at >=", filter.started_after),
            st.condition::<Timestamptz, _>("started_at <=", filter.started_before),
        ];
        Self {
            seen: seen.into_iter().flatten().collect(),
            session: session.into_iter().flatten().collect(),
            one: one.into_iter().flatten().collect(),
        }
    }

    /// Of the interceptions that are called `name`: the conditions on every one.
    fn seen(&self, name: &str) -> String {
        format!(" AND {name}.ended_at IS NOT NULL{}", all(&self.seen, name))
    }

    /// The newest interception of every session that matches.
    ///
    /// Users are compared in a form that no index takes: were it an equality, the server would look for the session
    /// among all interceptions of the user. In the index of sessions the first entry decides.
    fn newest(&self) -> String {
        let same = |name: &str| {
            format!(
                "SELECT FROM aibridge_interceptions {name}
                  WHERE {name}.session_id = i.session_id AND {name}.initiator_id IS NOT DISTINCT FROM i.initiator_id{}",
                self.seen(name)
            )
        };
        let mut text = format!(
            " FROM aibridge_interceptions i
             WHERE NOT EXISTS ({} AND (n.started_at, n.id) > (i.started_at, i.id)){}{}",
            same("n"),
            self.seen("i"),
            all(&self.session, "i"),
        );
        if !self.one.is_empty() {
            let _ = write!(text, " AND EXISTS ({}{})", same("m"), all(&self.one, "m"));
        }
        text
    }
}

fn all(conditions: &[Condition], name: &str) -> String {
    conditions.iter().fold(String::new(), |mut text, Condition { column, value }| {
        let _ = write!(text, " AND {name}.{column} ({value})");
        text
    })
}

#[derive(QueryableByName)]
struct Newest {
    #[diesel(sql_type = Timestamptz)]
    started_at: OffsetDateTime,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// The interception by which the cursor's session is in the list.
async fn find(
    db: &mut Db<'_>,
    cursor: &SessionCursor,
    rows: &Rows,
) -> Result<Option<Newest>, Error> {
    let mut statement = Statement::new();
    let filter = Filter { session_id: Some(cursor.session_id.clone()), ..Filter::default() };
    let newest = Conditions::of(&mut statement, &filter, rows).newest();
    let text = format!("SELECT i.started_at, i.id{newest} ORDER BY i.started_at, i.id LIMIT 1");
    Ok(statement.with(&text).get_result(db.conn()).await.optional()?)
}

/// A page of sessions that match.
async fn page(
    db: &mut Db<'_>,
    filter: &Filter,
    rows: &Rows,
    after: Option<Newest>,
    (offset, limit): (i64, i64),
) -> Result<(Vec<Session>, Vec<UserName>), Error> {
    let mut statement = Statement::new();
    let conditions = Conditions::of(&mut statement, filter, rows);
    let mut newest = conditions.newest();
    if let Some(Newest { started_at, id }) = after {
        let (started_at, id) =
            (statement.bind::<Timestamptz, _>(started_at), statement.bind::<SqlUuid, _>(id));
        let _ = write!(newest, " AND (i.started_at, i.id) < ({started_at}, {id})");
    }
    let (offset, limit) = (statement.bind::<BigInt, _>(offset), statement.bind::<BigInt, _>(limit));
    let seen = conditions.seen("i");
    let text = format!(
        "WITH page AS MATERIALIZED (
            SELECT i.session_id, i.initiator_id, i.started_at, i.id{newest}
             ORDER BY i.started_at DESC, i.id DESC OFFSET {offset} LIMIT {limit}
         ){SHOWN}{seen}{SHOWN_TOKENS}"
    );
    let sessions: Vec<Session> = statement.with(&text).load(db.conn()).await?;
    let users = names_of(db, sessions.iter().map(|row| UserId::new(row.initiator_id))).await?;
    Ok((sessions, users))
}

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
            let after = match &self.after {
                None => None,
                Some(cursor) => match find(db, cursor, &rows).await? {
                    None => return Ok((Vec::new(), Vec::new())),
                    newest => newest,
                },
            };
            let window = (self.offset.max(0), self.limit.clamp(0, PAGE_MAX));
            page(db, &self.filter, &rows, after, window).await
        })
    }
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// How many sessions match, counted no further than `cap + 1`.
#[derive(Debug)]
pub struct CountSessions {
    /// Which.
    pub filter: Filter,
    /// Where counting stops.
    pub cap: i64,
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
            let mut statement = Statement::new();
            let newest = Conditions::of(&mut statement, &self.filter, &rows).newest();
            let limit = statement.bind::<BigInt, _>(self.cap.saturating_add(1));
            // In the order of the index, so that counting can stop early.
            let text = format!(
                "SELECT count(*) AS count FROM (
                    SELECT{newest} ORDER BY i.started_at DESC, i.id DESC LIMIT {limit}
                 ) counted"
            );
            let counted: Counted = statement.with(&text).get_result(db.conn()).await?;
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
            let (mut sessions, users) = page(db, &filter, &rows, None, (0, 1)).await?;
            Ok(sessions.pop().map(|session| (session, users)))
        })
    }
}
