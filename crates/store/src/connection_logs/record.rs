use std::collections::BTreeMap;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Inet, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use ipnet::IpNet;
use rbac::{Action, Object, Resource};
use stdx::cut;
use stdx::ids::{ConnectionLogId, OrganizationId, UserId, WorkspaceId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::ConnectionLog;
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::{connection_logs, workspaces};
use crate::{Error, Pk};

/// Most events of one batch.
pub const BATCH_MAX: usize = 1_000;
/// Longest user agent that is kept, in bytes.
const USER_AGENT_BYTES_MAX: usize = 256;

/// What is opened in a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named by the schema")]
pub enum App {
    WorkspaceApp,
    PortForwarding,
}

/// What stays open until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "named by the schema")]
pub enum Terminal {
    Ssh,
    VsCode,
    JetBrains,
    ReconnectingPty,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// A request to an app. When it ends is not known.
    Web {
        /// To what.
        app: App,
        /// As sent; cut to 256 bytes.
        user_agent: String,
        /// Nobody, when the app is public.
        user_id: Option<UserId>,
        /// Which app or port.
        slug_or_port: String,
        /// HTTP status of the answer.
        status_code: i32,
    },
    /// A connection began.
    Opened {
        /// Of what kind.
        terminal: Terminal,
        /// Made by the agent.
        connection_id: Uuid,
    },
    /// A connection ended. The first end counts, and it may be told before the beginning.
    Closed {
        /// Of what kind.
        terminal: Terminal,
        /// As when it was opened.
        connection_id: Uuid,
        /// In words, if known.
        reason: Option<String>,
        /// How the program in it ended, if known.
        exit_code: Option<i32>,
    },
}

/// What happened, where and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionEvent {
    /// Of the row, if this makes one.
    pub id: ConnectionLogId,
    /// When.
    pub time: OffsetDateTime,
    /// Into which workspace.
    pub workspace_id: WorkspaceId,
    /// Through which agent.
    pub agent_name: String,
    /// From where.
    pub ip: Option<IpNet>,
    /// What.
    pub connection: Connection,
}

/// Records events, at most [`BATCH_MAX`]: what is opened and closed becomes one row, whatever comes first and however
/// often it is told. Owner, organization and name are those of the workspace; events of workspaces that are gone are
/// left out.
#[derive(Debug)]
pub struct UpsertConnectionLogs(pub Vec<ConnectionEvent>);

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Events that are in the log.
    pub stored: usize,
    /// Events of workspaces that are gone.
    pub left_out: usize,
}

impl Query for UpsertConnectionLogs {
    const NAME: &'static str = "connection_logs.upsert_connection_logs";
    type Out = Recorded;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, Object::new(Resource::ConnectionLog))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Recorded> {
        Box::pin(async move {
            if self.0.len() > BATCH_MAX {
                return Err(Error::Unfit("more events than a batch may have".into()));
            }
            let known = workspaces_of(db, &self.0).await?;
            let (mut rows, mut stored) = (Rows::default(), 0);
            for event in &self.0 {
                if let Some(workspace) = known.get(&event.workspace_id) {
                    rows.add(row(event, workspace));
                    stored += 1;
                }
            }
            upsert(db, &rows.sorted()).await?;
            Ok(Recorded { stored, left_out: self.0.len() - stored })
        })
    }
}

type Workspace = (Pk<UserId>, Pk<OrganizationId>, String);

/// The workspaces, which stay until the rows are written.
async fn workspaces_of(
    db: &mut Db<'_>,
    events: &[ConnectionEvent],
) -> Result<BTreeMap<WorkspaceId, Workspace>, Error> {
    let mut ids: Vec<Pk<WorkspaceId>> = events.iter().map(|e| Pk(e.workspace_id)).collect();
    ids.sort_unstable();
    ids.dedup();
    let rows: Vec<(Pk<WorkspaceId>, Workspace)> = workspaces::table
        .filter(workspaces::id.eq_any(ids))
        .order(workspaces::id)
        .select((
            workspaces::id,
            (workspaces::owner_id, workspaces::organization_id, workspaces::name),
        ))
        .for_key_share()
        .load(db.conn())
        .await?;
    Ok(rows.into_iter().map(|(id, workspace)| (id.0, workspace)).collect())
}

