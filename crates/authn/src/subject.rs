use std::collections::HashMap;
use std::sync::Arc;

use rbac::{AllowList, Catalog, RoleName, Scope, Sharing, Subject, SubjectBuilder};
use stdx::ids::OrganizationId;
use store::api_keys::ApiKey;
use store::users::Authorization;

use crate::roles::OrgRoles;

/// Why rows of the database make no subject.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The key has no scopes, or its roles do not compile.
    #[error("roles or scopes do not compile")]
    Compile(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn compile_error(source: impl std::error::Error + Send + Sync + 'static) -> SubjectError {
    SubjectError::Compile(Box::new(source))
}

/// The subject of a user who presents `key`.
///
/// A role that no longer exists grants nothing and is logged; an unknown scope likewise. An allow list that
/// cannot be read allows nothing.
pub(crate) fn compile(
    catalog: &Catalog,
    authorization: &Authorization,
    custom: &HashMap<OrganizationId, Arc<OrgRoles>>,
    key: &ApiKey,
) -> Result<Arc<Subject>, SubjectError> {
    let user = &authorization.user;
    let known = |name: RoleName| {
        let built_in = catalog.built_in(&name).is_some();
        if !built_in {
            tracing::warn!(user_id = %user.id.0, role = %name, "unknown role is ignored");
        }
        built_in.then_some(name)
    };
    let mut builder = SubjectBuilder::user(user.id.0)
        .name(user.username.clone())
        .email(user.email.clone())
        .site_role("member");
    for name in &user.rbac_roles {
        if let Some(name) = known(RoleName::site(name.clone())) {
            builder = builder.role_name(name);
        }
    }
    for membership in &authorization.memberships {
        let sharing = membership.shareable_workspace_owners.parse().unwrap_or(Sharing::None);
        builder = builder.membership(membership.organization, sharing, user.is_service_account);
        let custom = custom.get(&membership.organization);
        for name in membership.roles.iter().chain(&membership.default_roles) {
            if let Some(role) = custom.and_then(|roles| roles.get(name)) {
                builder = builder.role(role.clone());
            } else if let Some(name) =
                known(RoleName::in_org(name.clone(), membership.organization))
            {
                builder = builder.role_name(name);
            }
        }
    }
    let (scope, unknown) = Scope::from_stored(&key.scopes).map_err(compile_error)?;
    for name in unknown {
        tracing::warn!(api_key_id = %key.id, scope = %name, "unknown scope grants nothing");
    }
    let allow_list = AllowList::parse(&key.allow_list).unwrap_or_else(|error| {
        tracing::warn!(api_key_id = %key.id, %error, "unreadable allow list allows nothing");
        AllowList::nothing()
    });
    builder
        .groups(authorization.groups.iter().copied())
        .scope(scope.narrowed_to(&allow_list))
        .compile(catalog)
        .map(Arc::new)
        .map_err(compile_error)
}
