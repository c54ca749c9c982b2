//! Clients of the OAuth2 provider, their secrets, and what users consented to.

use stdx::ids::OrganizationId;
use store::oauth2_apps::{App, RegisteredApp};
use store::oauth2_grants::Grant;
use store::oauth2_secrets::AppSecret;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::diff::{Auditable, Field, Shown};

auditable! {
    App as "oauth2_provider_app" {
        id: |app| app.id.0.uuid(),
        target: |app| app.name.clone(),
        organization: |_| OrganizationId::nil(),
        track: [
            name => name, icon => icon, callback_url => callback_url, redirect_uris => redirect_uris,
            client_type => client_type, dynamically_registered => dynamically_registered,
            grant_types => grant_types, response_types => response_types,
            token_endpoint_auth_method => token_endpoint_auth_method, scope => scope,
            contacts => contacts, client_uri => client_uri, logo_uri => logo_uri,
            tos_uri => tos_uri, policy_uri => policy_uri, jwks_uri => jwks_uri,
            software_id => software_id, software_version => software_version,
        ],
        secret: [jwks => jwks.as_ref().map(ToString::to_string)],
        ignore: [
            id, created_at, updated_at, client_id_issued_at, client_secret_expires_at,
            registration_client_uri, registered_from_ip, last_used_at,
        ],
    }
}

/// A client whose token to manage its registration by may have changed.
impl Auditable for RegisteredApp {
    const RESOURCE_TYPE: &'static str = App::RESOURCE_TYPE;

    fn id(&self) -> Uuid {
        self.app.id()
    }

    fn target(&self) -> String {
        self.app.target()
    }

    fn organization(&self) -> OrganizationId {
        self.app.organization()
    }

    fn fields(&self) -> Vec<Field<'_>> {
        let Self { app, registration_access_token } = self;
        let hash = registration_access_token.as_ref().map(|hash| format!("{hash:?}").into());
        let mut fields = app.fields();
        fields.push(Field { name: "registration_access_token", shown: Shown::Secret(hash) });
        fields
    }
}

auditable! {
    AppSecret as "oauth2_provider_app_secret" {
        id: |secret| secret.id.0.uuid(),
        target: |secret| secret.display_secret.clone(),
        organization: |_| OrganizationId::nil(),
        // That there is one, or no longer, is all that there is to tell.
        track: [],
        secret: [],
        ignore: [id, created_at, last_used_at, display_secret, app_id],
    }
}

auditable! {
    Grant as "oauth2_grant" {
        id: |grant| grant.id.0.uuid(),
        // The full identifier of the client: its name is not its own.
        target: |grant| grant.app_id.0.to_string(),
        organization: |_| OrganizationId::nil(),
        track: [
            id => id.0, app_id => app_id.0, user_id => user_id.0, scope => scope,
            audience => audience,
            revoked_at => revoked_at.map(OffsetDateTime::unix_timestamp),
            revoke_reason => revoke_reason,
        ],
        secret: [],
        ignore: [created_at, last_used_at],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stdx::ids::{Oauth2AppId, Oauth2GrantId, Oauth2SecretId, UserId};
    use store::Pk;

    use super::*;
    use crate::diff::diff;

    fn grant() -> Grant {
        Grant {
            id: Pk(Oauth2GrantId::new(Uuid::from_u128(1))),
            app_id: Pk(Oauth2AppId::new(Uuid::from_u128(2))),
            user_id: Pk(UserId::new(Uuid::from_u128(3))),
            scope: "coder:all".to_owned(),
            audience: Vec::new(),
            created_at: OffsetDateTime::UNIX_EPOCH,
            last_used_at: None,
            revoked_at: None,
            revoke_reason: None,
        }
    }

    #[test]
    fn when_and_why_a_grant_ended_is_told_and_its_use_is_not() {
        let used = Grant { last_used_at: Some(OffsetDateTime::UNIX_EPOCH), ..grant() };
        assert!(diff(Some(&grant()), Some(&used)).is_empty());
        let revoked_at = Some(OffsetDateTime::UNIX_EPOCH + time::Duration::DAY);
        let revoked = Grant { revoked_at, revoke_reason: Some("reuse".to_owned()), ..grant() };
        let shown = |old, new| json!({ "old": old, "new": new, "secret": false });
        let wanted = json!({
            "revoked_at": shown(json!(0), json!(86_400)),
            "revoke_reason": shown(json!(""), json!("reuse")),
        });
        assert_eq!(json!(diff(Some(&grant()), Some(&revoked))), wanted);
        let told = diff(None, Some(&grant()));
        for name in ["id", "app_id", "user_id", "scope"] {
            assert!(told.contains_key(name), "{name}");
        }
        assert_eq!(
            (grant().id(), grant().target()),
            (Uuid::from_u128(1), grant().app_id.0.to_string())
        );
    }

    #[test]
    fn of_a_secret_nothing_is_told_but_that_it_is_there() {
        let secret = AppSecret {
            id: Pk(Oauth2SecretId::new(Uuid::from_u128(1))),
            created_at: OffsetDateTime::UNIX_EPOCH,
            last_used_at: None,
            display_secret: "*****wxyz".to_owned(),
            app_id: Pk(Oauth2AppId::new(Uuid::from_u128(2))),
        };
        assert!(diff(None, Some(&secret)).is_empty());
        assert_eq!(secret.target(), "*****wxyz");
    }
}
