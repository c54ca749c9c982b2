use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};
use stdx::ids::{ConnectionLogId, OrganizationId, UserId, WorkspaceId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::ConnectionLog;
use crate::audit_logs::{PAGE_DEFAULT, PAGE_MAX};
use crate::query::{Access, Db, Fut, Permit, Query};
use crate::rows::{Rows, Terms};
use crate::schema::{connection_logs, users};
use crate::users::{User, lower};
use crate::{Error, Pk};

/// Whether a connection has ended. Neither is known of web connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "say it")]
pub enum State {
    Ongoing,
    Completed,
}

/// Which rows. Absent fields do not narrow; names and addresses are those of live users, ignoring case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "one per column; times are inclusive")]
pub struct Filter {
    pub organization_id: Option<OrganizationId>,
    pub workspace_owner_id: Option<UserId>,
    pub workspace_owner: Option<String>,
    pub workspace_owner_email: Option<String>,
    pub kind: Option<String>,
    /// Who opened a web connection; of others that is not known.
    pub user_id: Option<UserId>,
    pub username: Option<String>,
    pub user_email: Option<String>,
    pub connected_after: Option<OffsetDateTime>,
    pub connected_before: Option<OffsetDateTime>,
    pub workspace_id: Option<WorkspaceId>,
    pub connection_id: Option<Uuid>,
    /// Leaves out web connections.
    pub state: Option<State>,
}

type Condition = crate::rows::Condition<connection_logs::table>;

const TERMS: Terms<connection_logs::table> = Terms {
    id: Some(|ids| Box::new(connection_logs::id.eq_any(ids))),
    org: Some(|orgs| Box::new(connection_logs::organization_id.eq_any(orgs))),
    ..Terms::NONE
};

const WEB: [&str; 2] = ["workspace_app", "port_forwarding"];

/// The live user of a name or an address.
macro_rules! live {
    ($column:expr, $value:expr) => {
        users::table
            .filter(lower($column).eq($value.to_lowercase()))
            .filter(users::deleted.eq(false))
            .select(users::id)
    };
}

impl Filter {
    fn conditions(&self) -> Vec<Condition> {
        use connection_logs as c;

        let mut all: Vec<Condition> = Vec::new();
        if let Some(id) = self.organization_id {
            all.push(Box::new(c::organization_id.eq(Pk(id))));
        }
        if let Some(id) = self.workspace_owner_id {
            all.push(Box::new(c::workspace_owner_id.eq(Pk(id))));
        }
        if let Some(name) = &self.workspace_owner {
            all.push(Box::new(c::workspace_owner_id.eq_any(live!(users::username, name))));
        }
        if let Some(email) = &self.workspace_owner_email {
            all.push(Box::new(c::workspace_owner_id.eq_any(live!(users::email, email))));
        }
        if let Some(kind) = &self.kind {
            all.push(Box::new(c::type_.eq(kind.clone())));
        }
        if let Some(id) = self.user_id {
            all.push(Box::new(c::user_id.eq(Pk(id)).assume_not_null()));
        }
        if let Some(name) = &self.username {
            let named = live!(users::username, name).nullable();
            all.push(Box::new(c::user_id.eq_any(named).assume_not_null()));
        }
        if let Some(email) = &self.user_email {
            let named = live!(users::email, email).nullable();
            all.push(Box::new(c::user_id.eq_any(named).assume_not_null()));
        }
        if let Some(after) = self.connected_after {
            all.push(Box::new(c::connect_time.ge(after)));
        }
        if let Some(before) = self.connected_before {
            all.push(Box::new(c::connect_time.le(before)));
        }
        if let Some(id) = self.workspace_id {
            all.push(Box::new(c::workspace_id.eq(Pk(id))));
        }
        if let Some(id) = self.connection_id {
            all.push(Box::new(c::connection_id.eq(id).assume_not_null()));
        }
        if let Some(state) = self.state {
            all.push(Box::new(c::type_.ne_all(WEB)));
            all.push(match state {
                State::Ongoing => Box::new(c::disconnect_time.is_null()),
                State::Completed => Box::new(c::disconnect_time.is_not_null()),
            });
        }
        all
    }
}

/// A row with who is named in it, as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedConnection {
    /// The row.
    pub log: ConnectionLog,
    /// Name of the workspace's owner.
    pub workspace_owner: String,
    /// Who opened a web connection.
    pub user: Option<User>,
}

