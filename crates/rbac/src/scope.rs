//! The ceiling of what a credential may do, whatever its user may do.

mod agent;
mod allow_list;
mod name;

use std::fmt;

use stdx::ids::OrganizationId;

use crate::permission::{Grants, OrgGrants, Permission};
use crate::role::{PermissionLists, RoleError};

pub use agent::{AgentScopeError, WorkspaceAgent};
pub use allow_list::{AllowEntry, AllowList, AllowListError};
pub use name::{Composite, ScopeName, UnknownScope, is_public, public_names};

/// The ceiling of what a credential may do: permissions as a role has them, and an [`AllowList`].
#[derive(Clone, PartialEq, Eq)]
pub struct Scope {
    names: Vec<ScopeName>,
    /// What an internal scope is called; empty for one that is made of names only.
    labels: Vec<String>,
    pub(crate) site: Grants,
    pub(crate) user: Grants,
    pub(crate) orgs: Vec<(OrganizationId, OrgGrants)>,
    pub(crate) allow: AllowList,
}

/// Why a list of scope names makes no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// No name at all, which must never read as "unrestricted".
    #[error("a credential needs at least one scope")]
    Empty,
    /// A name that is not a scope, or (for requests) not a public one.
    #[error(transparent)]
    Unknown(#[from] UnknownScope),
}

/// Why a client gets no scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Nothing would be left.
    #[error("a credential needs at least one scope")]
    Empty,
    /// A name that the client's limit does not cover.
    #[error("scope {:?} is not allowed for this client", .0.to_string())]
    Beyond(ScopeName),
}

impl Scope {
    /// `coder:all` on everything: the ceiling of web sessions and system subjects.
    #[must_use]
    pub fn all() -> Self {
        Self::of_names(vec![ScopeName::All])
    }

    /// The union of the named scopes, public and internal, aliases included, on everything.
    ///
    /// # Errors
    /// No name, or the first unknown one.
    pub fn parse_names<S: AsRef<str>>(names: &[S]) -> Result<Self, ScopeError> {
        let names = names
            .iter()
            .map(|name| name.as_ref().parse())
            .collect::<Result<Vec<ScopeName>, _>>()?;
        Self::of(names)
    }

    /// The union of already parsed names, on everything.
    ///
    /// # Errors
    /// [`ScopeError::Empty`].
    pub fn of(names: Vec<ScopeName>) -> Result<Self, ScopeError> {
        if names.is_empty() {
            return Err(ScopeError::Empty);
        }
        Ok(Self::of_names(names))
    }

    /// The scope of a stored credential: an unknown name grants nothing and is handed back, so that one
    /// odd row narrows itself instead of failing the request. Report the names once.
    ///
    /// # Errors
    /// [`ScopeError::Empty`] only.
    pub fn from_stored<S: AsRef<str>>(
        names: &[S],
    ) -> Result<(Self, Vec<UnknownScope>), ScopeError> {
        if names.is_empty() {
            return Err(ScopeError::Empty);
        }
        let mut known = Vec::with_capacity(names.len());
        let mut unknown = Vec::new();
        for name in names {
            match name.as_ref().parse() {
                Ok(name) => known.push(name),
                Err(name) => unknown.push(name),
            }
        }
        Ok((Self::of_names(known), unknown))
    }

    fn of_names(mut names: Vec<ScopeName>) -> Self {
        let mut position = 0;
        while let Some(name) = names.get(position).copied() {
            let seen = names.iter().take(position).any(|earlier| *earlier == name);
            if seen {
                names.remove(position);
            } else {
                position += 1;
            }
        }
        let mut site = Grants::NONE;
        for name in &names {
            name.permissions().into_iter().for_each(|p| site.add(p));
        }
        Self {
            names,
            labels: Vec::new(),
            site,
            user: Grants::NONE,
            orgs: Vec::new(),
            allow: AllowList::everything(),
        }
    }

    /// An internal scope with permissions at several levels, on everything. Without `org` the
    /// organization and member lists must be empty.
    ///
    /// # Errors
    /// An action that its kind does not declare; organization permissions without organization.
    pub fn internal(
        label: &str,
        org: Option<OrganizationId>,
        permissions: &PermissionLists<'_>,
    ) -> Result<Self, RoleError> {
        let undeclared = permissions.undeclared(org);
        if !undeclared.is_empty() {
            return Err(RoleError::Undeclared(undeclared));
        }
        if org.is_none() && !(permissions.org.is_empty() && permissions.member.is_empty()) {
            return Err(RoleError::NoOrganization {
                name: crate::RoleName::site(label.to_owned()),
            });
        }
        let table = permissions.compile();
        Ok(Self {
            names: Vec::new(),
            labels: vec![label.to_owned()],
            site: table.site,
            user: table.user,
            orgs: org.map(|org| (org, table.in_org)).into_iter().collect(),
            allow: AllowList::everything(),
        })
    }

