//! Names of scopes: the special ones, the composites, and `type:action`.

use std::fmt;
use std::str::FromStr;

use crate::action::Action;
use crate::permission::Permission;
use crate::resource::Resource;

/// The canonical name of a scope. Parsing accepts the aliases `all` and `application_connect`;
/// printing gives the canonical name, which is what is stored and compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ScopeName {
    /// `coder:all`: no ceiling.
    All,
    /// `coder:application_connect`: connect to workspace applications, nothing else.
    ApplicationConnect,
    /// `no_user_data`: everything but users. Internal, for agents.
    NoUserData,
    /// A named bundle.
    Composite(Composite),
    /// `type:action`, or `type:*` for `None`; the action is declared for the kind.
    Low(Resource, Option<Action>),
    /// `task:…`: a kind that is gone. Still a name, so that old credentials load; grants nothing.
    Task(Option<Action>),
}

/// A named bundle of permissions for a common purpose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Composite {
    /// Create and start workspaces.
    WorkspacesCreate,
    /// Start, stop and change workspaces.
    WorkspacesOperate,
    /// Remove workspaces.
    WorkspacesDelete,
    /// Connect to workspaces.
    WorkspacesAccess,
    /// Follow the build of templates.
    TemplatesBuild,
    /// Write templates.
    TemplatesAuthor,
    /// Manage one's own API keys.
    ApikeysManageSelf,
}

use Action::{
    ApplicationConnect, Create, Delete, Read, ReadPersonal, Ssh, Start, Stop, Update,
    UpdatePersonal, Use, ViewInsights,
};

type Bundle = &'static [(Resource, &'static [Action])];

impl Composite {
    /// Every bundle.
    pub const ALL: [Self; 7] = [
        Self::WorkspacesCreate,
        Self::WorkspacesOperate,
        Self::WorkspacesDelete,
        Self::WorkspacesAccess,
        Self::TemplatesBuild,
        Self::TemplatesAuthor,
        Self::ApikeysManageSelf,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkspacesCreate => "coder:workspaces.create",
            Self::WorkspacesOperate => "coder:workspaces.operate",
            Self::WorkspacesDelete => "coder:workspaces.delete",
            Self::WorkspacesAccess => "coder:workspaces.access",
            Self::TemplatesBuild => "coder:templates.build",
            Self::TemplatesAuthor => "coder:templates.author",
            Self::ApikeysManageSelf => "coder:apikeys.manage_self",
        }
    }

    const fn bundle(self) -> Bundle {
        match self {
            Self::WorkspacesCreate => &[
                (Resource::Template, &[Read, Use]),
                (Resource::Workspace, &[Create, Read, Update, Start, Stop]),
                (Resource::OrganizationMember, &[Read]),
            ],
            Self::WorkspacesOperate => &[
                (Resource::Template, &[Read]),
                (Resource::Workspace, &[Read, Update, Start, Stop]),
                (Resource::OrganizationMember, &[Read]),
            ],
            Self::WorkspacesDelete => &[
                (Resource::Template, &[Read, Use]),
                (Resource::Workspace, &[Read, Delete]),
                (Resource::OrganizationMember, &[Read]),
            ],
            Self::WorkspacesAccess => &[
                (Resource::Template, &[Read]),
                (Resource::Workspace, &[Read, Ssh, ApplicationConnect]),
                (Resource::OrganizationMember, &[Read]),
            ],
            Self::TemplatesBuild => &[
                (Resource::Template, &[Read]),
                (Resource::File, &[Create, Read]),
                (Resource::ProvisionerJobs, &[Read]),
            ],
            Self::TemplatesAuthor => &[
                (Resource::Template, &[Create, Read, Update, Delete, ViewInsights]),
                (Resource::File, &[Create, Read]),
            ],
            Self::ApikeysManageSelf => &[(Resource::ApiKey, &[Create, Read, Update, Delete])],
        }
    }
}

/// The low-level names that credentials may ask for; `type:*` of each kind as well.
const PUBLIC_LOW: Bundle = &[
    (Resource::Workspace, &[Read, Create, Update, Delete, Ssh, Start, Stop, ApplicationConnect]),
    (Resource::Template, &[Read, Create, Update, Delete, Use]),
    (Resource::ApiKey, &[Read, Create, Update, Delete]),
    (Resource::File, &[Read, Create]),
    (Resource::User, &[Read, ReadPersonal, UpdatePersonal]),
    (Resource::UserSecret, &[Read, Create, Update, Delete]),
    (Resource::UserSkill, &[Read, Create, Update, Delete]),
    (Resource::Organization, &[Read, Update, Delete]),
];

const TASK: &[Action] = &[Read, Create, Update, Delete];

/// A text that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid or unsupported API key scope: {name:?}")]
pub struct UnknownScope {
    name: String,
}

impl UnknownScope {
    /// The offending text, cut to 64 bytes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl ScopeName {
    /// Parses a name that a credential may ask for: an alias or a public name.
    ///
    /// # Errors
    /// Anything else, internal names included.
    pub fn parse_public(text: &str) -> Result<Self, UnknownScope> {
        text.parse::<Self>()
            .ok()
            .filter(|name| name.is_public())
            .ok_or_else(|| UnknownScope { name: stdx::cut(text, 64).to_owned() })
    }

    /// Whether a credential may ask for it.
    #[must_use]
    pub fn is_public(self) -> bool {
        match self {
            Self::All | Self::ApplicationConnect | Self::Composite(_) | Self::Task(_) => true,
            Self::NoUserData => false,
            Self::Low(resource, action) => PUBLIC_LOW.iter().any(|(listed, actions)| {
                *listed == resource && action.is_none_or(|action| actions.contains(&action))
            }),
        }
    }

