//! Compiles names of roles and a scope to a [`Subject`].

use std::sync::Arc;

use stdx::ids::{GroupId, OrganizationId, UserId};

use super::{Seat, Subject, SubjectKind};
use crate::permission::{Grants, OrgGrants};
use crate::role::{Role, RoleTable};
use crate::role_name::RoleName;
use crate::roles::{Catalog, MembershipKind, RETIRED_ROLES, Sharing};
use crate::scope::Scope;

/// Collects what is known about an actor; [`compile`](Self::compile) checks it.
///
/// The roles of a user come from four places, all of them needed: the implied `member`
/// (`site_role("member")`), the user's roles of the deployment, per membership one
/// [`membership`](Self::membership) and the member's roles, and what the organization gives to all members.
#[must_use]
#[derive(Clone, Debug)]
pub struct SubjectBuilder {
    id: UserId,
    kind: SubjectKind,
    name: String,
    email: String,
    roles: Option<Vec<Wanted>>,
    groups: Vec<GroupId>,
    /// Boxed, since builders are moved from call to call.
    scope: Option<Box<Scope>>,
}

#[derive(Clone, Debug)]
enum Wanted {
    Named(RoleName),
    Membership { org: OrganizationId, sharing: Sharing, service_account: bool },
    Given(Role),
}

/// Why no subject could be made. An internal error, never a denial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Roles were never mentioned, not even as none.
    #[error("subject must have roles")]
    NoRoles,
    /// No scope was given.
    #[error("subject must have a scope")]
    NoScope,
    /// A user without id, who would own what nobody owns.
    #[error("a user's subject must have an id")]
    EmptyId,
    /// Neither built in nor given as a custom role.
    #[error("role {0} does not exist")]
    UnknownRole(RoleName),
    /// An implied role by name alone: what it grants depends on the organization.
    #[error("role {0} is implied by a membership and cannot be held by name")]
    ImpliedRole(RoleName),
    /// Two memberships in one organization.
    #[error("subject has two memberships in organization {0}")]
    TwoMemberships(OrganizationId),
    /// A role or membership of the nil organization.
    #[error("role {0} belongs to the nil organization")]
    NilOrganization(RoleName),
}

impl SubjectBuilder {
    /// Starts with an actor that has neither roles nor scope, and cannot be compiled yet.
    pub const fn new(kind: SubjectKind, id: UserId) -> Self {
        Self {
            id,
            kind,
            name: String::new(),
            email: String::new(),
            roles: None,
            groups: Vec::new(),
            scope: None,
        }
    }

    /// Starts with a user.
    pub const fn user(id: UserId) -> Self {
        Self::new(SubjectKind::User, id)
    }

    /// The user name, for logs.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The email address, for logs.
    pub fn email(mut self, email: impl Into<String>) -> Self {
        self.email = email.into();
        self
    }

    /// States that roles are known, even if none follow.
    pub fn no_roles(mut self) -> Self {
        self.roles.get_or_insert_default();
        self
    }

    /// Adds a role of the deployment by name.
    pub fn site_role(self, name: &str) -> Self {
        self.role_name(RoleName::site(name.to_owned()))
    }

    /// Adds a role of an organization by name; holding it makes the actor a member.
    pub fn org_role(self, org: OrganizationId, name: &str) -> Self {
        self.role_name(RoleName::in_org(name.to_owned(), org))
    }

    /// Adds a role by name, which must be built in, retired (and is then ignored), or be given with
    /// [`role`](Self::role).
    pub fn role_name(self, name: RoleName) -> Self {
        self.want(Wanted::Named(name))
    }

    /// Adds the role that a membership implies.
    pub fn membership(self, org: OrganizationId, sharing: Sharing, service_account: bool) -> Self {
        self.want(Wanted::Membership { org, sharing, service_account })
    }

    /// Adds a role by value: a custom role that was loaded.
    pub fn role(self, role: Role) -> Self {
        self.want(Wanted::Given(role))
    }

    /// Adds groups; order and duplicates do not matter.
    pub fn groups(mut self, groups: impl IntoIterator<Item = GroupId>) -> Self {
        self.groups.extend(groups);
        self
    }