    /// What either scope allows, on what either lists. A forbidding permission of one stays in force.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        for label in other.labels {
            if !self.labels.contains(&label) {
                self.labels.push(label);
            }
        }
        for name in other.names {
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
        self.site.merge(&other.site);
        self.user.merge(&other.user);
        for (org, grants) in other.orgs {
            match self.orgs.iter_mut().find(|(listed, _)| *listed == org) {
                Some((_, mine)) => mine.merge(&grants),
                None => self.orgs.push((org, grants)),
            }
        }
        self.allow = self.allow.union(&other.allow);
        self
    }

    /// Narrows the scope to what `list` names as well; an empty list leaves nothing.
    #[must_use]
    pub fn narrowed_to(mut self, list: &AllowList) -> Self {
        self.allow = self.allow.intersect(list);
        self
    }

    /// The canonical names in their given order, without duplicates; none for internal scopes.
    #[must_use]
    pub fn names(&self) -> &[ScopeName] {
        &self.names
    }

    /// What the scope is limited to.
    #[must_use]
    pub const fn allow_list(&self) -> &AllowList {
        &self.allow
    }

    /// The scopes that a client gets: what it asks for, as far as its own limit covers it. Without a limit
    /// it is what it asks for, without a request the limit's public names, without both `coder:all`.
    ///
    /// # Errors
    /// The first requested name beyond the limit. A limit or a request without names, which must never
    /// read as "unrestricted".
    pub fn granted(
        limit: Option<&[ScopeName]>,
        requested: Option<&[ScopeName]>,
    ) -> Result<Vec<ScopeName>, GrantError> {
        let names: Vec<ScopeName> = match (limit, requested) {
            (None, None) => vec![ScopeName::All],
            (None, Some(requested)) => requested.to_vec(),
            (Some(limit), None) => limit.iter().copied().filter(|name| name.is_public()).collect(),
            (Some(limit), Some(requested)) => {
                let beyond = requested.iter().find(|name| !Self::covers(limit, **name));
                if let Some(name) = beyond {
                    return Err(GrantError::Beyond(*name));
                }
                requested.to_vec()
            }
        };
        if names.is_empty() { Err(GrantError::Empty) } else { Ok(names) }
    }

    /// Whether `requested` stays within `allowed`: every permission of it is subsumed by one permission
    /// of them, wildcards by wildcards only. For clients whose scopes are limited (OAuth2).
    #[must_use]
    pub fn covers(allowed: &[ScopeName], requested: ScopeName) -> bool {
        if allowed.contains(&requested) {
            return true;
        }
        let granted: Vec<Permission> = allowed.iter().flat_map(|name| name.permissions()).collect();
        let wanted = requested.permissions();
        // A name that expands to nothing is covered by itself, by its own wildcard and by everything, not
        // by anything.
        if let ScopeName::Task(_) = requested {
            return allowed.contains(&ScopeName::Task(None))
                || granted.contains(&Permission::EVERYTHING);
        }
        wanted.iter().all(|wanted| granted.iter().any(|granted| granted.subsumes(*wanted)))
    }
}

