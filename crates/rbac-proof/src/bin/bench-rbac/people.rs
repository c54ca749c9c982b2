//! Building subjects, preparing filters, filtering: what the other engines have no form for.

use std::cell::RefCell;
use std::hint::black_box;

use anyhow::{Result, ensure};
use rbac::{
    Acl, Action, ActionSet, Object, Permission, PermissionLists, Resource, Role, RoleName, Scope,
    Sharing, SubjectBuilder,
};
use rbac_proof::dice::Dice;
use rbac_proof::everyday::{self, ME, org};
use rbac_proof::question::{Catalogs, Place, Question, What, Who};
use stdx::ids::{GroupId, UserId};
use uuid::Uuid;

use crate::clock::ns;
use crate::report::{Held, Report};

/// Kinds that lists are asked of.
const LISTS: [Resource; 5] = [
    Resource::Workspace,
    Resource::Template,
    Resource::Interception,
    Resource::AuditLog,
    Resource::User,
];

/// All of it, by number of organizations.
pub(crate) fn measure(report: &mut Report, catalogs: &Catalogs) -> Result<()> {
    for (orgs, build_bar, filter_bar) in [
        (1, Held::AtMost(2_000.0), Held::AtMost(5_000.0)),
        (100, Held::Shown, Held::AtMost(50_000.0)),
    ] {
        report.ns("a subject from cached roles", orgs, build_ns(orgs, catalogs)?, build_bar);
        let (mean, slowest, name) = prepare_ns(orgs, catalogs)?;
        report.ns("a list filter, mean", orgs, mean, filter_bar);
        report.ns(&format!("a list filter, slowest ({name})"), orgs, slowest, filter_bar);
        let each = filter_ns(orgs, catalogs)?;
        report.ns("filtering 1,000 objects, each", orgs, each, Held::AtMost(50.0));
    }
    Ok(())
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

/// Every asker's filter of every list: the mean of all, the slowest and whose it is.
fn prepare_ns(orgs: usize, catalogs: &Catalogs) -> Result<(f64, f64, String)> {
    let (mut all, mut slowest) = (Vec::new(), (0.0, String::new()));
    for (name, who) in everyday::askers(orgs) {
        let subject = asking(who).subject(catalogs)?;
        for kind in LISTS {
            let took = ns(1, || {
                black_box(black_box(&subject).row_filter(black_box(Action::Read), kind));
            });
            all.push(took);
            if took > slowest.0 {
                slowest = (took, format!("{name}, {kind}"));
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few dozen")]
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    Ok((mean, slowest.0, slowest.1))
}

fn filter_ns(orgs: usize, catalogs: &Catalogs) -> Result<f64> {
    let who = everyday::person(orgs, vec![]);
    let subject = asking(who).subject(catalogs)?;
    let rows: Vec<Row> = rows(orgs);
    let keep =
        |all| subject.filter(Action::Read, Resource::Workspace, all, |row: &&Row| row.object());
    let kept = keep(rows.iter().collect())?;
    let one_by_one =
        rows.iter().filter(|row| subject.authorize(Action::Read, &row.object()).is_ok());
    ensure!(kept.iter().map(|row| row.id).eq(one_by_one.map(|row| row.id)), "filtered wrongly");
    ensure!(kept.len() > 100 && kept.len() < 900, "{} of 1000 kept", kept.len());
    Ok(ns(rows.len(), || {
        let _ = black_box(keep(rows.iter().collect()));
    }))
}

fn asking(who: Who) -> Question {
    Question {
        strict: false,
        who,
        action: Action::Read,
        what: What {
            resource: Resource::Workspace,
            id: None,
            owner: None,
            place: Place::Outside,
            users: vec![],
            groups: vec![],
        },
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

fn rows(orgs: usize) -> Vec<Row> {
    let mut dice = Dice::new(5);
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
