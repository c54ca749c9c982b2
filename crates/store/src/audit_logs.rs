//! Who changed what.

mod deleted;

use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;
use ipnet::IpNet;
use rbac::{Action, Object, Resource};
use serde_json::Value;
use stdx::ids::{AuditId, OrganizationId, RequestId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::rows::{Rows, Terms};
use crate::schema::{audit_logs, users};
use crate::users::{User, lower};
use crate::{Error, Pk, audit_chain};

pub use deleted::{ListDeleted, Perishable};

/// Rows of a page when the caller names no number.
pub const PAGE_DEFAULT: i64 = 100;
/// Most rows of a page.
pub const PAGE_MAX: i64 = 1_000;

/// A row of `audit_logs`.
#[derive(Clone, Debug, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = audit_logs, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct AuditLog {
    pub id: Pk<AuditId>,
    pub time: OffsetDateTime,
    pub user_id: Pk<UserId>,
    pub organization_id: Pk<OrganizationId>,
    pub ip: Option<IpNet>,
    pub user_agent: Option<String>,
    pub resource_type: String,
    pub resource_id: Uuid,
    pub resource_target: String,
    pub resource_icon: String,
    pub action: String,
    pub diff: Value,
    pub status_code: i32,
    pub additional_fields: Value,
    pub request_id: Pk<RequestId>,
}

/// Writes a row, with its place in the chain ([`audit_chain`](crate::audit_chain)). In a transaction it is kept until
/// the commit, and cannot be read before.
#[derive(Debug)]
pub struct InsertAuditLog(pub AuditLog);

impl Query for InsertAuditLog {
    const NAME: &'static str = "audit_logs.insert_audit_log";
    type Out = ();
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, Object::new(Resource::AuditLog))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            match db.entries.as_mut() {
                Some(entries) => entries.push(self.0.clone()),
                None => audit_chain::append(db.conn(), vec![self.0.clone()]).await?,
            }
            Ok(())
        })
    }
}

/// Which rows. Absent fields do not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "one per column; times are inclusive")]
pub struct Filter {
    pub resource_type: Option<String>,
    pub resource_id: Option<Uuid>,
    /// Compared ignoring case.
    pub resource_target: Option<String>,
    pub organization_id: Option<OrganizationId>,
    pub action: Option<String>,
    pub user_id: Option<UserId>,
    pub username: Option<String>,
    pub email: Option<String>,
    pub date_from: Option<OffsetDateTime>,
    pub date_to: Option<OffsetDateTime>,
    pub request_id: Option<RequestId>,
    /// Of a workspace's build, from the additional fields.
    pub build_reason: Option<String>,
}

type Condition = crate::rows::Condition<audit_logs::table>;

/// What belongs to no organization has the nil id, which no subject is a member of.
const TERMS: Terms<audit_logs::table> = Terms {
    id: Some(|ids| Box::new(audit_logs::id.eq_any(ids))),
    org: Some(|orgs| Box::new(audit_logs::organization_id.eq_any(orgs))),
    ..Terms::NONE
};

impl Filter {
    fn conditions(&self) -> Vec<Condition> {
        let mut all: Vec<Condition> = Vec::new();
        if let Some(kind) = &self.resource_type {
            all.push(Box::new(audit_logs::resource_type.eq(kind.clone())));
        }
        if let Some(id) = self.resource_id {
            all.push(Box::new(audit_logs::resource_id.eq(id)));
        }
        if let Some(target) = &self.resource_target {
            all.push(Box::new(lower(audit_logs::resource_target).eq(target.to_lowercase())));
        }
        if let Some(organization) = self.organization_id {
            all.push(Box::new(audit_logs::organization_id.eq(Pk(organization))));
        }
        if let Some(action) = &self.action {
            all.push(Box::new(audit_logs::action.eq(action.clone())));
        }
        if let Some(user) = self.user_id {
            all.push(Box::new(audit_logs::user_id.eq(Pk(user))));
        }
        if let Some(username) = &self.username {
            let named = users::table
                .filter(lower(users::username).eq(username.to_lowercase()))
                .filter(users::deleted.eq(false))
                .select(users::id);
            all.push(Box::new(audit_logs::user_id.eq_any(named)));
        }
        if let Some(email) = &self.email {
            let named = users::table
                .filter(lower(users::email).eq(email.to_lowercase()))
                .filter(users::deleted.eq(false))
                .select(users::id);
            all.push(Box::new(audit_logs::user_id.eq_any(named)));
        }
        if let Some(from) = self.date_from {
            all.push(Box::new(audit_logs::time.ge(from)));
        }
        if let Some(to) = self.date_to {
            all.push(Box::new(audit_logs::time.le(to)));
        }
        if let Some(request) = self.request_id {
            all.push(Box::new(audit_logs::request_id.eq(Pk(request))));
        }
        if let Some(reason) = &self.build_reason {
            let wanted = serde_json::json!({ "build_reason": reason });
            all.push(Box::new(audit_logs::additional_fields.contains(wanted)));
        }
        all
    }
}

