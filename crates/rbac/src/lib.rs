//! Who may do what: subjects, objects, roles, scopes and row filters.
//!
//! A [`Subject`] is built once per credential by [`SubjectBuilder`] and then asked:
//! [`Subject::authorize`] decides about one [`Object`], [`Subject::row_filter`] about all rows of a kind
//! at once, [`Subject::explain`] decides and says why. Start reading in `resource.rs` (what is protected),
//! then `roles/` (what each role grants), then `subject/decide.rs` (the rule).
//!
//! The rule: four levels vote, each on the permissions of all roles together; a forbidding permission
//! beats every allowing one of its level. The deployment's level decides if it does not abstain; below it,
//! one's own things outside organizations, the organization, and one's own things in the organization may
//! allow. Sharing by an access control list is an alternative to roles. The scope of the credential votes
//! by the same rule and must allow as well.
//!
//! Invariants:
//! - Pure and synchronous: no IO, no clock, no global state; built-in roles depend on the
//!   [`RoleOptions`] of a [`Catalog`] that the caller owns.
//! - `authorize` and `RowFilter::matches` allocate nothing (see `subject/decide.rs`).
//! - Everything absent refuses: no role, no scope, an empty allow list, an undeclared action.
//! - Roles are written by addition in matches without a catch-all: a new [`Resource`] does not compile
//!   until each role has answered for it.
//!
//! It refuses to know where subjects and objects come from (store), who is asking (authn), and what a
//! refusal looks like on the wire (api).

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