    /// Every name, public and internal: the values of the stored enumeration.
    pub fn all() -> impl Iterator<Item = Self> {
        let low = Resource::ALL.into_iter().flat_map(|resource| {
            let actions = resource.actions().iter().map(Some);
            actions.chain([None]).map(move |action| Self::Low(resource, action))
        });
        let task = TASK.iter().copied().map(Some).chain([None]).map(Self::Task);
        [Self::All, Self::ApplicationConnect, Self::NoUserData]
            .into_iter()
            .chain(Composite::ALL.into_iter().map(Self::Composite))
            .chain(low)
            .chain(task)
    }

    /// What the name stands for, all of it deployment-wide and allowing.
    #[must_use]
    pub fn permissions(self) -> Vec<Permission> {
        match self {
            Self::All => vec![Permission::EVERYTHING],
            Self::ApplicationConnect => {
                vec![Permission::allow(Resource::Workspace, ApplicationConnect)]
            }
            Self::NoUserData => Resource::ALL
                .into_iter()
                .filter(|resource| *resource != Resource::User)
                .map(Permission::allow_all)
                .collect(),
            Self::Composite(composite) => composite
                .bundle()
                .iter()
                .flat_map(|(resource, actions)| {
                    actions.iter().map(|action| Permission::allow(*resource, *action))
                })
                .collect(),
            Self::Low(resource, action) => {
                vec![Permission { negate: false, resource: Some(resource), action }]
            }
            Self::Task(_) => Vec::new(),
        }
    }
}

/// Whether a credential may ask for this text, aliases included.
#[must_use]
pub fn is_public(text: &str) -> bool {
    ScopeName::parse_public(text).is_ok()
}

/// The canonical public names, sorted; aliases are not listed.
pub fn public_names() -> impl Iterator<Item = String> {
    let mut names: Vec<String> =
        ScopeName::all().filter(|name| name.is_public()).map(|name| name.to_string()).collect();
    names.sort_unstable();
    names.into_iter()
}

impl FromStr for ScopeName {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        let named = match text {
            "coder:all" | "all" => Some(Self::All),
            "coder:application_connect" | "application_connect" => Some(Self::ApplicationConnect),
            "no_user_data" => Some(Self::NoUserData),
            _ => Composite::ALL
                .into_iter()
                .find(|composite| composite.as_str() == text)
                .map(Self::Composite)
                .or_else(|| low(text)),
        };
        named.ok_or_else(|| UnknownScope { name: stdx::cut(text, 64).to_owned() })
    }
}

fn low(text: &str) -> Option<ScopeName> {
    let (resource, action) = text.split_once(':')?;
    let action: Option<Action> = match action {
        "*" => None,
        action => Some(action.parse().ok()?),
    };
    if resource == "task" {
        return action
            .is_none_or(|action| TASK.contains(&action))
            .then_some(ScopeName::Task(action));
    }
    let resource: Resource = resource.parse().ok()?;
    action
        .is_none_or(|action| resource.actions().contains(action))
        .then_some(ScopeName::Low(resource, action))
}

impl fmt::Display for ScopeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = |action: &Option<Action>| action.map_or("*", Action::as_str);
        match self {
            Self::All => f.write_str("coder:all"),
            Self::ApplicationConnect => f.write_str("coder:application_connect"),
            Self::NoUserData => f.write_str("no_user_data"),
            Self::Composite(composite) => f.write_str(composite.as_str()),
            Self::Low(resource, named) => write!(f, "{resource}:{}", action(named)),
            Self::Task(named) => write!(f, "task:{}", action(named)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_name_round_trips_and_grants_only_declared_things() {
        let mut seen = std::collections::HashSet::new();
        for name in ScopeName::all() {
            assert_eq!(name.to_string().parse(), Ok(name));
            assert!(seen.insert(name.to_string()), "{name} twice");
            for permission in name.permissions() {
                assert!(!permission.negate && permission.is_declared(), "{name}");
            }
        }
    }

    #[test]
    fn internal_unknown_and_malformed_names_cannot_be_asked_for() {
        for text in [
            "",
            "*",
            "*:*",
            "*:read",
            "no_user_data",
            "group:read",
            "workspace:share",
            "organization:create",
            "user:delete",
            "template:view_insights",
            "workspace:",
            ":read",
            "file:ssh",
            "task:ssh",
            "coder:workspaces",
            "ALL",
            " all",
        ] {
            assert!(!is_public(text), "{text:?}");
        }
        for text in [
            "all",
            "application_connect",
            "coder:all",
            "user:*",
            "task:*",
            "coder:templates.author",
            "user_skill:delete",
        ] {
            assert!(is_public(text), "{text:?}");
        }
    }

    #[test]
    fn the_public_list_is_sorted_canonical_and_complete() {
        let names: Vec<String> = public_names().collect();
        assert!(names.windows(2).all(|w| w[0] < w[1]));
        assert!(!names.contains(&"all".to_owned()));
        assert!(names.iter().all(|name| is_public(name)));
        // 2 special, 7 composite, 41 of living kinds, 5 of the retired one.
        assert_eq!(names.len(), 2 + 7 + 41 + 5);
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_without_panic(text in ".{0,60}") {
            if let Ok(name) = text.parse::<ScopeName>() {
                prop_assert_eq!(name.to_string().parse::<ScopeName>(), Ok(name));
            }
        }
    }
}