impl fmt::Display for Scope {
    /// The name, or `scopes[a+b]` for several.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.labels.iter().cloned();
        let names: Vec<String> = self.names.iter().map(ToString::to_string).chain(labels).collect();
        match names.as_slice() {
            [one] => f.write_str(one),
            several => write!(f, "scopes[{}]", several.join("+")),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({self} on {})", self.allow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<ScopeName> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn no_scope_is_an_error_and_never_unrestricted() {
        assert_eq!(Scope::parse_names::<&str>(&[]), Err(ScopeError::Empty));
        assert_eq!(Scope::of(Vec::new()), Err(ScopeError::Empty));
        assert!(Scope::from_stored::<&str>(&[]).is_err());
        let error = Scope::parse_names(&["coder:all", "workspace:fly"]).unwrap_err();
        assert_eq!(error.to_string(), r#"invalid or unsupported API key scope: "workspace:fly""#);
    }

    #[test]
    fn an_unknown_stored_scope_grants_nothing_and_is_reported() {
        let (scope, unknown) =
            Scope::from_stored(&["gone:read", "file:read", "task:read"]).unwrap();
        assert_eq!(unknown.len(), 1);
        assert_eq!(
            scope.site.permissions(),
            [Permission::allow(crate::Resource::File, crate::Action::Read)]
        );
        let (nothing, _) = Scope::from_stored(&["gone:read"]).unwrap();
        assert!(nothing.site.permissions().is_empty());
    }

    #[test]
    fn names_are_canonical_unique_and_in_order() {
        let scope = Scope::parse_names(&["file:read", "all", "coder:all", "file:read"]).unwrap();
        assert_eq!(scope.to_string(), "scopes[file:read+coder:all]");
        assert_eq!(scope.names(), names(&["file:read", "coder:all"]));
        assert_eq!(Scope::all().to_string(), "coder:all");
    }

    #[test]
    fn coverage_needs_each_permission_and_wildcards_for_wildcards() {
        for (allowed, requested, covered) in [
            (&[][..], "file:read", false),
            (&["file:read"], "file:read", true),
            (&["file:read"], "file:create", false),
            (&["file:*"], "file:create", true),
            (&["file:read", "file:create"], "file:*", false),
            (&["file:*"], "coder:all", false),
            (&["all"], "coder:all", true),
            (&["coder:all"], "workspace:*", true),
            (&["no_user_data"], "coder:all", false),
            (&["no_user_data"], "user:read", false),
            (&["api_key:*"], "coder:apikeys.manage_self", true),
            (&["api_key:read", "api_key:update"], "coder:apikeys.manage_self", false),
            (
                &["workspace:*", "template:*", "organization_member:read"],
                "coder:workspaces.access",
                true,
            ),
            (&["workspace:*", "template:*"], "coder:workspaces.access", false),
            (&["file:read"], "task:read", false),
            (&["task:read"], "task:read", true),
            (&["task:*"], "task:read", true),
            (&["task:read"], "task:*", false),
            (&["coder:all"], "task:*", true),
        ] {
            let seen = Scope::covers(&names(allowed), requested.parse().unwrap());
            assert_eq!(seen, covered, "{allowed:?} covers {requested}");
        }
    }

    #[test]
    fn a_client_gets_what_it_asks_for_within_its_limit() {
        let beyond = |name: &str| Err(GrantError::Beyond(name.parse().unwrap()));
        let limit: &[&str] = &["file:*", "no_user_data"];
        let none: Option<&[&str]> = None;
        for (limit, requested, granted) in [
            (none, none, Ok(&["coder:all"][..])),
            (none, Some(&["user:read"][..]), Ok(&["user:read"][..])),
            (none, Some(&[][..]), Err(GrantError::Empty)),
            (Some(limit), none, Ok(&["file:*"][..])),
            (Some(&["no_user_data"][..]), none, Err(GrantError::Empty)),
            (Some(&[][..]), none, Err(GrantError::Empty)),
            (Some(limit), Some(&["file:read"][..]), Ok(&["file:read"][..])),
            (Some(&["file:*"][..]), Some(&["file:read", "all"][..]), beyond("coder:all")),
            (Some(&[][..]), Some(&["file:read"][..]), beyond("file:read")),
        ] {
            let seen = Scope::granted(limit.map(names).as_deref(), requested.map(names).as_deref());
            assert_eq!(seen, granted.map(names), "{limit:?} {requested:?}");
        }
    }

    #[test]
    fn union_joins_names_and_lists() {
        let list = |entry: &str| AllowList::parse(&[entry]).unwrap();
        let one = Scope::parse_names(&["file:read"]).unwrap().narrowed_to(&list("file:*"));
        let two = Scope::parse_names(&["template:read"]).unwrap().narrowed_to(&list("template:*"));
        let both = one.union(two);
        assert_eq!(both.names(), names(&["file:read", "template:read"]));
        assert_eq!(both.allow_list().to_string(), "file:* template:*");
        assert_eq!(both.site.permissions().len(), 2);
        let inner = Scope::internal("inner", None, &PermissionLists::default()).unwrap();
        let all = both.union(inner).union(Scope::all());
        assert_eq!(all.to_string(), "scopes[file:read+template:read+coder:all+inner]");
    }
}
