//! Typed identifiers: passing a user's id where a group's is due does not compile.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What all identifiers have in common: they wrap a UUID. Lets storage handle them generically.
pub trait Id: Copy + Send + Sync + fmt::Debug + 'static {
    /// Wraps a UUID.
    fn from_uuid(id: Uuid) -> Self;
    /// The bare UUID.
    fn to_uuid(self) -> Uuid;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that is known to identify this kind of object.
            #[must_use]
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// The nil identifier; names nothing, used on the wire for "none".
            #[must_use]
            pub const fn nil() -> Self {
                Self(Uuid::nil())
            }

            /// The bare UUID, for wire and storage.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// Whether this is [`Self::nil`].
            #[must_use]
            pub const fn is_nil(self) -> bool {
                self.0.is_nil()
            }
        }

        impl Id for $name {
            fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            fn to_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )*};
}

ids! {
    /// A person, service account or system user.
    UserId;
    /// An organization.
    OrganizationId;
    /// A group of users in one organization. The group of everyone has the organization's id.
    GroupId;
    /// A configured AI provider.
    ProviderId;
    /// One stored credential of an AI provider.
    ProviderKeyId;
    /// One recorded request/response pair of the AI gateway.
    InterceptionId;
    /// One fact recorded about an interception.
    FactId;
    /// One row of the audit log.
    AuditId;
    /// One HTTP request.
    RequestId;
    /// One key by which gateway daemons identify themselves.
    GatewayKeyId;
    /// A role that people wrote, or one that memberships imply as it is stored.
    CustomRoleId;
    /// A secret that a user puts into workspaces.
    UserSecretId;
    /// Instructions that a user keeps for agents.
    UserSkillId;
    /// One key by which provisioner daemons identify themselves.
    ProvisionerKeyId;
    /// A provisioner daemon that was seen.
    ProvisionerDaemonId;
    /// A server of this deployment.
    ReplicaId;
    /// A conversation with an agent.
    ChatId;
    /// A model that chats may use.
    ChatModelId;
    /// An MCP server that the deployment offers to its agents.
    McpServerId;
    /// One row of the log of connections.
    ConnectionLogId;
    /// A workspace.
    WorkspaceId;
    /// What workspaces are made from.
    TemplateId;
    /// One version of a template.
    TemplateVersionId;
    /// A start, stop or deletion of a workspace.
    WorkspaceBuildId;
    /// An agent that runs in a workspace, or an agent of that agent.
    WorkspaceAgentId;
    /// What an agent was told to do in a workspace of its own.
    TaskId;
    /// An OAuth2 client; what the protocol calls `client_id`.
    Oauth2AppId;
    /// One secret of an OAuth2 client.
    Oauth2SecretId;
    /// What a user consented to: the family of the codes and tokens that were issued under it.
    Oauth2GrantId;
    /// One OAuth2 authorization code.
    Oauth2CodeId;
    /// One OAuth2 refresh token.
    Oauth2TokenId;
}
