use diesel::QueryableByName;
use diesel::sql_types::{Bool, Inet, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use ipnet::IpNet;
use rbac::{Action, Object, Resource};
use stdx::cut;
use stdx::ids::{UserId, WorkspaceAgentId};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::query::{Access, Db, Fut, Permit, Query, check};

/// Longest user agent, and longest name of an app, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// Notes a request to an app of a workspace. Whether it begins a use, which is what
/// [`UpsertConnectionLogs`](super::UpsertConnectionLogs) should be told of: requests that are alike belong to the same use
/// as long as none of them comes later than `window` after the one before.
#[derive(Clone, Debug)]
pub struct NoteAppRequest {
    /// Of the row, if this begins a use.
    pub id: Uuid,
    /// Whose app.
    pub agent_id: WorkspaceAgentId,
    /// Which; none for a port.
    pub app_id: Option<Uuid>,
    /// Who; nobody when the app is public.
    pub user_id: Option<UserId>,
    /// From where.
    pub ip: Option<IpNet>,
    /// As sent; cut to 256 bytes.
    pub user_agent: String,
    /// Which app or port; cut to 256 bytes.
    pub slug_or_port: String,
    /// HTTP status of the answer.
    pub status_code: i32,
    /// When.
    pub now: OffsetDateTime,
    /// How long a use goes on without a request.
    pub window: Duration,
}

#[derive(QueryableByName)]
struct Noted {
    #[diesel(sql_type = Bool)]
    begins: bool,
}

impl Query for NoteAppRequest {
    const NAME: &'static str = "connection_logs.note_app_request";
    type Out = bool;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, Object::new(Resource::ConnectionLog))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, bool> {
        Box::pin(async move {
            let noted: Noted = diesel::sql_query(
                "INSERT INTO workspace_app_audit_sessions AS s
                        (id, agent_id, app_id, user_id, ip, user_agent, slug_or_port, status_code, started_at, updated_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
                 ON CONFLICT (agent_id, coalesce(app_id, '00000000-0000-0000-0000-000000000000'),
                              coalesce(user_id, '00000000-0000-0000-0000-000000000000'), coalesce(ip, '0.0.0.0'),
                              user_agent, slug_or_port, status_code)
                 DO UPDATE SET
                    id         = CASE WHEN s.updated_at >= $10 THEN s.id         ELSE excluded.id         END,
                    started_at = CASE WHEN s.updated_at >= $10 THEN s.started_at ELSE excluded.started_at END,
                    updated_at = greatest(s.updated_at, excluded.updated_at)
                 RETURNING s.id = $1 AS begins",
            )
            .bind::<SqlUuid, _>(self.id)
            .bind::<SqlUuid, _>(self.agent_id.uuid())
            .bind::<Nullable<SqlUuid>, _>(self.app_id)
            .bind::<Nullable<SqlUuid>, _>(self.user_id.map(UserId::uuid))
            .bind::<Nullable<Inet>, _>(self.ip)
            .bind::<Text, _>(cut(&self.user_agent, TEXT_BYTES_MAX))
            .bind::<Text, _>(cut(&self.slug_or_port, TEXT_BYTES_MAX))
            .bind::<Integer, _>(self.status_code)
            .bind::<Timestamptz, _>(self.now)
            .bind::<Timestamptz, _>(self.now - self.window)
            .get_result(db.conn())
            .await?;
            Ok(noted.begins)
        })
    }
}
