//! What a question turns on, so that a run can tell that nothing was left out.

use rbac::{ActionSet, AllowEntry, Permission, Sharing};

use crate::question::{Ceiling, Held, Lists, Place, Question};

/// Every feature that a question can have.
pub const FEATURES: [&str; 47] = [
    "action: undeclared",
    "custom role: forbids at member level",
    "custom role: forbids at org level",
    "custom role: forbids at site level",
    "custom role: forbids at user level",
    "custom role: of an organization",
    "custom role: of the deployment",
    "list: empty",
    "list: everything",
    "list: one id of any type",
    "list: one object",
    "list: one type",
    "membership: member, sharing everyone",
    "membership: member, sharing none",
    "membership: member, sharing service_accounts",
    "membership: service account, sharing everyone",
    "membership: service account, sharing none",
    "membership: service account, sharing service_accounts",
    "object: has an id",
    "object: in a known organization",
    "object: in any organization",
    "object: in the nil organization",
    "object: of another",
    "object: of nobody",
    "object: of the nil user",
    "object: of the subject",
    "object: outside organizations",
    "role: built in, of an organization",
    "role: built in, of the deployment",
    "scope: a name",
    "scope: an agent's",
    "scope: an agent's, without user data",
    "scope: at member or user level",
    "scope: coder:all",
    "scope: forbids",
    "scope: of an organization",
    "scope: several names",
    "shared: every action",
    "shared: with a group",
    "shared: with a group of the subject",
    "shared: with an organization's everyone",
    "shared: with another",
    "shared: with the subject",
    "subject: a part of the deployment",
    "subject: has the nil id",
    "subject: holds no role",
    "switches: thrown",
];

/// The features of a question.
#[must_use]
pub fn features(question: &Question) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut note = |when: bool, feature| {
        if when {
            found.push(feature);
        }
    };
    let undeclared = !question.what.resource.actions().contains(question.action);
    note(undeclared, "action: undeclared");
    note(question.strict, "switches: thrown");
    let who = &question.who;
    note(who.id.is_nil(), "subject: has the nil id");
    note(who.roles.is_empty(), "subject: holds no role");
    for held in &who.roles {
        role(held, &mut note);
    }
    scope(&who.scope, &mut note);
    note(who.allow.is_empty(), "list: empty");
    for entry in &who.allow {
        let form = match entry {
            AllowEntry { resource: None, id: None } => "list: everything",
            AllowEntry { resource: None, id: Some(_) } => "list: one id of any type",
            AllowEntry { resource: Some(_), id: None } => "list: one type",
            AllowEntry { resource: Some(_), id: Some(_) } => "list: one object",
        };
        note(true, form);
    }
    object(question, &mut note);
    found.sort_unstable();
    found.dedup();
    found
}

fn role(held: &Held, note: &mut impl FnMut(bool, &'static str)) {
    let forbids = |list: &[Permission]| list.iter().any(|permission| permission.negate);
    match held {
        Held::Site(_) => note(true, "role: built in, of the deployment"),
        Held::Org(..) => note(true, "role: built in, of an organization"),
        Held::Part(..) => note(true, "subject: a part of the deployment"),
        Held::Member(_, sharing, service_account) => {
            let membership = match (sharing, service_account) {
                (Sharing::None, false) => "membership: member, sharing none",
                (Sharing::ServiceAccounts, false) => "membership: member, sharing service_accounts",
                (Sharing::Everyone, false) => "membership: member, sharing everyone",
                (Sharing::None, true) => "membership: service account, sharing none",
                (Sharing::ServiceAccounts, true) => {
                    "membership: service account, sharing service_accounts"
                }
                (Sharing::Everyone, true) => "membership: service account, sharing everyone",
            };
            note(true, membership);
        }
        Held::Custom(org, Lists { site, user, org: everywhere, member }) => {
            note(org.is_none(), "custom role: of the deployment");
            note(org.is_some(), "custom role: of an organization");
            note(forbids(site), "custom role: forbids at site level");
            note(forbids(user), "custom role: forbids at user level");
            note(forbids(everywhere), "custom role: forbids at org level");
            note(forbids(member), "custom role: forbids at member level");
        }
    }
}

fn scope(ceiling: &Ceiling, note: &mut impl FnMut(bool, &'static str)) {
    match ceiling {
        Ceiling::Names(names) => match names.as_slice() {
            [rbac::ScopeName::All] => note(true, "scope: coder:all"),
            [_] => note(true, "scope: a name"),
            _ => note(true, "scope: several names"),
        },
        Ceiling::Agent(agent) => {
            note(!agent.block_user_data, "scope: an agent's");
            note(agent.block_user_data, "scope: an agent's, without user data");
        }
        Ceiling::Parts(parts) => {
            for (org, lists) in parts {
                let Lists { site, user, org: everywhere, member } = lists;
                let mut all = [site, user, everywhere, member].into_iter().flatten();
                note(org.is_some(), "scope: of an organization");
                note(!(member.is_empty() && user.is_empty()), "scope: at member or user level");
                note(all.any(|permission| permission.negate), "scope: forbids");
            }
        }
    }
}

fn object(question: &Question, note: &mut impl FnMut(bool, &'static str)) {
    let (who, what) = (&question.who, &question.what);
    note(what.id.is_some(), "object: has an id");
    match what.place {
        Place::Outside => note(true, "object: outside organizations"),
        Place::Any => note(true, "object: in any organization"),
        Place::In(org) if org.is_nil() => note(true, "object: in the nil organization"),
        Place::In(_) => note(true, "object: in a known organization"),
    }
    match what.owner {
        None => note(true, "object: of nobody"),
        Some(owner) if owner.is_nil() => note(true, "object: of the nil user"),
        Some(owner) if owner == who.id => note(true, "object: of the subject"),
        Some(_) => note(true, "object: of another"),
    }
    for (user, actions) in &what.users {
        note(*actions == ActionSet::ALL, "shared: every action");
        note(*user == who.id, "shared: with the subject");
        note(*user != who.id, "shared: with another");
    }
    for (group, actions) in &what.groups {
        let everyone = matches!(what.place, Place::In(org) if org.uuid() == group.uuid());
        note(*actions == ActionSet::ALL, "shared: every action");
        note(true, "shared: with a group");
        note(everyone, "shared: with an organization's everyone");
        note(who.groups.contains(group), "shared: with a group of the subject");
    }
}
