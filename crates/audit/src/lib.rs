//! What is auditable, how a change is shown, and the row that goes with it.
//!
//! A mutating query yields a [`Change`]; [`write`] turns it into a row of the audit log in the same
//! transaction, so that a change and its record happen together or not at all. What of a row is shown is
//! declared once, in [`tables`], by [`auditable!`]: every column is tracked, secret or ignored, and a column that is not
//! listed does not compile. Rows of your own are declared in the same way.
//!
//! It knows nothing of HTTP; who did it, from where and with which answer comes in as a [`Context`].

pub mod chain;
mod connections;
#[macro_use]
mod declare;
mod diff;
pub mod tables;

use ipnet::IpNet;
use rbac::system;
use serde_json::{Map, Value, json};
use stdx::ids::{AuditId, OrganizationId, RequestId, UserId};
use stdx::{Rng, cut};
use store::audit_logs::{AuditLog, InsertAuditLog};
use store::{Call, Change, Error, Pk, Tx};
use time::OffsetDateTime;
use uuid::Uuid;

pub use connections::ConnectionLogger;
pub use declare::{Columns, Declared, Table};
pub use diff::{Auditable, Field, Shown, diff};

/// What [`auditable!`] needs where it is used.
#[doc(hidden)]
pub mod reexported {
    pub use serde_json::json;
    pub use stdx::ids::OrganizationId;
    pub use uuid::Uuid;
}

/// Longest user agent that is kept, in bytes.
const USER_AGENT_BYTES_MAX: usize = 256;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "verbs")]
pub enum Action {
    Create,
    Write,
    Delete,
    Login,
    Logout,
    Register,
    RequestPasswordReset,
    Start,
    Stop,
}

impl Action {
    /// The name in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Login => "login",
            Self::Logout => "logout",
            Self::Register => "register",
            Self::RequestPasswordReset => "request_password_reset",
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }

    /// What a change amounts to.
    const fn of<R>(change: &Change<R>) -> Self {
        match (&change.old, &change.new) {
            (None, _) => Self::Create,
            (Some(_), Some(_)) => Self::Write,
            (Some(_), None) => Self::Delete,
        }
    }
}

/// Who did it, from where, when, and how it was answered.
#[derive(Debug)]
pub struct Context<'a> {
    /// Nil for system actors.
    pub user_id: UserId,
    /// Ties the row to the request log.
    pub request_id: RequestId,
    /// The caller's address.
    pub ip: Option<IpNet>,
    /// As sent, cut to 256 bytes.
    pub user_agent: Option<&'a str>,
    /// HTTP status of the answer.
    pub status_code: u16,
    /// When.
    pub time: OffsetDateTime,
    /// Source of the row's identifier.
    pub rng: &'a dyn Rng,
}

/// Writes the row of a change. Nothing is written when nothing that is tracked changed.
///
/// # Errors
/// What the insert returns; the caller's transaction then rolls back, and the change with it.
pub async fn write<R: Auditable>(
    tx: &mut Tx,
    context: &Context<'_>,
    change: &Change<R>,
) -> Result<(), Error> {
    write_with(tx, context, change, Action::of(change), Value::Object(Map::new())).await
}

/// [`write`] with an action of its own (a key's `login`) and additional fields.
///
/// # Errors
/// As [`write`].
pub async fn write_with<R: Auditable>(
    tx: &mut Tx,
    context: &Context<'_>,
    change: &Change<R>,
    action: Action,
    additional_fields: Value,
) -> Result<(), Error> {
    let Some(row) = change.new.as_ref().or(change.old.as_ref()) else { return Ok(()) };
    let session = matches!(action, Action::Login | Action::Logout);
    let shown = if session { Map::new() } else { diff(change.old.as_ref(), change.new.as_ref()) };
    if action == Action::Write && shown.is_empty() && additional_fields == Value::Object(Map::new())
    {
        return Ok(());
    }
    let target = Target {
        resource_type: R::RESOURCE_TYPE,
        resource_id: row.id(),
        name: row.target(),
        organization_id: row.organization(),
    };
    insert(tx, context, target, action, shown, additional_fields).await
}

/// [`write`] for a change that a part of the deployment made by itself: the entry names the subsystem.
///
/// # Errors
/// As [`write`].
pub async fn background<R: Auditable>(
    tx: &mut Tx,
    context: &Context<'_>,
    change: &Change<R>,
    subsystem: &str,
) -> Result<(), Error> {
    let fields = json!({ "automatic_actor": "coder", "automatic_subsystem": subsystem });
    write_with(tx, context, change, Action::of(change), fields).await
}

/// What an entry is about.
#[derive(Clone, Debug)]
pub struct Target {
    /// Kind.
    pub resource_type: &'static str,
    /// Which.
    pub resource_id: Uuid,
    /// Name shown.
    pub name: String,
    /// Nil for the site.
    pub organization_id: OrganizationId,
}

/// Writes an entry for an event that changed no row, such as a refused login.
///
/// # Errors
/// What the insert returns.
pub async fn note(
    tx: &mut Tx,
    context: &Context<'_>,
    target: Target,
    action: Action,
) -> Result<(), Error> {
    insert(tx, context, target, action, Map::new(), Value::Object(Map::new())).await
}

async fn insert(
    tx: &mut Tx,
    context: &Context<'_>,
    target: Target,
    action: Action,
    diff: Map<String, Value>,
    additional_fields: Value,
) -> Result<(), Error> {
    let row = AuditLog {
        id: Pk(AuditId::new(context.rng.uuid_v7(context.time))),
        time: context.time,
        user_id: Pk(context.user_id),
        organization_id: Pk(target.organization_id),
        ip: context.ip,
        user_agent: context.user_agent.map(|agent| cut(agent, USER_AGENT_BYTES_MAX).to_owned()),
        resource_type: target.resource_type.to_owned(),
        resource_id: target.resource_id,
        resource_target: target.name,
        resource_icon: String::new(),
        action: action.as_str().to_owned(),
        diff: Value::Object(diff),
        status_code: i32::from(context.status_code),
        additional_fields,
        request_id: Pk(context.request_id),
    };
    tx.run_by(Call::by(system::auditor()), InsertAuditLog(row)).await
}
