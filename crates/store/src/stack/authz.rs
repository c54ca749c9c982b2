use std::sync::Arc;

use rbac::{Action, Object, Subject};

use super::{Judge, Layer, Store, Work};
use crate::Error;
use crate::query::{Access, Call, Db, Fut, Permit, Query};
use crate::recorder::Recorder;

/// Decides whether a query may run, and mints its permit.
#[derive(Clone, Debug)]
pub struct Authz<S> {
    pub(crate) inner: S,
    pub(crate) judge: Judge,
}

impl<S> Authz<S> {
    /// Whether the caller may do `action` to `object`, for those who ask without running a query. Counted and
    /// noted like the decisions about queries; a refusal is the caller's to log.
    #[must_use]
    pub fn allows(&self, call: Call<'_>, action: Action, object: &Object<'_>) -> bool {
        self.judge.allows(call, action, object)
    }
}

impl<S: Layer> Store for Authz<S> {
    async fn run<Q: Query>(&self, call: Call<'_>, query: Q) -> Result<Q::Out, Error> {
        let guarded = Guarded::decide(&self.judge, call, query)?;
        self.inner.exec(guarded).await
    }
}

/// A query whose access was decided, or will be as its first step.
pub(crate) struct Guarded<Q: Query> {
    query: Q,
    access: Access<Q>,
    judge: Judge,
    subject: Arc<Subject>,
    recorder: Option<Arc<Recorder>>,
}

impl<Q: Query> Guarded<Q> {
    /// Everything that can be decided without the database is decided here.
    pub(crate) fn decide(judge: &Judge, call: Call<'_>, query: Q) -> Result<Self, Error> {
        let access = query.access();
        if let Access::Before(checks) = &access {
            judge.check_all(call, checks)?;
        }
        Ok(Self {
            query,
            access,
            judge: judge.clone(),
            subject: Arc::clone(call.subject),
            recorder: call.recorder.cloned(),
        })
    }
}

impl<Q: Query> Work for Guarded<Q> {
    type Out = Q::Out;
    const NAME: &'static str = Q::NAME;

    fn in_transaction(&self) -> bool {
        Q::ATOMIC || matches!(self.access, Access::Load(_))
    }

    fn reads(&self) -> bool {
        only_reads(Q::NAME)
    }

    fn perform<'a>(&'a self, db: &'a mut Db<'_>) -> Fut<'a, Q::Out> {
        let (query, judge) = (&self.query, &self.judge);
        let call = Call::by(&self.subject).noted_by(self.recorder.as_ref());
        match self.access {
            Access::Before(_) | Access::Open(_) => query.run(db, Permit::mint(None)),
            Access::Rows(resource, action) => {
                query.run(db, Permit::mint(Some(judge.filter(call, action, resource))))
            }
            Access::Load(load) => Box::pin(async move {
                let checks = load(query, db).await?;
                judge.check_all(call, &checks)?;
                query.run(db, Permit::mint(None)).await
            }),
            Access::After(object_of) => Box::pin(async move {
                let out = query.run(db, Permit::mint(None)).await?;
                judge.check_all(call, &object_of(&out))?;
                Ok(out)
            }),
        }
    }
}

/// By the verb, which stands behind the module. A test runs all that have these in a transaction that refuses writes.
pub(crate) fn only_reads(name: &str) -> bool {
    const VERBS: [&str; 4] = ["get_", "find_", "list_", "count_"];
    name.split_once('.').is_some_and(|(_, query)| {
        VERBS.iter().any(|verb| query.starts_with(verb)) && query != "get_or_insert"
    })
}
