//! Custom roles, ready for decisions.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use moka::sync::Cache;
use rbac::{Catalog, Role, RoleName, system};
use stdx::ids::OrganizationId;
use store::custom_roles::{CustomRole, ListCustomRoles};
use store::users::Membership;
use store::{Call, Error, Full, Store as _};

/// Most organizations whose roles are kept.
const ORGANIZATIONS_MAX: u64 = 4_096;

/// The roles that people wrote for one organization, by name.
pub(crate) type OrgRoles = HashMap<String, Role>;

/// Expands the names of custom roles, and remembers what they expand to.
///
/// What is remembered goes with a revision of the organization's roles, which the database counts up with each
/// change and which is read together with the memberships. So an expansion that is out of date is never used, by
/// no process of the deployment, whether or not it has heard of the change.
#[derive(Clone)]
pub(crate) struct Roles(Cache<OrganizationId, (i64, Arc<OrgRoles>)>);

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roles").field("organizations", &self.0.entry_count()).finish()
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self(Cache::new(ORGANIZATIONS_MAX))
    }
}

impl Roles {
    /// The custom roles of those organizations in which the user holds any; most users hold none, and for them
    /// nothing is asked.
    pub(crate) async fn expand(
        &self,
        store: &Full,
        catalog: &Catalog,
        memberships: &[Membership],
    ) -> Result<HashMap<OrganizationId, Arc<OrgRoles>>, Error> {
        let mut expanded = HashMap::new();
        for membership in memberships {
            let organization = membership.organization;
            let custom = |name: &String| {
                let name = RoleName::in_org(name.clone(), organization);
                catalog.built_in(&name).is_none() && !rbac::RETIRED_ROLES.contains(&name.name())
            };
            if membership.roles.iter().chain(&membership.default_roles).any(custom) {
                let roles = self.of(store, organization, membership.roles_revision).await?;
                expanded.insert(organization, roles);
            }
        }
        Ok(expanded)
    }

    async fn of(
        &self,
        store: &Full,
        organization: OrganizationId,
        revision: i64,
    ) -> Result<Arc<OrgRoles>, Error> {
        if let Some((known, roles)) = self.0.get(&organization)
            && known == revision
        {
            return Ok(roles);
        }
        // Read after the revision was: what comes may be newer, and is then read once more, but never older.
        let by = Call::by(system::authenticator());
        let rows = store.run(by, ListCustomRoles { organization_id: organization }).await?;
        let roles = Arc::new(rows.iter().filter_map(compile).collect::<OrgRoles>());
        self.0.insert(organization, (revision, Arc::clone(&roles)));
        Ok(roles)
    }
}

fn compile(row: &CustomRole) -> Option<(String, Role)> {
    let organization = row.organization_id.0;
    match row.role() {
        Ok((role, unknown)) => {
            for error in unknown {
                tracing::warn!(role = %row.name, organization_id = %organization, %error, "a permission of a role grants nothing");
            }
            Some((row.name.clone(), role))
        }
        Err(error) => {
            tracing::warn!(role = %row.name, organization_id = %organization, %error, "a role grants nothing");
            None
        }
    }
}
