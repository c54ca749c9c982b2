//! Queries as values: inputs, access rule and statement stand together, and nothing runs without a permit.
//!
//! A permit cannot be made outside this crate:
//!
//! ```compile_fail,E0451
//! let permit: store::Permit<store::users::GetUser> =
//!     store::Permit { filter: None, _query: std::marker::PhantomData };
//! ```
//!
//! and the connection behind a [`Db`] cannot be reached:
//!
//! ```compile_fail,E0624
//! fn leak(db: &mut store::Db<'_>) {
//!     let _ = db.conn();
//! }
//! ```

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use diesel_async::AsyncPgConnection;
use rbac::{Acl, Action, Object, Resource, RoleName, RowFilter, Subject};

use crate::Error;
use crate::audit_logs::AuditLog;
use crate::recorder::Recorder;
use crate::rows::Rows;
use crate::sealed::Keys;

/// What a query returns while it runs.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// One statement, or a few that belong together, with its access rule.
pub trait Query: Sized + Send + Sync + 'static {
    /// `module.verb_noun`: span name, metric label and row in `docs/generated/store-access.md`.
    const NAME: &'static str;
    /// What it yields.
    type Out: Send;
    /// Whether it writes with several statements, of which all or none must take effect also when it is
    /// run by itself. A rule that loads rows implies this.
    const ATOMIC: bool = false;

    /// Who may run it. There is no default.
    fn access(&self) -> Access<Self>;

    /// Called by the stack only: nobody else can make a [`Permit`].
    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out>;
}

/// When and how a query's access is decided.
pub enum Access<Q: Query> {
    /// Known from the input: checked before a connection is taken.
    Before(Vec<Check>),
    /// Needs other rows: they are loaded in the same transaction, then checked, then the query runs.
    Load(for<'a> fn(&'a Q, &'a mut Db<'_>) -> Fut<'a, Vec<Check>>),
    /// The result knows its object: run, then check, and drop the result on refusal. Reads only.
    After(fn(&Q::Out) -> Vec<Check>),
    /// A list: the subject's row filter travels with the permit into the statement.
    Rows(Resource, Action),
    /// No check by subject, for the reason given, which is printed in the access table.
    Open(&'static str),
}

impl<Q: Query> fmt::Debug for Access<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(checks) => {
                f.write_str("before:")?;
                for check in checks {
                    write!(f, " {}:{}", check.object.resource().as_str(), check.action.as_str())?;
                }
                Ok(())
            }
            Self::Load(_) => f.write_str("load"),
            Self::After(_) => f.write_str("after"),
            Self::Rows(resource, action) => {
                write!(f, "rows: {}:{}", resource.as_str(), action.as_str())
            }
            Self::Open(why) => write!(f, "open: {why}"),
        }
    }
}

/// One question to the authorizer.
#[derive(Clone, Debug)]
pub struct Check {
    pub(crate) action: Action,
    pub(crate) object: Object<'static>,
    acl: Option<Acl>,
    /// A role that the assignment table must let the subject give and take, too.
    pub(crate) role: Option<RoleName>,
}

/// Asks whether the subject may do `action` to `object`.
#[must_use]
pub const fn check(action: Action, object: Object<'static>) -> Check {
    Check { action, object, acl: None, role: None }
}

/// Asks whether the subject may give (`assign`) or take (`unassign`) this very role.
#[must_use]
pub const fn check_role(action: Action, role: RoleName) -> Check {
    let object = match role.org() {
        None => Object::new(Resource::AssignRole),
        Some(org) => Object::new(Resource::AssignOrgRole).in_org(org),
    };
    Check { action, object, acl: None, role: Some(role) }
}

impl Check {
    /// The object has this access control list.
    #[must_use]
    pub fn shared(self, acl: Acl) -> Self {
        Self { acl: Some(acl), ..self }
    }

    pub(crate) fn object(&self) -> Object<'_> {
        match &self.acl {
            Some(acl) => self.object.acl(acl),
            None => self.object,
        }
    }
}

/// Proof that access was decided. Made in one place (`stack/authz.rs`), used up by one run.
#[derive(Debug)]
pub struct Permit<Q> {
    filter: Option<RowFilter>,
    _query: PhantomData<fn(Q)>,
}

impl<Q> Permit<Q> {
    pub(crate) const fn mint(filter: Option<RowFilter>) -> Self {
        Self { filter, _query: PhantomData }
    }

    /// The rows that the subject may see; nothing at all when the rule was not [`Access::Rows`].
    pub(crate) fn into_rows(self) -> Rows {
        Rows::new(self.filter)
    }
}

/// On whose behalf a query runs.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub(crate) subject: &'a Arc<Subject>,
    pub(crate) recorder: Option<&'a Arc<Recorder>>,
}

impl<'a> Call<'a> {
    /// On behalf of `subject`.
    #[must_use]
    pub const fn by(subject: &'a Arc<Subject>) -> Self {
        Self { subject, recorder: None }
    }

    /// With somebody who notes what is decided.
    #[must_use]
    pub const fn noted_by(self, recorder: Option<&'a Arc<Recorder>>) -> Self {
        Self { recorder, ..self }
    }
}

/// A connection or a running transaction, and the keys. Opaque outside this crate.
pub struct Db<'c> {
    pub(crate) conn: &'c mut AsyncPgConnection,
    pub(crate) keys: Keys<'c>,
    /// In a transaction: rows of the audit log that are appended when it commits.
    pub(crate) entries: Option<&'c mut Vec<AuditLog>>,
}

impl fmt::Debug for Db<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Db")
    }
}

impl<'c> Db<'c> {
    pub(crate) fn conn(&mut self) -> &mut AsyncPgConnection {
        self.conn
    }

    pub(crate) const fn keys(&self) -> Keys<'c> {
        self.keys
    }
}

/// Of a row that `INSERT .. ON CONFLICT .. DO UPDATE` returns: whether it was inserted. One that was there is locked by
/// the statement, which leaves its mark on the row.
pub(crate) const IS_NEW: &str = "(xmax = 0)";

/// What a mutating query yields: the row as it was and as it is. All that audit needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<R> {
    /// Absent when the row was created.
    pub old: Option<R>,
    /// Absent when the row was deleted.
    pub new: Option<R>,
}

impl<R> Change<R> {
    /// A new row.
    pub const fn created(row: R) -> Self {
        Self { old: None, new: Some(row) }
    }

    /// A row that is gone.
    pub const fn deleted(row: R) -> Self {
        Self { old: Some(row), new: None }
    }

    /// A row that changed.
    pub const fn updated(old: R, new: R) -> Self {
        Self { old: Some(old), new: Some(new) }
    }
}
