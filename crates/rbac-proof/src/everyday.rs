//! The questions that are measured: what a control plane asks all day, of people with one organization or
//! many.

use rbac::{Action, ActionSet, AllowEntry, Permission, Resource, ScopeName, Sharing};
use stdx::ids::{GroupId, OrganizationId, UserId};
use uuid::Uuid;

use crate::dice::Dice;
use crate::question::{Ceiling, Held, Lists, Place, Question, What, Who};

/// The person who asks.
pub const ME: UserId = UserId::new(Uuid::from_u128(0x1111_0000_0000_4000_8000_0000_0000_0001));
const BOB: UserId = UserId::new(Uuid::from_u128(0x2222_0000_0000_4000_8000_0000_0000_0002));
const LISTED: Uuid = Uuid::from_u128(0x3333_0000_0000_4000_8000_0000_0000_0003);
const GROUPS: u128 = 20;

/// Random-looking identifiers, as real ones are: their order says nothing.
fn scattered(number: u128) -> Uuid {
    Uuid::from_u128((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// The organization of this number.
#[must_use]
pub fn org(number: usize) -> OrganizationId {
    OrganizationId::new(scattered(number as u128))
}

fn group(number: u128) -> GroupId {
    GroupId::new(scattered(1_000_000 + number))
}

/// A member of `orgs` organizations with the usual roles in each, and `more` roles.
#[must_use]
pub fn person(orgs: usize, more: Vec<Held>) -> Who {
    let mut roles = vec![Held::Site("member")];
    for number in 0..orgs {
        roles.push(Held::Member(org(number), Sharing::Everyone, false));
        roles.push(Held::Org("organization-workspace-access", org(number)));
    }
    roles.extend(more);
    Who {
        id: ME,
        roles,
        groups: (0..GROUPS).map(group).collect(),
        scope: Ceiling::Names(vec![ScopeName::All]),
        allow: vec![AllowEntry { resource: None, id: None }],
    }
}

/// A custom role of each organization, no two of which grant the same.
fn readers(orgs: usize) -> Vec<Held> {
    let role = |number: usize| {
        let kind = Resource::ALL.iter().cycle().nth(number).copied();
        let mut permissions = vec![Permission::allow(Resource::Template, Action::Read)];
        permissions.extend(kind.map(Permission::allow_all));
        let forbidden = Permission::allow(Resource::Workspace, Action::Delete).negated();
        let member = if number.is_multiple_of(2) { vec![forbidden] } else { vec![] };
        Held::Custom(Some(org(number)), Lists { org: permissions, member, ..Lists::default() })
    };
    (0..orgs).map(role).collect()
}

/// Those who ask: what they are, and what they hold.
#[must_use]
pub fn askers(orgs: usize) -> Vec<(&'static str, Who)> {
    let limited = {
        let entry = |id| AllowEntry { resource: Some(Resource::Workspace), id: Some(id) };
        let names = ["coder:workspaces.access", "user:read"];
        Who {
            scope: Ceiling::Names(names.iter().filter_map(|name| name.parse().ok()).collect()),
            allow: vec![entry(LISTED), entry(scattered(77))],
            ..person(orgs, vec![])
        }
    };
    let halves = (0..orgs).step_by(2).map(|number| Held::Org("organization-admin", org(number)));
    vec![
        ("member", person(orgs, vec![])),
        ("admin of every other organization", person(orgs, halves.collect())),
        (
            "banned member",
            person(orgs, vec![Held::Org("organization-workspace-creation-ban", org(0))]),
        ),
        ("owner", person(orgs, vec![Held::Site("owner")])),
        ("auditor", person(orgs, vec![Held::Site("auditor")])),
        ("holder of a custom role in each", person(orgs, readers(orgs))),
        ("limited credential", limited),
    ]
}

fn things(orgs: usize) -> Vec<(Action, What)> {
    let mut dice = Dice::new(7);
    let mut somewhere = || Place::In(org(dice.below(orgs)));
    let thing = |resource, owner, place| What {
        resource,
        id: Some(LISTED),
        owner,
        place,
        users: vec![],
        groups: vec![],
    };
    let use_it = ActionSet::of(&[Action::Read, Action::Ssh, Action::Start, Action::Stop]);
    let (mine, bobs) = (Some(ME), Some(BOB));
    let shared = What {
        users: vec![(BOB, ActionSet::ALL), (ME, use_it)],
        ..thing(Resource::Workspace, bobs, somewhere())
    };
    let shared_by_group = What {
        groups: (GROUPS - 1..GROUPS + 7).map(|number| (group(number), use_it)).collect(),
        ..thing(Resource::Workspace, bobs, somewhere())
    };
    let template_org = dice_org(orgs);
    let template = What {
        groups: vec![(
            GroupId::new(template_org.uuid()),
            ActionSet::of(&[Action::Read, Action::Use]),
        )],
        ..thing(Resource::Template, None, Place::In(template_org))
    };
    vec![
        (Action::Read, thing(Resource::Workspace, mine, somewhere())),
        (Action::Ssh, thing(Resource::Workspace, mine, somewhere())),
        (Action::Create, thing(Resource::Workspace, mine, somewhere())),
        (Action::Read, thing(Resource::Workspace, bobs, somewhere())),
        (Action::Ssh, shared),
        (Action::Ssh, shared_by_group),
        (Action::Use, template),
        (Action::Read, thing(Resource::Organization, None, somewhere())),
        (Action::Read, thing(Resource::ApiKey, mine, Place::Outside)),
        (Action::Read, thing(Resource::User, bobs, Place::Outside)),
        (Action::Read, thing(Resource::Interception, bobs, Place::Outside)),
        (Action::Read, thing(Resource::AiProvider, None, Place::Outside)),
        (Action::Create, thing(Resource::Workspace, mine, Place::Any)),
    ]
}

fn dice_org(orgs: usize) -> OrganizationId {
    org(orgs / 2)
}

/// Every asker about every thing, shuffled.
#[must_use]
pub fn questions(orgs: usize) -> Vec<Question> {
    let mut questions: Vec<Question> = askers(orgs)
        .into_iter()
        .flat_map(|(_, who)| {
            things(orgs).into_iter().map(move |(action, what)| Question {
                strict: false,
                who: who.clone(),
                action,
                what,
            })
        })
        .collect();
    let mut dice = Dice::new(11);
    for at in (1..questions.len()).rev() {
        questions.swap(at, dice.below(at + 1));
    }
    questions
}
