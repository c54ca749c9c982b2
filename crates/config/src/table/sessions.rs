//! Sessions and tokens.

use std::time::Duration;

use super::options;
use crate::groups::HTTP;

options! {
    /// Sessions and tokens.
    Sessions at "sessions" {
        /// How long a browser, app or OAuth2 session lasts. It is extended by use.
        ///
        /// Also the lifetime of OAuth2 access tokens.
        duration: Duration = "24h" {
            name: "Session Duration", env: "CODER_SESSION_DURATION", flag: "session-duration",
            yaml: "sessionDuration", group: &HTTP, json: "session_lifetime.default_duration",
            range: Some((1, i128::MAX)),
        },
        /// Let sessions end at their time even if they are in use.
        disable_expiry_refresh: bool = "false" {
            name: "Disable Session Expiry Refresh", env: "CODER_DISABLE_SESSION_EXPIRY_REFRESH",
            flag: "disable-session-expiry-refresh", yaml: "disableSessionExpiryRefresh",
            group: &HTTP, json: "session_lifetime.disable_expiry_refresh",
        },
        /// Refuse logins by password, for everybody.
        disable_password_auth: bool = "false" {
            name: "Disable Password Authentication", env: "CODER_DISABLE_PASSWORD_AUTH",
            flag: "disable-password-auth", yaml: "disablePasswordAuth", group: &HTTP,
            json: "disable_password_auth",
        },
        /// Lifetime of a token whose creator does not ask for another.
        default_token_lifetime: Duration = "168h" {
            name: "Default Token Lifetime", env: "CODER_DEFAULT_TOKEN_LIFETIME",
            flag: "default-token-lifetime", yaml: "defaultTokenLifetime",
            json: "session_lifetime.default_token_lifetime", range: Some((1, i128::MAX)),
        },
        /// Longest lifetime that a user may ask for a token.
        max_token_lifetime: Duration = "876600h" {
            name: "Maximum Token Lifetime", env: "CODER_MAX_TOKEN_LIFETIME",
            flag: "max-token-lifetime", yaml: "maxTokenLifetime", group: &HTTP,
            json: "session_lifetime.max_token_lifetime", range: Some((1, i128::MAX)),
        },
        /// Longest lifetime that an owner may ask for a token.
        max_admin_token_lifetime: Duration = "168h" {
            name: "Maximum Admin Token Lifetime", env: "CODER_MAX_ADMIN_TOKEN_LIFETIME",
            flag: "max-admin-token-lifetime", yaml: "maxAdminTokenLifetime", group: &HTTP,
            json: "session_lifetime.max_admin_token_lifetime", range: Some((1, i128::MAX)),
        },
        /// Lifetime of OAuth2 refresh tokens. Must be longer than a session.
        default_oauth_refresh_lifetime: Duration = "720h" {
            name: "Default OAuth Refresh Lifetime", env: "CODER_DEFAULT_OAUTH_REFRESH_LIFETIME",
            flag: "default-oauth-refresh-lifetime", yaml: "defaultOAuthRefreshLifetime",
            json: "session_lifetime.refresh_default_duration",
        },
    }
}
