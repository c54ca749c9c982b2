//! Names of roles.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use stdx::ids::OrganizationId;

/// The name of a role, of the deployment or of one organization.
///
/// Text form `name` or `name:<organization uuid>`, on the wire and in storage.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName {
    name: Cow<'static, str>,
    org: Option<OrganizationId>,
}

impl RoleName {
    /// A role of the deployment. `name` has no colon; one with a colon names no role.
    #[must_use]
    pub fn site(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), org: None }
    }

    /// A role of one organization. `name` has no colon; one with a colon names no role.
    #[must_use]
    pub fn in_org(name: impl Into<Cow<'static, str>>, org: OrganizationId) -> Self {
        Self { name: name.into(), org: Some(org) }
    }

    /// The name without the organization.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The organization, `None` for a role of the deployment.
    #[must_use]
    pub const fn org(&self) -> Option<OrganizationId> {
        self.org
    }
}

/// Why a text is no role name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleNameError {
    /// Nothing before the colon.
    #[error("a role name must not be empty")]
    Empty,
    /// More than one colon.
    #[error("a role name has at most one colon: want <name> or <name>:<organization uuid>")]
    Colons,
    /// What follows the colon is no UUID, or the nil UUID.
    #[error("the organization of a role name must be a UUID other than nil")]
    Organization,
}

impl FromStr for RoleName {
    type Err = RoleNameError;

    fn from_str(text: &str) -> Result<Self, RoleNameError> {
        let (name, org) = match text.split_once(':') {
            None => (text, None),
            Some((_, rest)) if rest.contains(':') => return Err(RoleNameError::Colons),
            Some((name, org)) => {
                let org: OrganizationId = org.parse().map_err(|_| RoleNameError::Organization)?;
                if org.is_nil() {
                    return Err(RoleNameError::Organization);
                }
                (name, Some(org))
            }
        };
        if name.is_empty() {
            return Err(RoleNameError::Empty);
        }
        Ok(Self { name: Cow::Owned(name.to_owned()), org })
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.org {
            Some(org) => write!(f, ":{org}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoleName({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn malformed_names_are_refused() {
        let org = "7d6a1a05-0c3c-4c63-8d9b-3c9be0f0a001";
        for (text, error) in [
            ("", RoleNameError::Empty),
            (":7d6a1a05-0c3c-4c63-8d9b-3c9be0f0a001", RoleNameError::Empty),
            ("a:b:c", RoleNameError::Colons),
            ("a:", RoleNameError::Organization),
            ("a:b", RoleNameError::Organization),
            ("a:00000000-0000-0000-0000-000000000000", RoleNameError::Organization),
        ] {
            assert_eq!(text.parse::<RoleName>(), Err(error), "{text:?}");
        }
        assert_eq!("owner".parse(), Ok(RoleName::site("owner")));
        assert_eq!(format!("x:{org}").parse(), Ok(RoleName::in_org("x", org.parse().unwrap())));
    }

    proptest! {
        #[test]
        fn names_round_trip(name in "[^:]{1,20}", org in proptest::option::of(1_u128..)) {
            let org = org.map(|org| OrganizationId::new(uuid::Uuid::from_u128(org)));
            let role = match org {
                Some(org) => RoleName::in_org(name, org),
                None => RoleName::site(name),
            };
            prop_assert_eq!(role.to_string().parse(), Ok(role));
        }

        #[test]
        fn parsing_any_text_never_panics(text in ".{0,80}") {
            if let Ok(role) = text.parse::<RoleName>() {
                prop_assert!(!role.name().is_empty());
            }
        }
    }
}
