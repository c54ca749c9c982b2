//! Names for what an object is shared for.

use crate::action::{Action, ActionSet};
use crate::resource::Resource;

const READ: ActionSet = ActionSet::of(&[Action::Read]);

/// What sharing an object "for" a named role gives, e.g. a workspace for `use`. None for a name that the
/// kind does not know. The empty name, which removes an entry, is the caller's to handle.
#[must_use]
pub fn sharing_actions(resource: Resource, role: &str) -> Option<ActionSet> {
    match (resource, role) {
        (Resource::Workspace, "admin") => {
            Some(resource.actions().difference(Action::Delete.into()))
        }
        (Resource::Workspace, "use") => Some(ActionSet::of(&[
            Action::Read,
            Action::Ssh,
            Action::ApplicationConnect,
            Action::Start,
            Action::Stop,
        ])),
        // The wildcard: grows with the actions of templates.
        (Resource::Template, "admin") => Some(ActionSet::ALL),
        (Resource::Template, "use") => Some(ActionSet::of(&[Action::Read, Action::Use])),
        (
            Resource::Chat
            | Resource::ChatProject
            | Resource::ChatModelConfig
            | Resource::McpServerConfig,
            "read",
        ) => Some(READ),
        _ => None,
    }
}

/// The name for what an object is shared for: the widest whose actions are all there. None if the actions
/// amount to no name.
#[must_use]
pub fn sharing_role(resource: Resource, actions: ActionSet) -> Option<&'static str> {
    ["admin", "use", "read"].into_iter().find(|role| {
        sharing_actions(resource, role)
            .is_some_and(|wanted| actions.contains_all(wanted.intersection(resource.actions())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_actions_match_both_ways() {
        for (resource, role, actions) in [
            (
                Resource::Workspace,
                "admin",
                "application_connect create create_agent delete_agent read share ssh start stop \
                 update update_agent",
            ),
            (Resource::Workspace, "use", "application_connect read ssh start stop"),
            (Resource::Template, "use", "read use"),
            (Resource::Chat, "read", "read"),
            (Resource::ChatProject, "read", "read"),
            (Resource::ChatModelConfig, "read", "read"),
            (Resource::McpServerConfig, "read", "read"),
        ] {
            let set = sharing_actions(resource, role).unwrap();
            assert_eq!(set.to_string(), actions, "{resource} {role}");
            assert_eq!(sharing_role(resource, set), Some(role));
        }
        assert_eq!(sharing_actions(Resource::Template, "admin"), Some(ActionSet::ALL));
        assert_eq!(sharing_role(Resource::Template, Resource::Template.actions()), Some("admin"));
    }

    #[test]
    fn other_names_and_kinds_have_none() {
        for (resource, role) in [
            (Resource::Workspace, ""),
            (Resource::Workspace, "read"),
            (Resource::Workspace, "Admin"),
            (Resource::WorkspaceDormant, "use"),
            (Resource::Chat, "admin"),
            (Resource::User, "use"),
        ] {
            assert_eq!(sharing_actions(resource, role), None, "{resource} {role}");
        }
        assert_eq!(sharing_role(Resource::Workspace, READ), None);
        assert_eq!(sharing_role(Resource::Workspace, ActionSet::EMPTY), None);
        assert_eq!(sharing_role(Resource::User, ActionSet::ALL), None);
    }
}
