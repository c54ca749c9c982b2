//! The built-in roles and the catalog that resolves their names.

mod cell;
mod membership;
mod org;
mod site;

use std::borrow::Cow;
use std::sync::Arc;

use crate::assign;
use crate::role::{Role, RoleTable};
use crate::role_name::RoleName;
use cell::Cell;
use stdx::ids::OrganizationId;

pub(crate) use membership::MembershipKind;
pub use membership::Sharing;
pub(crate) use org::OrgRole;
pub(crate) use site::SiteRole;

/// Deployment switches that change built-in roles. The default is everything allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RoleOptions {
    /// Owners lose ssh and `application_connect` on workspaces (`--disable-owner-workspace-access`).
    pub disable_owner_workspace_access: bool,
    /// Nobody shares a workspace, owners included (`--disable-workspace-sharing`).
    pub disable_workspace_sharing: bool,
    /// Nobody shares a chat or chat project, owners included.
    pub disable_chat_sharing: bool,
}

/// The roles that an organization gives to all its members unless it says otherwise.
pub const DEFAULT_ORG_MEMBER_ROLES: &[&str] = &["organization-workspace-access"];

/// Names that once were roles: they resolve to nothing and cannot be taken.
pub const RETIRED_ROLES: &[&str] = &["agents-access"];

/// Stands for every custom role of the deployment in the assignment table.
pub const CUSTOM_SITE_ROLE: &str = "custom-site-role";

/// Stands for every custom role of an organization in the assignment table.
pub const CUSTOM_ORG_ROLE: &str = "custom-organization-role";

/// Whether a custom role may not have this name, in whatever case: storage compares names without it.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.as_str();
    is_built_in(name)
        || RETIRED_ROLES.contains(&name)
        || [CUSTOM_SITE_ROLE, CUSTOM_ORG_ROLE].contains(&name)
        || assign::is_assigner(name)
}

pub(crate) fn is_retired(name: &str) -> bool {
    RETIRED_ROLES.contains(&name)
}

/// Whether the name belongs to a built-in or implied role.
#[must_use]
pub fn is_built_in(name: &str) -> bool {
    SiteRole::named(name).is_some()
        || OrgRole::named(name).is_some()
        || MembershipKind::named(name).is_some()
}

/// The built-in roles under one set of [`RoleOptions`].
///
/// A value owned by whoever builds subjects: several deployments in one process, and tests, do not
/// share it. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Catalog {
    options: RoleOptions,
    site: Arc<[(SiteRole, Arc<RoleTable>)]>,
    org: Arc<[(OrgRole, Arc<RoleTable>)]>,
    membership: Arc<[(MembershipKind, Sharing, Arc<RoleTable>)]>,
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new(RoleOptions::default())
    }
}

impl Catalog {
    /// Compiles the built-in roles.
    #[must_use]
    pub fn new(options: RoleOptions) -> Self {
        Self {
            options,
            site: SiteRole::ALL
                .into_iter()
                .map(|role| (role, Cell::table(|r| role.cell(r, options))))
                .collect(),
            org: OrgRole::ALL
                .into_iter()
                .map(|role| (role, Cell::table(|r| role.cell(r))))
                .collect(),
            membership: MembershipKind::ALL
                .into_iter()
                .flat_map(|kind| Sharing::ALL.map(|sharing| (kind, sharing)))
                .map(|(kind, sharing)| (kind, sharing, Cell::table(|r| kind.cell(r, sharing))))
                .collect(),
        }
    }

    /// The switches that this catalog was compiled with.
    #[must_use]
    pub const fn options(&self) -> RoleOptions {
        self.options
    }

    /// The built-in role of this name. None for custom and retired names, for a deployment role named
    /// with an organization, for an organization role named without, and for the implied
    /// membership roles (see [`Self::membership`]).
    #[must_use]
    pub fn built_in(&self, name: &RoleName) -> Option<Role> {
        let (name, display_name, table) = match name.org() {
            None => {
                let role = SiteRole::named(name.name())?;
                let (_, table) = self.site.iter().find(|(listed, _)| *listed == role)?;
                (RoleName::site(role.as_str()), role.display_name(), table)
            }
            Some(org) => {
                let role = OrgRole::named(name.name())?;
                let (_, table) = self.org.iter().find(|(listed, _)| *listed == role)?;
                (RoleName::in_org(role.as_str(), org), role.display_name(), table)
            }
        };
        Some(Role::from_table(name, Cow::Borrowed(display_name), Arc::clone(table)))
    }

    /// The role that a membership implies: `organization-member`, or `organization-service-account`
    /// for a service account, by the organization's sharing mode.
    ///
    /// Its permissions are also what is stored with the organization for older readers.
    #[must_use]
    pub fn membership(&self, org: OrganizationId, sharing: Sharing, service_account: bool) -> Role {
        let kind =
            if service_account { MembershipKind::ServiceAccount } else { MembershipKind::Member };
        let table = self
            .membership
            .iter()
            .find(|(listed, mode, _)| (*listed, *mode) == (kind, sharing))
            .map_or_else(
                || Cell::table(|resource| kind.cell(resource, sharing)),
                |(_, _, table)| Arc::clone(table),
            );
        Role::from_table(RoleName::in_org(kind.as_str(), org), Cow::Borrowed(""), table)
    }

    /// Every built-in role of the deployment, in the order of the documentation.
    pub fn site_roles(&self) -> impl Iterator<Item = Role> {
        self.site.iter().map(|(role, table)| {
            Role::from_table(
                RoleName::site(role.as_str()),
                Cow::Borrowed(role.display_name()),
                Arc::clone(table),
            )
        })
    }

    /// Every built-in role of an organization but the implied ones, in the order of the documentation.
    pub fn org_roles(&self, org: OrganizationId) -> impl Iterator<Item = Role> {
        self.org.iter().map(move |(role, table)| {
            Role::from_table(
                RoleName::in_org(role.as_str(), org),
                Cow::Borrowed(role.display_name()),
                Arc::clone(table),
            )
        })
    }
}