/// A page, newest first.
#[derive(Debug)]
pub struct ListConnectionLogs {
    /// Which.
    pub filter: Filter,
    /// Only what comes after this one. Excludes `offset`.
    pub after: Option<ConnectionLogId>,
    /// Rows to skip.
    pub offset: i64,
    /// 0 = 100; at most 1,000.
    pub limit: i64,
}

impl Query for ListConnectionLogs {
    const NAME: &'static str = "connection_logs.list_connection_logs";
    /// `None`: the row named by `after` does not exist or may not be read.
    type Out = Option<Vec<ListedConnection>>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::ConnectionLog, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let limit = if self.limit <= 0 { PAGE_DEFAULT } else { self.limit.min(PAGE_MAX) };
            let mut query = connection_logs::table
                .order((connection_logs::connect_time.desc(), connection_logs::id.desc()))
                .offset(self.offset.max(0))
                .limit(limit)
                .select(ConnectionLog::as_select())
                .into_boxed();
            if let Some(after) = self.after {
                let Some(time) = cursor(db, after, &rows).await? else { return Ok(None) };
                // The first half is where the index begins to be read.
                query = query.filter(connection_logs::connect_time.le(time)).filter(
                    connection_logs::connect_time.lt(time).or(connection_logs::id.lt(Pk(after))),
                );
            }
            for condition in rows.condition(&TERMS).into_iter().chain(self.filter.conditions()) {
                query = query.filter(condition);
            }
            let logs: Vec<ConnectionLog> = query.load(db.conn()).await?;
            let named = |log: &ConnectionLog| [Some(log.workspace_owner_id), log.user_id];
            let mut ids: Vec<Pk<UserId>> = logs.iter().flat_map(named).flatten().collect();
            ids.sort_unstable();
            ids.dedup();
            let people: Vec<User> = users::table
                .filter(users::id.eq_any(ids))
                .order(users::id)
                .select(User::as_select())
                .load(db.conn())
                .await?;
            let find = |id: Pk<UserId>| {
                let at = people.binary_search_by_key(&id, |user| user.id).ok()?;
                people.get(at)
            };
            let listed = logs.into_iter().map(|log| ListedConnection {
                workspace_owner: find(log.workspace_owner_id)
                    .map(|owner| owner.username.clone())
                    .unwrap_or_default(),
                user: log.user_id.and_then(find).cloned(),
                log,
            });
            Ok(Some(listed.collect()))
        })
    }
}

async fn cursor(
    db: &mut Db<'_>,
    after: ConnectionLogId,
    rows: &Rows,
) -> Result<Option<OffsetDateTime>, Error> {
    let mut query = connection_logs::table
        .filter(connection_logs::id.eq(Pk(after)))
        .select(connection_logs::connect_time)
        .into_boxed();
    if let Some(readable) = rows.condition(&TERMS) {
        query = query.filter(readable);
    }
    Ok(query.first(db.conn()).await.optional()?)
}

/// How many rows match, counted no further than `cap + 1`.
#[derive(Debug)]
pub struct CountConnectionLogs {
    /// Which.
    pub filter: Filter,
    /// Where counting stops.
    pub cap: i64,
}

impl Query for CountConnectionLogs {
    const NAME: &'static str = "connection_logs.count_connection_logs";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::ConnectionLog, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let mut query = connection_logs::table
                .limit(self.cap.saturating_add(1))
                .select(1.into_sql::<BigInt>())
                .into_boxed();
            for condition in rows.condition(&TERMS).into_iter().chain(self.filter.conditions()) {
                query = query.filter(condition);
            }
            let seen: Vec<i64> = query.load(db.conn()).await?;
            Ok(i64::try_from(seen.len()).unwrap_or(i64::MAX))
        })
    }
}
