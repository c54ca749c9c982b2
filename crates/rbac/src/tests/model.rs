//! The rule, written a second time as literally as possible over lists of permissions, without bit sets,
//! sharing of tables or reductions. The laws compare the real one with it.

use std::collections::BTreeSet;

use stdx::ids::{GroupId, OrganizationId, UserId};
use uuid::Uuid;

use crate::object::Place;
use crate::{
    Acl, Action, AllowEntry, AllowList, Catalog, Object, Permission, PermissionLists, Resource,
    Role, RoleName, Scope, Subject, SubjectBuilder, SubjectKind,
};

/// A role or a part of a scope.
#[derive(Clone, Debug, Default)]
pub(super) struct ModelRole {
    pub(super) org_id: Option<OrganizationId>,
    pub(super) site: Vec<Permission>,
    pub(super) user: Vec<Permission>,
    pub(super) org: Vec<Permission>,
    pub(super) member: Vec<Permission>,
}

#[derive(Clone, Debug)]
pub(super) struct ModelSubject {
    pub(super) id: UserId,
    pub(super) roles: Vec<ModelRole>,
    pub(super) groups: Vec<GroupId>,
    pub(super) scope: Vec<ModelRole>,
    pub(super) allow: Vec<AllowEntry>,
}

#[derive(Clone, Debug)]
pub(super) struct ModelObject {
    pub(super) resource: Resource,
    pub(super) id: Option<Uuid>,
    pub(super) owner: Option<UserId>,
    pub(super) place: Place,
    pub(super) acl: Acl,
}

impl ModelObject {
    pub(super) fn object(&self) -> Object<'_> {
        Object {
            resource: self.resource,
            id: self.id,
            owner: self.owner,
            place: self.place,
            acl: Some(&self.acl),
        }
    }
}

impl ModelRole {
    fn lists(&self) -> PermissionLists<'_> {
        PermissionLists { site: &self.site, user: &self.user, org: &self.org, member: &self.member }
    }

    pub(super) fn levels_mut(&mut self) -> [&mut Vec<Permission>; 4] {
        [&mut self.site, &mut self.user, &mut self.org, &mut self.member]
    }
}

impl ModelSubject {
    pub(super) fn compile(&self) -> Subject {
        self.compile_as(SubjectKind::User)
    }

    pub(super) fn compile_as(&self, kind: SubjectKind) -> Subject {
        let scope = self
            .scope
            .iter()
            .map(|part| Scope::internal("part", part.org_id, &part.lists()).unwrap())
            .reduce(Scope::union)
            .unwrap()
            .narrowed_to(&AllowList::new(self.allow.iter().copied()));
        let mut builder = SubjectBuilder::new(kind, self.id)
            .no_roles()
            .groups(self.groups.iter().copied())
            .scope(scope);
        for (position, role) in self.roles.iter().enumerate() {
            let name = format!("role-{position}");
            let name = match role.org_id {
                Some(org) => RoleName::in_org(name, org),
                None => RoleName::site(name),
            };
            builder = builder.role(Role::custom(name, "", &role.lists()).unwrap());
        }
        builder.compile(&Catalog::default()).unwrap()
    }

    fn orgs(&self) -> BTreeSet<OrganizationId> {
        self.roles.iter().filter_map(|role| role.org_id).collect()
    }

    pub(super) fn allows(&self, action: Action, object: &ModelObject) -> bool {
        let listed = self.allow.iter().any(|entry| {
            entry.resource.is_none_or(|r| r == object.resource)
                && entry.id.is_none_or(|id| Some(id) == object.id)
        });
        (self.level_rule(&self.roles, action, object) || self.acl_allows(action, object))
            && listed
            && self.level_rule(&self.scope, action, object)
    }

    fn level_rule(&self, roles: &[ModelRole], action: Action, object: &ModelObject) -> bool {
        let owned = object.owner == Some(self.id);
        let members = self.orgs();
        let in_org = |pick: fn(&ModelRole) -> &Vec<Permission>, org: OrganizationId| {
            let here = roles.iter().filter(|role| role.org_id == Some(org));
            vote(here.flat_map(pick), action, object.resource)
        };
        let over_place = |pick: fn(&ModelRole) -> &Vec<Permission>| match object.place {
            Place::In(org) if members.contains(&org) => in_org(pick, org),
            Place::Outside | Place::In(_) => 0,
            Place::Anywhere => members.iter().map(|org| in_org(pick, *org)).max().unwrap_or(0),
        };

        let site = vote(roles.iter().flat_map(|role| &role.site), action, object.resource);
        let user = if owned && object.place == Place::Outside {
            vote(roles.iter().flat_map(|role| &role.user), action, object.resource)
        } else {
            0
        };
        let org = over_place(|role| &role.org);
        let member = if owned { over_place(|role| &role.member) } else { 0 };
        match (site, user, org, member) {
            (1, ..) => true,
            (-1, ..) => false,
            (_, 1, ..) | (_, _, 1, _) => true,
            (_, _, org, 1) => org != -1,
            _ => false,
        }
    }

    fn acl_allows(&self, action: Action, object: &ModelObject) -> bool {
        let members = self.orgs();
        let (is_member, everyone) = match object.place {
            Place::Outside => (false, None),
            Place::In(org) => (members.contains(&org), Some(GroupId::new(org.uuid()))),
            Place::Anywhere => (!members.is_empty(), None),
        };
        let user = object.acl.users().iter();
        let group = object.acl.groups().iter();
        is_member
            && (user.clone().any(|(u, set)| *u == self.id && set.contains(action))
                || group.clone().any(|(g, set)| {
                    (self.groups.contains(g) || Some(*g) == everyone) && set.contains(action)
                }))
    }
}

fn vote<'p>(
    permissions: impl Iterator<Item = &'p Permission>,
    action: Action,
    resource: Resource,
) -> i8 {
    let matching: Vec<bool> = permissions
        .filter(|p| {
            p.resource.is_none_or(|r| r == resource) && p.action.is_none_or(|a| a == action)
        })
        .map(|p| p.negate)
        .collect();
    if matching.contains(&true) { -1 } else { i8::from(!matching.is_empty()) }
}