/// A page, newest first, each row with its user when that is a known one.
#[derive(Debug)]
pub struct ListAuditLogs {
    /// Which.
    pub filter: Filter,
    /// Only what comes after this one. Excludes `offset`.
    pub after: Option<AuditId>,
    /// Rows to skip.
    pub offset: i64,
    /// 0 = [`PAGE_DEFAULT`]; at most [`PAGE_MAX`].
    pub limit: i64,
}

impl Query for ListAuditLogs {
    const NAME: &'static str = "audit_logs.list_audit_logs";
    /// `None`: the row named by `after` does not exist or may not be read.
    type Out = Option<Vec<(AuditLog, Option<User>)>>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::AuditLog, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let limit = if self.limit <= 0 { PAGE_DEFAULT } else { self.limit.min(PAGE_MAX) };
            let mut query = audit_logs::table
                .order((audit_logs::time.desc(), audit_logs::id.desc()))
                .offset(self.offset.max(0))
                .limit(limit)
                .select(AuditLog::as_select())
                .into_boxed();
            if let Some(after) = self.after {
                let Some(time) = cursor(db, after, &rows).await? else { return Ok(None) };
                // The first half is where the index begins to be read.
                query = query
                    .filter(audit_logs::time.le(time))
                    .filter(audit_logs::time.lt(time).or(audit_logs::id.lt(Pk(after))));
            }
            for condition in rows.condition(&TERMS).into_iter().chain(self.filter.conditions()) {
                query = query.filter(condition);
            }
            let logs: Vec<AuditLog> = query.load(db.conn()).await?;
            let mut ids: Vec<Pk<UserId>> = logs.iter().map(|log| log.user_id).collect();
            ids.sort_unstable();
            ids.dedup();
            let people: Vec<User> = users::table
                .filter(users::id.eq_any(ids))
                .select(User::as_select())
                .load(db.conn())
                .await?;
            let named = |log: &AuditLog| people.iter().find(|user| user.id == log.user_id).cloned();
            Ok(Some(logs.into_iter().map(|log| (log.clone(), named(&log))).collect()))
        })
    }
}

async fn cursor(
    db: &mut Db<'_>,
    after: AuditId,
    rows: &Rows,
) -> Result<Option<OffsetDateTime>, Error> {
    let mut query = audit_logs::table
        .filter(audit_logs::id.eq(Pk(after)))
        .select(audit_logs::time)
        .into_boxed();
    if let Some(readable) = rows.condition(&TERMS) {
        query = query.filter(readable);
    }
    Ok(query.first(db.conn()).await.optional()?)
}

/// How many rows match, counted no further than `cap + 1`.
#[derive(Debug)]
pub struct CountAuditLogs {
    /// Which.
    pub filter: Filter,
    /// Where counting stops: a count over millions of rows would time the page out.
    pub cap: i64,
}

impl Query for CountAuditLogs {
    const NAME: &'static str = "audit_logs.count_audit_logs";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::AuditLog, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let mut query = audit_logs::table
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

crate::queries![InsertAuditLog, ListAuditLogs, CountAuditLogs, ListDeleted,];