    /// Sets the ceiling.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(Box::new(scope));
        self
    }

    fn want(mut self, wanted: Wanted) -> Self {
        self.roles.get_or_insert_default().push(wanted);
        self
    }

    /// Resolves names and packs everything into bit tables.
    ///
    /// # Errors
    /// See [`CompileError`]. A role that no longer exists is an error here; whether to drop it (and count
    /// that) is decided by whoever loads the names.
    pub fn compile(self, catalog: &Catalog) -> Result<Subject, CompileError> {
        let wanted = self.roles.ok_or(CompileError::NoRoles)?;
        let scope = *self.scope.ok_or(CompileError::NoScope)?;
        if self.kind == SubjectKind::User && self.id.is_nil() {
            return Err(CompileError::EmptyId);
        }

        let mut given = Vec::new();
        let mut members = Vec::new();
        for wanted in &wanted {
            match wanted {
                Wanted::Given(role) => given.push(role.name().clone()),
                Wanted::Membership { org, .. } => members.push(*org),
                Wanted::Named(_) => {}
            }
        }
        given.sort_unstable();
        members.sort_unstable();
        let twice = members.windows(2).find(|pair| pair.first() == pair.last());
        if let Some(org) = twice.and_then(<[_]>::first) {
            return Err(CompileError::TwoMemberships(*org));
        }
        let mut roles = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let role = match wanted {
                Wanted::Given(role) => role,
                Wanted::Membership { org, sharing, service_account } => {
                    catalog.membership(org, sharing, service_account)
                }
                Wanted::Named(name) => {
                    if RETIRED_ROLES.contains(&name.name()) || given.binary_search(&name).is_ok() {
                        continue;
                    }
                    if name.org().is_some() && MembershipKind::named(name.name()).is_some() {
                        return Err(CompileError::ImpliedRole(name));
                    }
                    match catalog.built_in(&name) {
                        Some(role) => role,
                        None => return Err(CompileError::UnknownRole(name)),
                    }
                }
            };
            if role.name().org().is_some_and(OrganizationId::is_nil) {
                return Err(CompileError::NilOrganization(role.name().clone()));
            }
            roles.push(role);
        }
        Ok(Subject::assemble(
            (self.kind, self.id, self.name, self.email),
            roles,
            self.groups,
            scope,
        ))
    }
}

impl Subject {
    /// Packs checked parts.
    pub(crate) fn assemble(
        (kind, id, name, email): (SubjectKind, UserId, String, String),
        mut roles: Vec<Role>,
        mut groups: Vec<GroupId>,
        scope: Scope,
    ) -> Self {
        roles.sort_by(|a, b| a.name().cmp(b.name()));
        groups.sort_unstable();
        groups.dedup();

        let (site, user) = outside_orgs(&roles);
        let mut held: Vec<InOrg<'_>> = roles
            .iter()
            .filter_map(|role| Some((role.name().org()?, role.shared_table())))
            .collect();
        held.sort_unstable_by_key(|(org, table)| (*org, Arc::as_ptr(table)));
        let mut places: Vec<&[InOrg<'_>]> =
            held.chunk_by(|(one, _), (other, _)| one == other).collect();
        // Most people hold the same roles in all their organizations: the same tables are merged once.
        places.sort_by(|one, other| tables(one).cmp(tables(other)));
        let mut role_tables = Vec::new();
        let mut scope_tables = Vec::new();
        let mut seats: Vec<Seat> = Vec::with_capacity(places.len());
        for alike in places.chunk_by(|one, other| tables(one).eq(tables(other))) {
            role_tables.push(alike.first().map_or(OrgGrants::NONE, |place| together(place)));
            for (org, _) in alike.iter().filter_map(|place| place.first()) {
                let ceiling = scope.orgs.iter().find(|(listed, _)| listed == org);
                let ceiling = ceiling.map_or(&OrgGrants::NONE, |(_, grants)| grants);
                seats.push(Seat {
                    org: *org,
                    role_table: role_tables.len() - 1,
                    scope_table: intern(&mut scope_tables, ceiling),
                });
            }
        }
        seats.sort_unstable_by_key(|seat| seat.org);

        Self {
            id,
            kind,
            name,
            email,
            roles,
            groups: Arc::from(groups),
            site,
            user,
            seats,
            anywhere: OrgGrants::best_of(&role_tables),
            scope_anywhere: OrgGrants::best_of(&scope_tables),
            role_tables,
            scope_tables,
            scope,
        }
    }
}

/// What all roles together grant at the two levels that know no organization.
fn outside_orgs(roles: &[Role]) -> (Grants, Grants) {
    let (mut site, mut user) = (Grants::NONE, Grants::NONE);
    let mut seen: Vec<*const RoleTable> = Vec::new();
    for role in roles {
        let table = role.shared_table();
        // The same role of many organizations has one table.
        if !seen.contains(&Arc::as_ptr(table)) {
            seen.push(Arc::as_ptr(table));
            site.merge(&table.site);
            user.merge(&table.user);
        }
    }
    (site, user)
}

/// A role of an organization.
type InOrg<'r> = (OrganizationId, &'r Arc<RoleTable>);

