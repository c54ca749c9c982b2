//! Kinds of actors.

use std::fmt;
use std::str::FromStr;

use crate::UnknownName;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What kind of actor a subject is. For logs and metrics; no permission depends on it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum SubjectKind {
            $($(#[$doc])* $name,)*
        }

        impl SubjectKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in logs and metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }

        impl FromStr for SubjectKind {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text {
                    $($text => Ok(Self::$name),)*
                    _ => Err(UnknownName::new("subject kind", text)),
                }
            }
        }
    };
}

kinds! {
    /// A person or service account behind a credential.
    User = "user";
    /// A provisioner daemon.
    Provisionerd = "provisionerd";
    /// Starts and stops workspaces on schedule.
    Autostart = "autostart";
    /// Ends jobs that hang.
    JobReaper = "job_reaper";
    /// Watches resources of workspaces.
    ResourceMonitor = "resource_monitor";
    /// Rotates signing keys.
    CryptoKeyRotator = "crypto_key_rotator";
    /// Reads signing keys.
    CryptoKeyReader = "crypto_key_reader";
    /// Keeps unclaimed workspaces ready.
    PrebuildsOrchestrator = "prebuilds_orchestrator";
    /// Looks up provisioner daemons.
    SystemReadProvisionerDaemons = "system_read_provisioner_daemons";
    /// The broad internal actor of last resort.
    SystemRestricted = "system_restricted";
    /// Sends notifications.
    Notifier = "notifier";
    /// Writes the log of connections.
    ConnectionLogger = "connection_logger";
    /// Manages agents inside a workspace.
    SubAgentApi = "sub_agent_api";
    /// Revokes one user's keys.
    ApiKeyRevoker = "api_key_revoker";
    /// Makes keys for a user's chats.
    ChatdKeyMinter = "chatd_key_minter";
    /// Refreshes tokens of a user's chats.
    ChatdTokenOwner = "chatd_token_owner";
    /// The OAuth2 provider.
    SystemOauth = "system_oauth";
    /// Reads files.
    FileReader = "file_reader";
    /// Publishes usage.
    UsagePublisher = "usage_publisher";
    /// The AI gateway.
    Aibridged = "aibridged";
    /// Removes old rows.
    DbPurge = "dbpurge";
    /// Counts use of the network boundary.
    BoundaryUsageTracker = "boundary_usage_tracker";
    /// Builds workspaces.
    WorkspaceBuilder = "workspace_builder";
    /// Runs chats.
    Chatd = "chatd";
    /// Learns which hosts AI providers have.
    AiProviderMetadataReader = "ai_provider_metadata_reader";
    /// Creates users for an identity provider.
    ScimProvisioner = "scim_provisioner";
    /// Refreshes external authentication links.
    ExternalAuthCoordinator = "external_auth_coordinator";
    /// Writes the AI providers named in the configuration.
    AiProviderSeeder = "ai_provider_seeder";
    /// Turns credentials into subjects.
    Authenticator = "authenticator";
    /// Creates the first user.
    Bootstrap = "bootstrap";
    /// Writes the audit log.
    Auditor = "auditor";
    /// Brings stored roles of memberships up to date.
    RoleReconciler = "role_reconciler";
}

impl fmt::Display for SubjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_round_trip_and_differ() {
        for kind in SubjectKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        let error = "root".parse::<SubjectKind>().unwrap_err();
        assert_eq!(error.to_string(), r#"unknown subject kind "root""#);
    }
}
