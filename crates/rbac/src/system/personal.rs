//! Parts that act for one user: under the user's id, on the user's things.

use std::borrow::Cow;
use std::sync::Arc;

use stdx::ids::{OrganizationId, UserId};

use super::{Bundle, table};
use crate::action::Action::{
    Create, CreateAgent, Delete, DeleteAgent, Read, ReadPersonal, Update, UpdateAgent,
    UpdatePersonal,
};
use crate::permission::{Grants, OrgGrants};
use crate::resource::Resource;
use crate::role::{Role, RoleTable};
use crate::role_name::RoleName;
use crate::scope::Scope;
use crate::subject::{CompileError, Subject, SubjectKind};

/// A part of the deployment that acts for one user.
#[derive(Clone, Copy, Debug)]
pub struct PersonalRole {
    /// The kind of the subject.
    pub kind: SubjectKind,
    /// The name of its one role.
    pub role: &'static str,
    /// The name in logs.
    pub name: &'static str,
    /// What it may do to the user's objects outside organizations.
    pub user: Bundle,
    /// What it may do to every object of the one organization.
    pub org: Bundle,
    /// What it may do to the user's objects in the one organization.
    pub member: Bundle,
}

/// Registers and removes agents inside one user's workspaces of one organization.
pub const SUB_AGENT_API: PersonalRole = PersonalRole {
    kind: SubjectKind::SubAgentApi,
    role: "subagentapi",
    name: "Sub Agent API",
    user: &[],
    org: &[(Resource::Template, &[Read])],
    member: &[(Resource::Workspace, &[Read, Update, CreateAgent, DeleteAgent, UpdateAgent])],
};

/// Deletes keys of one user.
pub const API_KEY_REVOKER: PersonalRole = PersonalRole {
    kind: SubjectKind::ApiKeyRevoker,
    role: "apikeyrevoker",
    name: "API Key Revoker",
    user: &[(Resource::ApiKey, &[Delete])],
    org: &[],
    member: &[],
};

/// Makes keys for the chats of one user.
pub const CHATD_KEY_MINTER: PersonalRole = PersonalRole {
    kind: SubjectKind::ChatdKeyMinter,
    role: "chatdkeyminter",
    name: "Chat Daemon Key Minter",
    user: &[(Resource::ApiKey, &[Create, Read, Update, Delete]), (Resource::User, &[ReadPersonal])],
    org: &[],
    member: &[],
};

/// Stores refreshed tokens for the chats of one user.
pub const CHATD_TOKEN_OWNER: PersonalRole = PersonalRole {
    kind: SubjectKind::ChatdTokenOwner,
    role: "chatdtokenowner",
    name: "Chat Daemon Token Owner",
    user: &[(Resource::User, &[UpdatePersonal])],
    org: &[],
    member: &[],
};

/// Every part that acts for one user.
pub const PERSONAL: &[PersonalRole] =
    &[SUB_AGENT_API, API_KEY_REVOKER, CHATD_KEY_MINTER, CHATD_TOKEN_OWNER];

impl PersonalRole {
    pub(crate) fn table(&self) -> RoleTable {
        RoleTable {
            site: Grants::NONE,
            user: table(self.user),
            in_org: OrgGrants { org: table(self.org), member: table(self.member) },
        }
    }

    fn compile(&self, org: Option<OrganizationId>, user: UserId) -> Result<Subject, CompileError> {
        if user.is_nil() {
            return Err(CompileError::EmptyId);
        }
        let name = match org {
            Some(org) => RoleName::in_org(self.role, org),
            None => RoleName::site(self.role),
        };
        if org.is_some_and(OrganizationId::is_nil) {
            return Err(CompileError::NilOrganization(name));
        }
        let role = Role::from_table(name, Cow::Borrowed(self.name), Arc::new(self.table()));
        let who = (self.kind, user, self.name.to_owned(), String::new());
        Ok(Subject::assemble(who, vec![role], Vec::new(), Scope::all()))
    }
}

/// [`SUB_AGENT_API`] for one user in one organization.
///
/// # Errors
/// A nil user or organization.
pub fn sub_agent_api(org: OrganizationId, user: UserId) -> Result<Subject, CompileError> {
    SUB_AGENT_API.compile(Some(org), user)
}

/// [`API_KEY_REVOKER`] for one user.
///
/// # Errors
/// A nil user.
pub fn api_key_revoker(user: UserId) -> Result<Subject, CompileError> {
    API_KEY_REVOKER.compile(None, user)
}

/// [`CHATD_KEY_MINTER`] for one user.
///
/// # Errors
/// A nil user.
pub fn chatd_key_minter(user: UserId) -> Result<Subject, CompileError> {
    CHATD_KEY_MINTER.compile(None, user)
}

/// [`CHATD_TOKEN_OWNER`] for one user.
///
/// # Errors
/// A nil user.
pub fn chatd_token_owner(user: UserId) -> Result<Subject, CompileError> {
    CHATD_TOKEN_OWNER.compile(None, user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Object};
    use uuid::Uuid;

    const ME: UserId = UserId::new(Uuid::from_u128(1));
    const BOB: UserId = UserId::new(Uuid::from_u128(2));
    const A: OrganizationId = OrganizationId::new(Uuid::from_u128(10));
    const B: OrganizationId = OrganizationId::new(Uuid::from_u128(11));

    fn names(bundle: Bundle, resource: Resource, action: Action) -> bool {
        bundle.iter().any(|(listed, actions)| *listed == resource && actions.contains(&action))
    }

    #[test]
    fn each_acts_on_the_things_of_its_user_only() {
        let subjects = [
            sub_agent_api(A, ME).unwrap(),
            api_key_revoker(ME).unwrap(),
            chatd_key_minter(ME).unwrap(),
            chatd_token_owner(ME).unwrap(),
        ];
        for (part, subject) in PERSONAL.iter().zip(&subjects) {
            assert_eq!((subject.kind(), subject.id()), (part.kind, ME));
            for resource in Resource::ALL {
                for action in Action::ALL {
                    let object = Object::new(resource);
                    let user = names(part.user, resource, action);
                    let org = names(part.org, resource, action);
                    let member = names(part.member, resource, action);
                    for (object, allowed) in [
                        (object, false),
                        (object.owner(ME), user),
                        (object.owner(BOB), false),
                        (object.in_org(A), org),
                        (object.in_org(A).owner(ME), org || member),
                        (object.in_org(A).owner(BOB), org),
                        (object.in_org(B).owner(ME), false),
                    ] {
                        let decided = subject.authorize(action, &object).is_ok();
                        assert_eq!(decided, allowed, "{} {action} {object:?}", part.role);
                    }
                }
            }
        }
    }

    #[test]
    fn nobody_is_not_a_user() {
        let nil = UserId::nil();
        for made in [
            sub_agent_api(A, nil),
            api_key_revoker(nil),
            chatd_key_minter(nil),
            chatd_token_owner(nil),
        ] {
            assert_eq!(made.unwrap_err(), CompileError::EmptyId);
        }
        assert!(matches!(
            sub_agent_api(OrganizationId::nil(), ME),
            Err(CompileError::NilOrganization(_))
        ));
    }
}
