#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::thread::LocalKey;

use rbac::{Action, Object, Resource, RowFilter, Subject};
use telemetry::{DuplicateMetric, Registry};
use tokio::time::Instant;

use crate::Error;
use crate::error::Denial;
use crate::query::{Call, Check};

/// To measure takes longer than to decide (see `docs/decisions/0014-sampled-decisions.md`). So every thread measures
/// one decision about an object of so many, beginning with its first.
const SAMPLE: u32 = 64;
/// The same of decisions about lists, which take longer.
const SAMPLE_LISTS: u32 = 8;

thread_local! {
    static DECISIONS: Cell<u32> = const { Cell::new(0) };
    static LISTS: Cell<u32> = const { Cell::new(0) };
}

telemetry::metrics! {
    /// What decisions take.
    struct Metrics {
        /// Time of a decision about one object. One decision of 64 is measured.
        pub authorize: Histogram["coderd_authz_authorize_duration_seconds"] {
            allowed: bool,
        } buckets = [
            0.000_001, 0.000_01, 0.000_1, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.035, 0.05,
            0.075, 0.1, 0.25, 0.75, 1.0,
        ],
        /// Time of preparing the decision about all rows of a list. One of 8 is measured.
        pub prepare: Histogram["coderd_authz_prepare_authorize_duration_seconds"] {
        } buckets = [
            0.000_001, 0.000_01, 0.000_1, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.035, 0.05,
            0.075, 0.1, 0.25, 0.75, 1.0,
        ],
    }
}

/// Puts questions to subjects: measures, notes what is to be noted, and tells the log of refusals.
#[derive(Clone)]
pub struct Judge(Arc<Metrics>);

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Judge")
    }
}

impl Judge {
    pub(crate) fn new(registry: &mut Registry) -> Result<Self, DuplicateMetric> {
        Ok(Self(Arc::new(Metrics::register(registry)?)))
    }

    /// Decides about one object.
    pub(super) fn allows(&self, call: Call<'_>, action: Action, object: &Object<'_>) -> bool {
        let allowed = if is_sampled(&DECISIONS, SAMPLE) {
            let started = Instant::now();
            let allowed = call.subject.authorize(action, object).is_ok();
            self.0.authorize.observe_duration(allowed, started.elapsed());
            allowed
        } else {
            call.subject.authorize(action, object).is_ok()
        };
        if let Some(recorder) = call.recorder {
            recorder.note(action, object, allowed);
        }
        tracing::trace!(
            subject_roles = roles(call.subject),
            num_subject_roles = call.subject.roles().count(),
            num_groups = call.subject.groups().len(),
            scope = %call.subject.scope(),
            action = action.as_str(),
            object_type = object.resource().as_str(),
            authorized = allowed,
            "authorize"
        );
        allowed
    }

    /// Lets all pass, or none.
    pub(super) fn check_all(&self, call: Call<'_>, checks: &[Check]) -> Result<(), Error> {
        for check in checks {
            let object = check.object();
            if !self.allows(call, check.action, &object) {
                return Err(Error::Denied(refused(call, check.action, &object)));
            }
            if let Some(role) = check.role.as_ref().filter(|role| !call.subject.can_assign(role)) {
                tracing::debug!(
                    subject_id = %call.subject.id(),
                    action = check.action.as_str(),
                    %role,
                    "unauthorized: no role of the subject may give or take this one"
                );
                let (action, resource) = (check.action, object.resource());
                return Err(Error::Denied(Denial { action, resource, readable: true }));
            }
        }
        Ok(())
    }

    /// Decides about all rows of a kind. It counts as a yes if any row may pass.
    pub(super) fn filter(&self, call: Call<'_>, action: Action, resource: Resource) -> RowFilter {
        let filter = if is_sampled(&LISTS, SAMPLE_LISTS) {
            let started = Instant::now();
            let filter = call.subject.row_filter(action, resource);
            self.0.prepare.observe_duration((), started.elapsed());
            filter
        } else {
            call.subject.row_filter(action, resource)
        };
        if let Some(recorder) = call.recorder {
            recorder.note(action, &Object::new(resource), !filter.is_nothing());
        }
        filter
    }
}

fn roles(subject: &Subject) -> String {
    subject.roles().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Says in the log why, which the refused may not learn in full.
fn refused(call: Call<'_>, action: Action, object: &Object<'_>) -> Denial {
    let subject = call.subject;
    tracing::debug!(
        reason = %subject.explain(action, object),
        subject_id = %subject.id(),
        subject_type = subject.kind().as_str(),
        subject_name = subject.name(),
        action = action.as_str(),
        object_type = object.resource().as_str(),
        object_id = object.object_id().map(tracing::field::display),
        object_owner = object.owner_id().map(tracing::field::display),
        object_organization = object.organization().map(tracing::field::display),
        "unauthorized"
    );
    Denial {
        action,
        resource: object.resource(),
        readable: subject.authorize(Action::Read, object).is_ok(),
    }
}

fn is_sampled(counter: &'static LocalKey<Cell<u32>>, one_of: u32) -> bool {
    let number = counter.get();
    counter.set(number.wrapping_add(1));
    number.is_multiple_of(one_of)
}
