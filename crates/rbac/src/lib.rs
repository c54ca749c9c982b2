//! Who may do what: subjects, objects, roles, scopes and row filters.
//!
//! A [`Subject`] is built once per credential by [`SubjectBuilder`] and then asked:
//! [`Subject::authorize`] decides about one [`Object`], [`Subject::filter`] about many,
//! [`Subject::row_filter`] about all rows of a kind at once, and [`Subject::explain`] decides and says why.
//!
//! ```
//! use rbac::{Action, Catalog, Object, Resource, Scope, Sharing, SubjectBuilder};
//! use stdx::ids::{OrganizationId, UserId};
//!
//! let catalog = Catalog::default(); // the built-in roles, once per deployment
//! let org: OrganizationId = "7d6a1a05-0c3c-4c63-8d9b-3c9be0f0a001".parse()?;
//! let me: UserId = "0a000000-0000-4000-8000-000000000001".parse()?;
//! let bob: UserId = "0b000000-0000-4000-8000-000000000002".parse()?;
//!
//! let alice = SubjectBuilder::user(me)
//!     .site_role("member")
//!     .membership(org, Sharing::Everyone, false)
//!     .org_role(org, "organization-workspace-access")
//!     .scope(Scope::all())
//!     .compile(&catalog)?;
//!
//! let workspace = Object::new(Resource::Workspace).in_org(org);
//! assert!(alice.authorize(Action::Ssh, &workspace.owner(me)).is_ok());
//! assert!(alice.authorize(Action::Ssh, &workspace.owner(bob)).is_err());
//! assert_eq!(
//!     alice.explain(Action::Ssh, &workspace.owner(bob)).to_string(),
//!     "workspace:ssh is refused because the subject is not its owner, for whom there is \
//!      workspace:ssh of role organization-workspace-access:7d6a1a05-0c3c-4c63-8d9b-3c9be0f0a001 \
//!      at member level",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The decision, by hand
//!
//! Take the subject's roles from `docs/generated/rbac-matrix.md` (or its custom ones), the scopes of its
//! credential from [`ScopeName`], and the object's kind, id, owner, organization and access control list.
//!
//! **1. Is there such a question?** An action that the kind does not declare ([`Resource::actions`]) is
//! refused to everybody. `*` in a role or scope means the declared actions, no others.
//!
//! **2. Votes.** At each level throw the permissions of *all* roles together and look at those that name the
//! kind (or `*`) and the action (or `*`): one that forbids makes the vote *no*, else one that allows makes it
//! *yes*, else the level abstains. A level whose condition fails abstains, too.
//!
//! | level | whose permissions | counts if |
//! | --- | --- | --- |
//! | site | of all roles | always |
//! | user | of all roles | the subject owns the object, and it is in no organization |
//! | org | of the roles of the object's organization | the subject is a member of it |
//! | member | of the roles of the object's organization | the same, and the subject owns the object |
//!
//! A *member* holds any role of the organization, even an empty one. *Owning* is having the same id; nobody
//! owns what has no owner, and the nil id owns nothing. Asked about *any* organization
//! ([`Object::any_org`]), org and member take the best vote of the subject's organizations (yes before
//! abstain before no), and user abstains.
//!
//! **3. Do the roles allow?** The first line that holds:
//!
//! | | |
//! | --- | --- |
//! | site is yes | allowed, whatever the others say |
//! | site is no | not allowed, whatever the others say |
//! | user is yes, or org is yes | allowed |
//! | member is yes, and org is not no | allowed |
//! | otherwise | not allowed |
//!
//! **4. Or is it shared?** A member of the object's organization is allowed as well if the object's [`Acl`]
//! gives the action (or `*`) to the subject, to one of its groups, or to the organization's own group, whose
//! id is the organization's. Forbidding permissions do not stop this; outside organizations nothing is
//! shared.
//!
//! **5. Is the credential good for it?** Steps 2 and 3 with the scope's permissions in place of the roles'
//! (memberships stay those of the roles) must allow, *and* the scope's [`AllowList`] must name the object:
//! `*:*`, its `type:*`, its `type:id` or `*:id`. What has no id yet is named by `type:*` only.
//!
//! **The answer** is yes if (3 or 4) and 5. There is no other way to a yes.
//!
//! For example: Alice above, who also holds `organization-workspace-creation-ban` in the same organization,
//! creates a workspace there for herself. Site: no role lists `workspace:create`, abstains. User: the object
//! is in an organization, abstains. Org: the ban forbids it, *no*. Member: workspace access allows it, *yes*.
//! Line four fails as org is no; nothing is shared; refused. In another of her organizations, without the
//! ban, org would abstain, and line four would allow.
//!
//! # Lists
//!
//! [`Subject::row_filter`] answers for rows that are not loaded yet, as sets of ids that a query binds as
//! parameters; it selects exactly the rows that `authorize` allows.
//!
//! ```
//! # use rbac::{Action, Catalog, Resource, Scope, SubjectBuilder};
//! # use stdx::ids::{OrganizationId, UserId};
//! # let org: OrganizationId = "7d6a1a05-0c3c-4c63-8d9b-3c9be0f0a001".parse()?;
//! # let me: UserId = "0a000000-0000-4000-8000-000000000001".parse()?;
//! let admin = SubjectBuilder::user(me)
//!     .org_role(org, "organization-admin")
//!     .scope(Scope::parse_names(&["workspace:read"])?)
//!     .compile(&Catalog::default())?;
//! let filter = admin.row_filter(Action::Read, Resource::Workspace);
//! assert_eq!(filter.orgs(), [org]); // where organization_id = any($1)
//! assert!(!filter.is_everything() && !filter.is_nothing());
//! assert!(admin.row_filter(Action::Read, Resource::Template).is_nothing()); // no query at all
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Text from outside
//!
//! Names and ids are read by [`RawObject::parse`], [`Permission::parse`], `str::parse` of [`Resource`],
//! [`Action`], [`RoleName`], [`ScopeName`], and by [`AllowList::parse`]. What is malformed or unknown is an
//! error with a type of its own: never a panic, never a denial that looks like an answer, never a yes.
//!
//! ```
//! use rbac::RawObject;
//!
//! let both = RawObject {
//!     resource_type: "workspace",
//!     org: "7d6a1a05-0c3c-4c63-8d9b-3c9be0f0a001",
//!     any_org: true,
//!     ..RawObject::default()
//! };
//! assert!(both.parse().is_err());
//! assert!("workspace:fly".parse::<rbac::ScopeName>().is_err());
//! ```
//!
//! # Invariants
//!
//! - Pure and synchronous: no IO, no clock, no global state; built-in roles depend on the
//!   [`RoleOptions`] of a [`Catalog`] that the caller owns.
//! - `authorize` and `RowFilter::matches` allocate nothing (see `subject/decide.rs`).
//! - Everything absent refuses: no role, no scope, an empty allow list, an undeclared action.
//! - Roles are written by addition in matches without a catch-all: a new [`Resource`] does not compile
//!   until each role has answered for it.
//!
//! It refuses to know where subjects and objects come from (store), who is asking (authn), and what a
//! refusal looks like on the wire (api). Start reading in `resource.rs` (what is protected), then `roles/`
//! (what each role grants), then `subject/decide.rs` (the rule). `examples/files.rs` is a service that uses
//! it; the crate `rbac-proof` compares it with other engines.

