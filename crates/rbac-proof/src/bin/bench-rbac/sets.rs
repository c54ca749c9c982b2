//! A set of questions in the form of each engine.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, ensure};
use rbac::{Acl, Action, Object, Subject};
use rbac_proof::cedar::{Asked, Cedar};
use rbac_proof::everyday;
use rbac_proof::question::{Catalogs, Question};
use rbac_proof::rego::Rego;

use crate::clock::ns;

/// One question, ready for each engine.
struct Ready {
    question: Question,
    subject: Arc<Subject>,
    acl: Acl,
    rego: regorus::Value,
    cedar: Asked,
}

impl Ready {
    fn object(&self) -> Object<'_> {
        self.question.object(&self.acl)
    }
}

pub(crate) struct Set(Vec<Ready>);

impl Set {
    pub(crate) fn new(orgs: usize, catalogs: &Catalogs, cedar: &Cedar) -> Result<Self> {
        let ready = |question: Question| {
            Ok(Ready {
                subject: question.subject(catalogs)?,
                acl: question.acl(),
                rego: Rego::input(question.json()),
                cedar: cedar.ask(&question, catalogs)?,
                question,
            })
        };
        Ok(Self(everyday::questions(orgs).into_iter().map(ready).collect::<Result<_>>()?))
    }

    pub(crate) fn agree(&self, rego: &mut Rego, cedar: &Cedar) -> Result<()> {
        let mut allowed = 0;
        for ready in &self.0 {
            let ours = ready.subject.authorize(ready.question.action, &ready.object()).is_ok();
            let others = (rego.allows(ready.rego.clone())?, cedar.allows(&ready.cedar)?);
            ensure!(others == (ours, ours), "{:#}", ready.question.json());
            allowed += usize::from(ours);
        }
        ensure!(allowed > 20 && allowed < self.0.len() - 20, "one answer to everything");
        Ok(())
    }

    /// The mean of all questions, asked in turn.
    pub(crate) fn ours_ns(&self) -> f64 {
        let asked: Vec<(&Subject, Action, Object<'_>)> =
            self.0.iter().map(|r| (r.subject.as_ref(), r.question.action, r.object())).collect();
        ns(asked.len(), || {
            for (subject, action, object) in &asked {
                let _ =
                    black_box(black_box(subject).authorize(black_box(*action), black_box(object)));
            }
        })
    }

    /// The question that takes longest, and what it is.
    pub(crate) fn slowest_ns(&self) -> (f64, String) {
        let mut slowest = (0.0, String::new());
        for ready in &self.0 {
            let (subject, action, object) = (&ready.subject, ready.question.action, ready.object());
            let took = ns(1, || {
                let _ =
                    black_box(black_box(subject).authorize(black_box(action), black_box(&object)));
            });
            if took > slowest.0 {
                let why = subject.explain(action, &object).allowed;
                let verdict = if why { "allowed" } else { "refused" };
                slowest = (took, format!("{}:{action}, {verdict}", object.resource()));
            }
        }
        slowest
    }

    pub(crate) fn rego_ns(&self, rego: &mut Rego) -> Result<f64> {
        let fault = RefCell::new(None);
        let took = ns(self.0.len(), || {
            for ready in &self.0 {
                if let Err(error) = black_box(rego.allows(ready.rego.clone())) {
                    *fault.borrow_mut() = Some(error);
                }
            }
        });
        fault.into_inner().map_or(Ok(took), Err)
    }

    pub(crate) fn cedar_ns(&self, cedar: &Cedar) -> Result<f64> {
        let fault = RefCell::new(None);
        let took = ns(self.0.len(), || {
            for ready in &self.0 {
                if let Err(error) = black_box(cedar.allows(&ready.cedar)) {
                    *fault.borrow_mut() = Some(error);
                }
            }
        });
        fault.into_inner().map_or(Ok(took), Err)
    }
}
