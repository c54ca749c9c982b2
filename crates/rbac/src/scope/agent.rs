//! The scope of the agent inside a workspace.

use uuid::Uuid;

use super::{AllowEntry, AllowList, Scope, ScopeName};
use crate::resource::Resource;

/// What the agent of a workspace may reach. It acts with the roles of the workspace's owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkspaceAgent {
    /// The workspace.
    pub workspace: Uuid,
    /// Its template.
    pub template: Uuid,
    /// The version of the template that it was built from.
    pub template_version: Uuid,
    /// Its owner.
    pub owner: Uuid,
    /// Whether the agent is kept from its owner's user data.
    pub block_user_data: bool,
}

/// An id is missing, which would widen or void the scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the scope of a workspace agent needs the id of its {0}")]
pub struct AgentScopeError(&'static str);

impl WorkspaceAgent {
    /// The agent's scope: everything (or everything but users) on its own workspace, template, template
    /// version and owner, and on boundary logs. The agent of a site owner's workspace can thus read all
    /// boundary logs.
    ///
    /// # Errors
    /// A nil id.
    pub fn scope(&self) -> Result<Scope, AgentScopeError> {
        for (id, what) in [
            (self.workspace, "workspace"),
            (self.template, "template"),
            (self.template_version, "template version"),
            (self.owner, "owner"),
        ] {
            if id.is_nil() {
                return Err(AgentScopeError(what));
            }
        }
        let one = |resource, id| AllowEntry { resource: Some(resource), id };
        let list = AllowList::new([
            one(Resource::Workspace, Some(self.workspace)),
            one(Resource::Template, Some(self.template)),
            one(Resource::Template, Some(self.template_version)),
            one(Resource::User, Some(self.owner)),
            one(Resource::BoundaryLog, None),
        ]);
        let name = if self.block_user_data { ScopeName::NoUserData } else { ScopeName::All };
        Ok(Scope::of_names(vec![name]).narrowed_to(&list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Catalog, Object, SubjectBuilder};
    use stdx::ids::{OrganizationId, UserId};

    const ME: Uuid = Uuid::from_u128(1);
    const AGENT: WorkspaceAgent = WorkspaceAgent {
        workspace: Uuid::from_u128(2),
        template: Uuid::from_u128(3),
        template_version: Uuid::from_u128(4),
        owner: ME,
        block_user_data: false,
    };

    #[test]
    fn the_agent_reaches_its_own_surroundings_only() {
        let org = OrganizationId::new(Uuid::from_u128(10));
        for block_user_data in [false, true] {
            let agent = SubjectBuilder::user(UserId::new(ME))
                .site_role("owner")
                .scope(WorkspaceAgent { block_user_data, ..AGENT }.scope().unwrap())
                .compile(&Catalog::default())
                .unwrap();
            let of = |resource, id| Object::new(resource).id(Uuid::from_u128(id)).in_org(org);
            for (object, allowed) in [
                (of(Resource::Workspace, 2), true),
                (of(Resource::Workspace, 9), false),
                (Object::new(Resource::Workspace).in_org(org), false),
                (of(Resource::Template, 3), true),
                (of(Resource::Template, 4), true),
                (of(Resource::Template, 2), false),
                (Object::new(Resource::User).id(ME), !block_user_data),
                (of(Resource::User, 9), false),
                (Object::new(Resource::BoundaryLog), true),
                (Object::new(Resource::AuditLog), false),
            ] {
                let decided = agent.authorize(Action::Read, &object).is_ok();
                assert_eq!(decided, allowed, "{object:?} blocked: {block_user_data}");
            }
        }
    }

    #[test]
    fn a_missing_id_is_an_error() {
        let nil = Uuid::nil();
        for (agent, what) in [
            (WorkspaceAgent { workspace: nil, ..AGENT }, "workspace"),
            (WorkspaceAgent { template: nil, ..AGENT }, "template"),
            (WorkspaceAgent { template_version: nil, ..AGENT }, "template version"),
            (WorkspaceAgent { owner: nil, ..AGENT }, "owner"),
        ] {
            assert_eq!(agent.scope(), Err(AgentScopeError(what)));
        }
    }
}