fn tables(place: &[InOrg<'_>]) -> impl Iterator<Item = *const RoleTable> {
    place.iter().map(|(_, table)| Arc::as_ptr(table))
}

/// What several roles of an organization grant in it.
fn together(place: &[InOrg<'_>]) -> OrgGrants {
    let mut granted = OrgGrants::NONE;
    for (_, table) in place {
        granted.merge(&table.in_org);
    }
    granted
}

/// Equal tables are stored once.
fn intern(tables: &mut Vec<OrgGrants>, table: &OrgGrants) -> usize {
    if let Some(known) = tables.iter().position(|known| known == table) {
        return known;
    }
    tables.push(*table);
    tables.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::PermissionLists;
    use crate::{Action, Level, Resource};
    use uuid::Uuid;

    fn me() -> SubjectBuilder {
        SubjectBuilder::user(UserId::new(Uuid::from_u128(1)))
    }

    fn org(n: u128) -> OrganizationId {
        OrganizationId::new(Uuid::from_u128(n))
    }

    fn error(builder: SubjectBuilder) -> CompileError {
        builder.compile(&Catalog::default()).unwrap_err()
    }

    #[test]
    fn an_incomplete_subject_is_an_error_and_not_a_denial() {
        assert_eq!(error(me().scope(Scope::all())), CompileError::NoRoles);
        assert_eq!(error(me().site_role("owner")), CompileError::NoScope);
        let nobody = SubjectBuilder::user(UserId::nil()).no_roles();
        assert_eq!(error(nobody.scope(Scope::all())), CompileError::EmptyId);
    }

    #[test]
    fn names_that_do_not_resolve_are_errors() {
        let me = me().scope(Scope::all());
        for name in [
            RoleName::site("nobody"),
            RoleName::site("organization-admin"),
            RoleName::in_org("owner", org(2)),
            RoleName::in_org("mine", org(2)),
            RoleName::site("custom-site-role"),
            RoleName::site("aibridged"),
            RoleName::site("organization-member"),
        ] {
            let expected = CompileError::UnknownRole(name.clone());
            assert_eq!(error(me.clone().role_name(name)), expected);
        }
        let implied = RoleName::in_org("organization-member", org(2));
        assert_eq!(
            error(me.clone().role_name(implied.clone())),
            CompileError::ImpliedRole(implied)
        );
        assert!(matches!(
            error(me.clone().org_role(OrganizationId::nil(), "organization-admin")),
            CompileError::NilOrganization(_)
        ));
        assert_eq!(
            error(me.membership(org(2), Sharing::None, false).membership(
                org(2),
                Sharing::None,
                true
            )),
            CompileError::TwoMemberships(org(2))
        );
    }

    #[test]
    fn retired_names_vanish_and_custom_roles_count() {
        let name = RoleName::in_org("mine", org(2));
        let custom = Role::custom(name.clone(), "Mine", &PermissionLists::default()).unwrap();
        let subject = me()
            .scope(Scope::all())
            .site_role("agents-access")
            .role_name(name.clone())
            .role(custom)
            .compile(&Catalog::default())
            .unwrap();
        assert_eq!(subject.roles().collect::<Vec<_>>(), [&name]);
        assert!(subject.is_member_of(org(2)), "an empty role brings membership");
        assert!(!subject.is_member_of(org(3)));
    }

    #[test]
    fn memberships_with_equal_roles_share_their_table() {
        let subject = (2..102)
            .fold(me().scope(Scope::all()), |me, n| {
                me.membership(org(n), Sharing::Everyone, false)
                    .org_role(org(n), "organization-workspace-access")
            })
            .compile(&Catalog::default())
            .unwrap();
        assert_eq!(subject.organizations().count(), 100);
        assert_eq!(subject.role_tables.len(), 1);
        assert_eq!(subject.scope_tables.len(), 1);
    }

    #[test]
    fn organizations_with_some_roles_in_common_keep_their_own() {
        let access = "organization-workspace-access";
        let admin = "organization-admin";
        let ban = "organization-workspace-creation-ban";
        let sets: [&[&str]; 6] =
            [&[], &[access], &[admin], &[access, admin], &[access, ban], &[ban]];
        let hold = |me: SubjectBuilder, n: u128, set: &[&str]| {
            let me = me.membership(org(n), Sharing::None, false);
            set.iter().fold(me, |me, role| me.org_role(org(n), role))
        };
        let compiled =
            |me: SubjectBuilder| me.scope(Scope::all()).compile(&Catalog::default()).unwrap();
        let all = (2..).zip(sets).fold(me(), |me, (n, set)| hold(me, n, set));
        let all = compiled(all);
        for (n, set) in (2..).zip(sets) {
            let alone = compiled(hold(me(), n, set));
            for resource in Resource::ALL {
                for action in Action::ALL {
                    for level in [Level::Org, Level::Member] {
                        assert_eq!(
                            all.vote_at(level, org(n), resource, action),
                            alone.vote_at(level, org(n), resource, action),
                            "{resource}:{action} of {set:?} at {level:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn accessors_show_what_was_given() {
        let group = GroupId::new(Uuid::from_u128(7));
        let subject = me()
            .name("alice")
            .email("alice@example.com")
            .site_role("owner")
            .org_role(org(2), "organization-auditor")
            .groups([group, group])
            .scope(Scope::all())
            .compile(&Catalog::default())
            .unwrap();
        assert_eq!((subject.name(), subject.email()), ("alice", "alice@example.com"));
        assert_eq!(subject.groups(), [group]);
        assert!(subject.has_site_role("owner") && !subject.has_site_role("organization-auditor"));
        assert!(subject.has_org_role(org(2), "organization-auditor"));
        assert_eq!(subject.scope().to_string(), "coder:all");
        assert!(subject.can_assign(&RoleName::site("owner")));
        assert!(!format!("{subject:?}").contains("example.com"));
    }
}
