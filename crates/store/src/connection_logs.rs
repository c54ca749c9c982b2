//! Who connected to which workspace, and until when.

mod app_session;
mod list;
mod record;

use diesel::prelude::*;
use ipnet::IpNet;
use stdx::ids::{ConnectionLogId, OrganizationId, UserId, WorkspaceId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Pk;
use crate::schema::connection_logs;

pub use app_session::NoteAppRequest;
pub use list::{CountConnectionLogs, Filter, ListConnectionLogs, ListedConnection, State};
pub use record::{
    App, BATCH_MAX, Connection, ConnectionEvent, Recorded, Terminal, UpsertConnectionLogs,
};

/// A row of `connection_logs`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = connection_logs, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct ConnectionLog {
    pub id: Pk<ConnectionLogId>,
    pub connect_time: OffsetDateTime,
    pub organization_id: Pk<OrganizationId>,
    pub workspace_owner_id: Pk<UserId>,
    pub workspace_id: Pk<WorkspaceId>,
    pub workspace_name: String,
    pub agent_name: String,
    #[diesel(column_name = type_)]
    pub kind: String,
    pub ip: Option<IpNet>,
    pub code: Option<i32>,
    pub user_agent: Option<String>,
    pub user_id: Option<Pk<UserId>>,
    pub slug_or_port: Option<String>,
    pub connection_id: Option<Uuid>,
    pub disconnect_time: Option<OffsetDateTime>,
    pub disconnect_reason: Option<String>,
}

crate::queries![UpsertConnectionLogs, NoteAppRequest, ListConnectionLogs, CountConnectionLogs];
