//! What is measured: a set of questions in the form of each engine, and what only ours does.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, ensure};
use rbac::{
    Acl, Action, ActionSet, Object, Permission, PermissionLists, Resource, Role, RoleName, Scope,
    Sharing, Subject, SubjectBuilder,
};
use rbac_proof::cedar::{Asked, Cedar};
use rbac_proof::everyday::{self, ME, org, person};
use rbac_proof::question::{Catalogs, Held as Holds, Place, Question, What};
use rbac_proof::rego::Rego;
use stdx::ids::{GroupId, UserId};
use uuid::Uuid;

use crate::clock::ns;
use crate::report::{Held, Line, Report};

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

/// A row of a list.
struct Row {
    id: Uuid,
    owner: UserId,
    org: usize,
    acl: Acl,
}

impl Row {
    fn object(&self) -> Object<'_> {
        Object::new(Resource::Workspace)
            .id(self.id)
            .owner(self.owner)
            .in_org(org(self.org))
            .acl(&self.acl)
    }
}

/// Building subjects, preparing filters, filtering: what the other engines have no form for.
pub(crate) fn others(report: &mut Report, catalogs: &Catalogs) -> Result<()> {
    for (orgs, build_bar, filter_bar) in
        [(1, Held::AtMost(2.0), Held::AtMost(5.0)), (100, Held::Shown, Held::AtMost(50.0))]
    {
        let plural = if orgs == 1 { "" } else { "s" };
        let mut add = |what: &str, value: f64, unit: &'static str, held: Held| {
            report.add(Line {
                what: format!("{what}, {orgs} organization{plural}"),
                value,
                unit,
                held,
            });
        };
        add("a subject from cached roles", build_ns(orgs, catalogs)? / 1e3, "µs", build_bar);
        let subject = asker(orgs, catalogs)?;
        let took = ns(1, || {
            black_box(black_box(&subject).row_filter(black_box(Action::Read), Resource::Workspace));
        });
        add("a list filter", took / 1e3, "µs", filter_bar);

        let rows: Vec<Row> = rows(orgs);
        let kept = subject
            .filter(Action::Read, Resource::Workspace, rows.iter().collect(), |row| row.object())?
            .len();
        ensure!(kept > 100 && kept < 900, "{kept} of 1000 kept");
        let took = ns(rows.len(), || {
            let all: Vec<&Row> = rows.iter().collect();
            let kept = subject.filter(Action::Read, Resource::Workspace, all, |row| row.object());
            let _ = black_box(kept);
        });
        add("filtering 1,000 objects, each", took, "ns", Held::AtMost(50.0));
    }
    Ok(())
}

fn asker(orgs: usize, catalogs: &Catalogs) -> Result<Arc<Subject>> {
    let admin = Holds::Org("organization-admin", org(0));
    let question = Question {
        strict: false,
        who: person(orgs, if orgs > 1 { vec![admin] } else { vec![] }),
        action: Action::Read,
        what: What {
            resource: Resource::Workspace,
            id: None,
            owner: None,
            place: Place::Outside,
            users: vec![],
            groups: vec![],
        },
    };
    question.subject(catalogs)
}

fn rows(orgs: usize) -> Vec<Row> {
    let mut dice = rbac_proof::dice::Dice::new(5);
    let bob = UserId::new(Uuid::from_u128(9));
    (0..1_000_u128)
        .map(|number| {
            let shared = dice.percent(10);
            let groups =
                (0..3).map(|at| (GroupId::new(Uuid::from_u128(number * 8 + at)), ActionSet::ALL));
            Row {
                id: Uuid::from_u128(number + 1),
                owner: if dice.percent(30) { ME } else { bob },
                // Every tenth lies where the asker is not a member.
                org: if dice.percent(10) { 5_000 } else { dice.below(orgs) },
                acl: if shared {
                    Acl::new([(ME, Action::Read.into())], groups)
                } else {
                    Acl::default()
                },
            }
        })
        .collect()
}

/// As a login does it: built-in roles from the catalog, custom roles and the scope from caches.
fn build_ns(orgs: usize, catalogs: &Catalogs) -> Result<f64> {
    let reads = [Permission::allow(Resource::Template, Action::Read)];
    let lists = PermissionLists { org: &reads, ..PermissionLists::default() };
    let custom = Role::custom(RoleName::in_org("readers", org(0)), "Readers", &lists)?;
    let scope = Scope::all();
    let groups: Vec<GroupId> = (0..20).map(|n| GroupId::new(Uuid::from_u128(n + 1))).collect();
    let fault = RefCell::new(None);
    let took = ns(1, || {
        let mut builder = SubjectBuilder::user(ME)
            .name("alice")
            .email("alice@example.com")
            .site_role("member")
            .groups(groups.iter().copied())
            .scope(scope.clone())
            .role(custom.clone());
        for number in 0..orgs {
            builder = builder
                .membership(org(number), Sharing::Everyone, false)
                .org_role(org(number), "organization-workspace-access");
        }
        if let Err(error) = black_box(builder.compile(&catalogs.plain)) {
            *fault.borrow_mut() = Some(error);
        }
    });
    match fault.into_inner() {
        Some(error) => Err(error.into()),
        None => Ok(took),
    }
}
