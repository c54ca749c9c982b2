//! Every column that holds sealed values. The one list that sealing, rotation, decryption, deletion and the checks
//! of a key's references go by; a test compares it with the catalogue.

use crate::Constraint;

/// A column of the SQL domain `sealed_text`, and the column beside it with the digest of the key that sealed it.
///
/// Table and column are part of the authenticated data of a value, and so is the id of its row: a ciphertext that is
/// moved to another row or column does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedColumn {
    /// Table. Its primary key is `id uuid`.
    pub table: &'static str,
    /// Value column.
    pub column: &'static str,
    /// Column of the key's digest. NULL: the value is not encrypted.
    pub key_id: &'static str,
    /// Foreign key of that column.
    pub(crate) fk: Constraint,
    /// Whether an empty text says that there is no value. It is stored as it is.
    pub blank_is_none: bool,
    /// What is left of a row whose value is lost with its key.
    pub loss: Loss,
}

/// What is left of a row whose value is lost with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing: without the value the row means nothing.
    Row,
    /// The row, with NULL for the value.
    Null,
    /// The row, with an empty value.
    Blank,
}

macro_rules! columns {
    ($($name:ident = $table:literal . $column:literal by $key_id:literal under $fk:ident, $loss:ident, $blank:literal;)*) => {
        $(
            #[doc = concat!("`", $table, ".", $column, "`")]
            pub const $name: SealedColumn = SealedColumn {
                table: $table,
                column: $column,
                key_id: $key_id,
                fk: Constraint::$fk,
                blank_is_none: $blank,
                loss: Loss::$loss,
            };
        )*

        /// All of them, by table.
        pub const ALL: &[SealedColumn] = &[$($name),*];
    };
}

columns! {
    PROVIDER_KEY = "ai_provider_keys"."api_key" by "api_key_key_id" under AiProviderKeysKeyFk, Row, true;
    PROVIDER_SETTINGS = "ai_providers"."settings" by "settings_key_id" under AiProvidersSettingsKeyFk, Null, true;
    AUDIT_SIGNING_KEY = "audit_signing_keys"."private_key" by "private_key_key_id"
        under AuditSigningKeysPrivateKeyFk, Null, false;
    CRYPTO_KEY = "crypto_keys"."secret" by "secret_key_id" under CryptoKeysSecretFk, Null, false;
    EXTERNAL_ACCESS_TOKEN = "external_auth_links"."oauth_access_token" by "oauth_access_token_key_id"
        under ExternalAuthLinksAccessTokenFk, Row, false;
    EXTERNAL_REFRESH_TOKEN = "external_auth_links"."oauth_refresh_token" by "oauth_refresh_token_key_id"
        under ExternalAuthLinksRefreshTokenFk, Row, false;
    GIT_SSH_KEY = "gitsshkeys"."private_key" by "private_key_key_id" under GitsshkeysPrivateKeyKeyIdFkey, Row, false;
    MCP_API_KEY = "mcp_server_configs"."api_key_value" by "api_key_value_key_id"
        under McpServerConfigsApiKeyFk, Blank, true;
    MCP_HEADERS = "mcp_server_configs"."custom_headers" by "custom_headers_key_id"
        under McpServerConfigsHeadersFk, Blank, true;
    MCP_CLIENT_SECRET = "mcp_server_configs"."oauth2_client_secret" by "oauth2_client_secret_key_id"
        under McpServerConfigsClientSecretFk, Blank, true;
    MCP_ACCESS_TOKEN = "mcp_server_user_tokens"."access_token" by "access_token_key_id"
        under McpServerUserTokensAccessFk, Row, true;
    MCP_REFRESH_TOKEN = "mcp_server_user_tokens"."refresh_token" by "refresh_token_key_id"
        under McpServerUserTokensRefreshFk, Row, true;
    OWN_PROVIDER_KEY = "user_ai_provider_keys"."api_key" by "api_key_key_id" under UserAiProviderKeysKeyFk, Row, false;
    LINK_ACCESS_TOKEN = "user_links"."oauth_access_token" by "oauth_access_token_key_id"
        under UserLinksOauthAccessTokenFk, Row, false;
    LINK_REFRESH_TOKEN = "user_links"."oauth_refresh_token" by "oauth_refresh_token_key_id"
        under UserLinksOauthRefreshTokenFk, Row, false;
    USER_SECRET = "user_secrets"."value" by "value_key_id" under UserSecretsValueFk, Row, false;
}

/// Whether a foreign key is one that keeps a key from being retired as long as values are sealed by it.
pub(crate) fn is_key_reference(constraint: Constraint) -> bool {
    ALL.iter().any(|column| column.fk == constraint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_order_and_named_once() {
        let names: Vec<_> = ALL.iter().map(|column| (column.table, column.column)).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn only_references_to_keys_are_some() {
        assert!(is_key_reference(Constraint::AiProviderKeysKeyFk));
        assert!(!is_key_reference(Constraint::AiProviderKeysProviderFk));
        assert!(!is_key_reference(Constraint::Unknown));
    }
}
