//! Random questions in a small world, in which roles, scopes, lists and objects often meet.

use rbac::{
    Action, ActionSet, AllowEntry, Permission, Resource, ScopeName, Sharing, WorkspaceAgent,
};
use stdx::ids::{GroupId, OrganizationId, UserId};
use uuid::Uuid;

use crate::dice::Dice;
use crate::parts::{self, Part};
use crate::question::{Ceiling, Held, Lists, Place, Question, What, Who};

const ME: UserId = UserId::new(Uuid::from_u128(1));
const BOB: UserId = UserId::new(Uuid::from_u128(2));
const ORGS: [OrganizationId; 4] = [
    OrganizationId::new(Uuid::from_u128(10)),
    OrganizationId::new(Uuid::from_u128(11)),
    OrganizationId::new(Uuid::from_u128(12)),
    OrganizationId::nil(),
];
/// The last two are the groups of everyone in the first two organizations.
const GROUPS: [GroupId; 4] = [
    GroupId::new(Uuid::from_u128(20)),
    GroupId::new(Uuid::from_u128(21)),
    GroupId::new(Uuid::from_u128(10)),
    GroupId::new(Uuid::from_u128(11)),
];
const EVERYTHING: AllowEntry = AllowEntry { resource: None, id: None };
const SITE_ROLES: [&str; 5] = ["member", "owner", "auditor", "template-admin", "user-admin"];
const ORG_ROLES: [&str; 6] = [
    "organization-admin",
    "organization-auditor",
    "organization-user-admin",
    "organization-template-admin",
    "organization-workspace-creation-ban",
    "organization-workspace-access",
];
/// Kinds about which roles disagree most.
const HOT: [Resource; 10] = [
    Resource::Workspace,
    Resource::WorkspaceDormant,
    Resource::Template,
    Resource::Chat,
    Resource::ChatProject,
    Resource::ApiKey,
    Resource::User,
    Resource::OrganizationMember,
    Resource::Group,
    Resource::Interception,
];

/// What a question turns on, so that permissions can be made to meet it.
#[derive(Clone, Copy)]
struct Topic {
    resource: Resource,
    action: Action,
}

/// The next question of the stream.
pub fn question(dice: &mut Dice) -> Question {
    if dice.percent(8) {
        return of_a_part(dice);
    }
    let topic = topic(dice);
    let who = who(dice, topic);
    Question { strict: dice.percent(20), who, action: topic.action, what: what(dice, topic) }
}

/// A part of the deployment asks, mostly for what it may do somewhere.
fn of_a_part(dice: &mut Dice) -> Question {
    let personal = dice.percent(30);
    let part = dice.of(if personal { parts::PERSONAL } else { parts::ALONE });
    let lists = part.lists();
    let listed: Vec<Topic> = [&lists.site, &lists.user, &lists.org, &lists.member]
        .into_iter()
        .flatten()
        .filter_map(|one| Some(Topic { resource: one.resource?, action: one.action? }))
        .collect();
    let topic = if dice.percent(70) { dice.of(&listed) } else { topic(dice) };
    let who = acting(part, org(dice));
    Question { strict: dice.percent(20), who, action: topic.action, what: what(dice, topic) }
}

fn acting(part: Part, org: OrganizationId) -> Who {
    Who {
        id: part.id(ME),
        roles: vec![Held::Part(part, org)],
        groups: vec![],
        scope: Ceiling::Names(vec![ScopeName::All]),
        allow: vec![EVERYTHING],
    }
}

fn topic(dice: &mut Dice) -> Topic {
    let resource = if dice.percent(60) { dice.of(&HOT) } else { dice.of(&Resource::ALL) };
    let declared: Vec<Action> = resource.actions().iter().collect();
    let action = if dice.percent(95) { dice.of(&declared) } else { dice.of(&Action::ALL) };
    Topic { resource, action }
}

fn org(dice: &mut Dice) -> OrganizationId {
    // Nobody is in the nil organization; objects may claim to be.
    dice.of(&[ORGS[0], ORGS[0], ORGS[1], ORGS[2]])
}

fn who(dice: &mut Dice, topic: Topic) -> Who {
    let mut roles = Vec::new();
    if dice.percent(60) {
        roles.push(Held::Site("member"));
    }
    for at in 0..dice.below(4) {
        if dice.percent(60) {
            let sharing = dice.of(&Sharing::ALL);
            if let Some(org) = ORGS.get(at).filter(|org| !org.is_nil()) {
                roles.push(Held::Member(*org, sharing, dice.percent(30)));
            }
        }
    }
    for _ in 0..dice.below(4) {
        roles.push(match dice.below(10) {
            0 => Held::Site(dice.of(&SITE_ROLES)),
            1..5 => Held::Org(dice.of(&ORG_ROLES), org(dice)),
            5 => Held::Custom(None, lists(dice, topic, false)),
            _ => Held::Custom(Some(org(dice)), lists(dice, topic, true)),
        });
    }
    let scope = match dice.below(10) {
        0..5 => Ceiling::Names(vec![ScopeName::All]),
        5..7 => Ceiling::Names((0..=dice.below(3)).map(|_| scope_name(dice, topic)).collect()),
        _ => Ceiling::Parts((0..=dice.below(3)).map(|_| scope_part(dice, topic)).collect()),
    };
    let allow = if dice.percent(60) {
        vec![EVERYTHING]
    } else {
        (0..dice.below(5)).map(|_| entry(dice, topic)).collect()
    };
    let (scope, allow) = if dice.percent(5) { agent(dice) } else { (scope, allow) };
    Who {
        id: if dice.percent(97) { ME } else { UserId::nil() },
        roles,
        groups: dice.some(&GROUPS, 3),
        scope,
        allow,
    }
}

