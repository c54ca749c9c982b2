//! Encryption at rest, experiments and other switches.

use stdx::Secret;

use super::options;
use crate::check;
use crate::groups::HTTP;

options! {
    /// Encryption at rest, experiments and other switches.
    Security at "security" {
        /// Keys that seal secrets in the database: base64 of exactly 32 bytes each, comma-separated.
        ///
        /// The first seals; the others only open what they sealed earlier.
        external_token_encryption_keys: Vec<Secret<String>> = "" {
            name: "External Token Encryption Keys", env: "CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS",
            flag: "external-token-encryption-keys", json: "external_token_encryption_keys",
            check: Some(check::encryption_keys),
        },
        /// Directives that are added to the content security policy, such as `script-src https://x`.
        additional_csp_policy: Vec<String> = "" {
            name: "Additional CSP Policy", env: "CODER_ADDITIONAL_CSP_POLICY",
            flag: "additional-csp-policy", yaml: "additionalCSPPolicy", group: &HTTP,
            json: "additional_csp_policy", check: Some(check::csp_directives),
        },
        /// Names of experiments to switch on. Unknown names are dropped with a warning.
        experiments: Vec<String> = "" {
            name: "Experiments", env: "CODER_EXPERIMENTS", flag: "experiments",
            yaml: "experiments", json: "experiments",
        },
        /// Serve the description of the API under `/swagger`.
        swagger_enable: bool = "false" {
            name: "Enable Swagger Endpoint", env: "CODER_SWAGGER_ENABLE", flag: "swagger-enable",
            yaml: "enableSwagger", json: "swagger.enable",
        },
        /// For development: answer requests that have the header `x-authz-checks: true` with the decisions that
        /// were taken for them. They may name objects that the caller cannot see.
        record_authz_checks: bool = "false" {
            name: "Record Authorization Checks", env: "CODER_DANGEROUS_RECORD_AUTHZ_CHECKS",
            flag: "dangerous-record-authz-checks", json: "dangerous.record_authz_checks", hidden: true,
        },
        /// Take from owners what reaches into the workspaces of others: SSH and applications.
        disable_owner_workspace_access: bool = "false" {
            name: "Disable Owner Workspace Access", env: "CODER_DISABLE_OWNER_WORKSPACE_ACCESS",
            flag: "disable-owner-workspace-access", yaml: "disableOwnerWorkspaceAccess",
            json: "disable_owner_workspace_exec",
        },
        /// Let nobody share workspaces, whatever the organizations say.
        disable_workspace_sharing: bool = "false" {
            name: "Disable Workspace Sharing", env: "CODER_DISABLE_WORKSPACE_SHARING",
            flag: "disable-workspace-sharing", yaml: "disableWorkspaceSharing",
            json: "disable_workspace_sharing",
        },
        /// Let nobody share chats.
        disable_chat_sharing: bool = "false" {
            name: "Disable Chat Sharing", env: "CODER_DISABLE_CHAT_SHARING",
            flag: "disable-chat-sharing", yaml: "disableChatSharing",
            json: "disable_chat_sharing",
        },
        /// API requests per minute and user (or address, if nobody is logged in). Negative: no limit.
        api_rate_limit: i64 = "512" {
            name: "API Rate Limit", env: "CODER_API_RATE_LIMIT", flag: "api-rate-limit",
            json: "rate_limit.api", hidden: true,
        },
        /// Switch all rate limits off: API, logins, files.
        disable_rate_limits: bool = "false" {
            name: "Disable All Rate Limits", env: "CODER_DANGEROUS_DISABLE_RATE_LIMITS",
            flag: "dangerous-disable-rate-limits", json: "rate_limit.disable_all", hidden: true,
        },
    }
}