fn row(event: &ConnectionEvent, (owner, organization, name): &Workspace) -> ConnectionLog {
    let mut row = ConnectionLog {
        id: Pk(event.id),
        connect_time: event.time,
        organization_id: *organization,
        workspace_owner_id: *owner,
        workspace_id: Pk(event.workspace_id),
        workspace_name: name.clone(),
        agent_name: event.agent_name.clone(),
        kind: event.connection.kind().to_owned(),
        ip: event.ip,
        code: None,
        user_agent: None,
        user_id: None,
        slug_or_port: None,
        connection_id: None,
        disconnect_time: None,
        disconnect_reason: None,
    };
    match &event.connection {
        Connection::Web { user_agent, user_id, slug_or_port, status_code, .. } => {
            row.user_agent = Some(cut(user_agent, USER_AGENT_BYTES_MAX).to_owned());
            row.user_id = user_id.map(Pk);
            row.slug_or_port = Some(slug_or_port.clone());
            row.code = Some(*status_code);
        }
        Connection::Opened { connection_id, .. } => row.connection_id = Some(*connection_id),
        Connection::Closed { connection_id, reason, exit_code, .. } => {
            // Until the beginning is told, the end is the earliest that is known.
            row.connection_id = Some(*connection_id);
            row.disconnect_time = Some(event.time);
            row.disconnect_reason.clone_from(reason);
            row.code = *exit_code;
        }
    }
    row
}

impl Connection {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Web { app: App::WorkspaceApp, .. } => "workspace_app",
            Self::Web { app: App::PortForwarding, .. } => "port_forwarding",
            Self::Opened { terminal, .. } | Self::Closed { terminal, .. } => match terminal {
                Terminal::Ssh => "ssh",
                Terminal::VsCode => "vscode",
                Terminal::JetBrains => "jetbrains",
                Terminal::ReconnectingPty => "reconnecting_pty",
            },
        }
    }
}

/// Rows of one statement, which may touch each row of the table once only.
#[derive(Default)]
struct Rows {
    web: Vec<ConnectionLog>,
    others: BTreeMap<(Uuid, WorkspaceId, String), ConnectionLog>,
}

impl Rows {
    fn add(&mut self, row: ConnectionLog) {
        let Some(connection_id) = row.connection_id else { return self.web.push(row) };
        let key = (connection_id, row.workspace_id.0, row.agent_name.clone());
        let Some(known) = self.others.get_mut(&key) else {
            self.others.insert(key, row);
            return;
        };
        // As the statement does with rows of the table.
        known.connect_time = known.connect_time.min(row.connect_time);
        known.disconnect_time = known.disconnect_time.or(row.disconnect_time);
        known.disconnect_reason = known.disconnect_reason.take().or(row.disconnect_reason);
        known.code = known.code.or(row.code);
        known.ip = known.ip.or(row.ip);
    }

    /// In the order of their keys: who writes the same rows at the same time waits, and is not waited for.
    fn sorted(self) -> Vec<ConnectionLog> {
        self.others.into_values().chain(self.web).collect()
    }
}

async fn upsert(db: &mut Db<'_>, rows: &[ConnectionLog]) -> Result<(), Error> {
    use connection_logs as c;

    if rows.is_empty() {
        return Ok(());
    }
    diesel::insert_into(c::table)
        .values(rows)
        .on_conflict((c::connection_id, c::workspace_id, c::agent_name))
        .do_update()
        .set((
            c::connect_time.eq(sql::<Timestamptz>(
                "LEAST(connection_logs.connect_time, excluded.connect_time)",
            )),
            c::disconnect_time.eq(sql::<Nullable<Timestamptz>>(
                "COALESCE(connection_logs.disconnect_time, excluded.disconnect_time)",
            )),
            c::disconnect_reason.eq(sql::<Nullable<Text>>(
                "COALESCE(connection_logs.disconnect_reason, excluded.disconnect_reason)",
            )),
            c::code.eq(sql::<Nullable<Integer>>("COALESCE(connection_logs.code, excluded.code)")),
            c::ip.eq(sql::<Nullable<Inet>>("COALESCE(connection_logs.ip, excluded.ip)")),
        ))
        .execute(db.conn())
        .await?;
    Ok(())
}
