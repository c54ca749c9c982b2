use std::sync::Arc;

use rbac::{Action, Subject};

use super::{Layer, Store, Work};
use crate::Error;
use crate::error::Denial;
use crate::query::{Access, Call, Check, Db, Fut, Permit, Query};

/// Decides whether a query may run, and mints its permit.
#[derive(Clone, Debug)]
pub struct Authz<S>(pub(crate) S);

impl<S: Layer> Store for Authz<S> {
    async fn run<Q: Query>(&self, call: Call<'_>, query: Q) -> Result<Q::Out, Error> {
        let guarded = Guarded::decide(call, query)?;
        self.0.exec(guarded).await
    }
}

/// A query whose access was decided, or will be as its first step.
pub(crate) struct Guarded<Q: Query> {
    query: Q,
    access: Access<Q>,
    subject: Arc<Subject>,
}

impl<Q: Query> Guarded<Q> {
    /// Everything that can be decided without the database is decided here.
    pub(crate) fn decide(call: Call<'_>, query: Q) -> Result<Self, Error> {
        let access = query.access();
        if let Access::Before(checks) = &access {
            check_all(call.subject, checks)?;
        }
        Ok(Self { query, access, subject: Arc::clone(call.subject) })
    }
}

impl<Q: Query> Work for Guarded<Q> {
    type Out = Q::Out;
    const NAME: &'static str = Q::NAME;

    fn in_transaction(&self) -> bool {
        Q::ATOMIC || matches!(self.access, Access::Load(_))
    }

    fn perform<'a>(&'a self, db: &'a mut Db<'_>) -> Fut<'a, Q::Out> {
        let (query, subject) = (&self.query, &self.subject);
        match self.access {
            Access::Before(_) | Access::Open(_) => query.run(db, Permit::mint(None)),
            Access::Rows(resource, action) => {
                query.run(db, Permit::mint(Some(subject.row_filter(action, resource))))
            }
            Access::Load(load) => Box::pin(async move {
                let checks = load(query, db).await?;
                check_all(subject, &checks)?;
                query.run(db, Permit::mint(None)).await
            }),
            Access::After(object_of) => Box::pin(async move {
                let out = query.run(db, Permit::mint(None)).await?;
                check_all(subject, &object_of(&out))?;
                Ok(out)
            }),
        }
    }
}

fn check_all(subject: &Subject, checks: &[Check]) -> Result<(), Error> {
    for Check { action, object } in checks {
        if subject.authorize(*action, object).is_err() {
            return Err(Error::Denied(Denial {
                action: *action,
                resource: object.resource(),
                readable: subject.authorize(Action::Read, object).is_ok(),
            }));
        }
    }
    Ok(())
}