/// The agent of some workspace, and what it is limited to in the words of the rules.
fn agent(dice: &mut Dice) -> (Ceiling, Vec<AllowEntry>) {
    let agent = WorkspaceAgent {
        workspace: id(dice),
        template: id(dice),
        template_version: id(dice),
        owner: id(dice),
        block_user_data: dice.percent(50),
    };
    let one = |resource, id| AllowEntry { resource: Some(resource), id };
    let allow = vec![
        one(Resource::Workspace, Some(agent.workspace)),
        one(Resource::Template, Some(agent.template)),
        one(Resource::Template, Some(agent.template_version)),
        one(Resource::User, Some(agent.owner)),
        one(Resource::BoundaryLog, None),
    ];
    (Ceiling::Agent(agent), allow)
}

fn scope_name(dice: &mut Dice, topic: Topic) -> ScopeName {
    let named = || {
        let declared = topic.resource.actions().contains(topic.action);
        Some(ScopeName::Low(topic.resource, declared.then_some(topic.action)))
    };
    let any = |dice: &mut Dice| {
        let all: Vec<ScopeName> = ScopeName::all().collect();
        dice.of(&all)
    };
    if dice.percent(50) { named().unwrap_or(ScopeName::All) } else { any(dice) }
}

fn scope_part(dice: &mut Dice, topic: Topic) -> (Option<OrganizationId>, Lists) {
    let org = dice.percent(60).then(|| org(dice));
    (org, lists(dice, topic, org.is_some()))
}

fn lists(dice: &mut Dice, topic: Topic, in_org: bool) -> Lists {
    let site = if dice.percent(20) { permissions(dice, topic, 1) } else { Vec::new() };
    let user = permissions(dice, topic, 2);
    let (org, member) = if in_org {
        (permissions(dice, topic, 2), permissions(dice, topic, 3))
    } else {
        (Vec::new(), Vec::new())
    };
    Lists { site, user, org, member }
}

fn permissions(dice: &mut Dice, topic: Topic, most: usize) -> Vec<Permission> {
    (0..dice.below(most + 1)).map(|_| permission(dice, topic)).collect()
}

/// Often about the topic, sometimes about everything, never undeclared.
fn permission(dice: &mut Dice, topic: Topic) -> Permission {
    let resource = match dice.below(10) {
        0..6 => Some(topic.resource),
        6..8 => None,
        _ => Some(dice.of(&Resource::ALL)),
    };
    let action = match dice.below(10) {
        0..6 => Some(topic.action),
        6..8 => None,
        _ => Some(dice.of(&Action::ALL)),
    };
    let mut permission = Permission { negate: dice.percent(25), resource, action };
    if !permission.is_declared() {
        permission.action = None;
    }
    permission
}

fn id(dice: &mut Dice) -> Uuid {
    Uuid::from_u128(100 + u128::from(dice.percent(50)) + u128::from(dice.percent(20)))
}

fn entry(dice: &mut Dice, topic: Topic) -> AllowEntry {
    let resource = match dice.below(10) {
        0..5 => Some(topic.resource),
        5..8 => None,
        _ => Some(dice.of(&Resource::ALL)),
    };
    AllowEntry { resource, id: dice.percent(70).then(|| id(dice)) }
}

fn what(dice: &mut Dice, topic: Topic) -> What {
    let place = match dice.below(10) {
        0..2 => Place::Outside,
        2 => Place::Any,
        3..9 => Place::In(org(dice)),
        _ => Place::In(dice.of(&ORGS)),
    };
    let shared = dice.percent(40);
    let actions = |dice: &mut Dice| match dice.below(4) {
        0 => ActionSet::ALL,
        1 | 2 => ActionSet::from(topic.action).union(dice.of(&Action::ALL).into()),
        _ => dice.some(&Action::ALL, 2).into_iter().collect(),
    };
    let users = if shared {
        (0..dice.below(3)).map(|_| (dice.of(&[ME, BOB]), actions(dice))).collect()
    } else {
        Vec::new()
    };
    let groups = if shared {
        (0..dice.below(4)).map(|_| (dice.of(&GROUPS), actions(dice))).collect()
    } else {
        Vec::new()
    };
    What {
        resource: topic.resource,
        id: dice.percent(70).then(|| id(dice)),
        owner: dice.percent(85).then(|| dice.of(&[ME, ME, ME, BOB, BOB, UserId::nil()])),
        place,
        users,
        groups,
    }
}