mod acl;
mod action;
mod assign;
mod matrix;
mod object;
mod permission;
mod resource;
mod role;
mod role_name;
mod roles;
mod row_filter;
mod scope;
mod subject;
pub mod system;
mod unknown_name;

#[cfg(test)]
mod tests;

pub use acl::{Acl, sharing_actions, sharing_role};
pub use action::{Action, ActionSet};
pub use assign::{ASSIGNERS, Assigner, RoleChange, RoleChangeError, can_assign};
pub use matrix::matrix;
pub use object::{Object, ObjectError, RawObject};
pub use permission::{Permission, PermissionError};
pub use resource::Resource;
pub use role::{
    CustomRoleError, PermissionLists, RawPermission, RawPermissions, Role, RoleError, Undeclared,
    Unknown, check_role_name,
};
pub use role_name::{RoleName, RoleNameError};
pub use roles::{
    CUSTOM_ORG_ROLE, CUSTOM_SITE_ROLE, Catalog, DEFAULT_ORG_MEMBER_ROLES, RETIRED_ROLES,
    RoleOptions, Sharing, is_built_in, is_reserved,
};
pub use row_filter::{AclFilter, Columns, MixedKinds, RowFilter};
pub use scope::{
    AgentScopeError, AllowEntry, AllowList, AllowListError, Composite, GrantError, Scope,
    ScopeError, ScopeName, UnknownScope, WorkspaceAgent, is_public, public_names,
};
pub use subject::{
    Because, CompileError, Denied, Explanation, Ground, Level, Subject, SubjectBuilder, SubjectKind,
};
pub use system::SystemRole;
pub use unknown_name::UnknownName;
