//! Objects as they arrive from outside, in text.

use stdx::ids::{OrganizationId, UserId};
use uuid::Uuid;

use super::Object;
use crate::UnknownName;
use crate::resource::Resource;

/// An object in text, as questions from outside describe it. Empty texts stand for what is unknown or
/// does not apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RawObject<'a> {
    /// The kind; required.
    pub resource_type: &'a str,
    /// Which one.
    pub id: &'a str,
    /// Whose. `*` is nobody: it asks "for any member".
    pub owner: &'a str,
    /// Where.
    pub org: &'a str,
    /// In any of the subject's organizations; excludes `org`.
    pub any_org: bool,
}

/// Why texts describe no object. Never a denial, never an allowance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// No kind.
    #[error("resource type must be given")]
    NoType,
    /// A kind that does not exist.
    #[error(transparent)]
    Type(#[from] UnknownName),
    /// An id that is no UUID, of a kind that has such ids.
    #[error("{field} must be a UUID: {value:?}")]
    Id {
        /// `resource id`, `owner id` or `organization id`.
        field: &'static str,
        /// The text, cut to 64 bytes.
        value: String,
    },
    /// Both one organization and any.
    #[error(
        "an object is in one organization or in any, not both: organization id {org} and any_org"
    )]
    BothOrganizations {
        /// The organization that was named.
        org: OrganizationId,
    },
}

impl Resource {
    /// Whether ids of this kind are UUIDs. API keys and licences have others, so that allow lists name
    /// them by wildcard only.
    #[must_use]
    pub const fn has_uuids(self) -> bool {
        !matches!(self, Self::ApiKey | Self::License)
    }
}

impl RawObject<'_> {
    /// Reads the object.
    ///
    /// # Errors
    /// See [`ObjectError`]; nothing is guessed or dropped.
    pub fn parse(&self) -> Result<Object<'static>, ObjectError> {
        if self.resource_type.is_empty() {
            return Err(ObjectError::NoType);
        }
        let resource: Resource = self.resource_type.parse()?;
        let mut object = Object::new(resource);
        if !self.id.is_empty() {
            match Uuid::parse_str(self.id) {
                Ok(id) => object = object.id(id),
                Err(_) if !resource.has_uuids() => {}
                Err(_) => return Err(bad("resource id", self.id)),
            }
        }
        if !matches!(self.owner, "" | "*") {
            let owner = Uuid::parse_str(self.owner).map_err(|_| bad("owner id", self.owner))?;
            object = object.owner(UserId::new(owner));
        }
        if !self.org.is_empty() {
            let org = Uuid::parse_str(self.org).map_err(|_| bad("organization id", self.org))?;
            let org = OrganizationId::new(org);
            // Clients say "none" with the nil id.
            if self.any_org && !org.is_nil() {
                return Err(ObjectError::BothOrganizations { org });
            }
            object = object.in_org(org);
        }
        Ok(if self.any_org { object.any_org() } else { object })
    }
}

fn bad(field: &'static str, value: &str) -> ObjectError {
    ObjectError::Id { field, value: stdx::cut(value, 64).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0a000000-0000-4000-8000-000000000001";
    const NIL: &str = "00000000-0000-0000-0000-000000000000";

    fn raw(resource_type: &'static str) -> RawObject<'static> {
        RawObject { resource_type, ..RawObject::default() }
    }

    #[test]
    fn bad_texts_are_errors_that_name_the_field() {
        for (raw, error) in [
            (raw(""), "resource type must be given"),
            (raw("*"), r#"unknown resource type "*""#),
            (raw("Workspace"), r#"unknown resource type "Workspace""#),
            (raw("task"), r#"unknown resource type "task""#),
            (RawObject { id: "w1", ..raw("workspace") }, r#"resource id must be a UUID: "w1""#),
            (RawObject { owner: "me", ..raw("user") }, r#"owner id must be a UUID: "me""#),
            (RawObject { owner: "**", ..raw("user") }, r#"owner id must be a UUID: "**""#),
            (
                RawObject { org: "default", ..raw("user") },
                r#"organization id must be a UUID: "default""#,
            ),
            (
                RawObject { org: A, any_org: true, ..raw("user") },
                "an object is in one organization or in any, not both: \
                 organization id 0a000000-0000-4000-8000-000000000001 and any_org",
            ),
        ] {
            assert_eq!(raw.parse().unwrap_err().to_string(), error, "{raw:?}");
        }
    }

    #[test]
    fn texts_become_the_object_that_they_describe() {
        let id = Uuid::parse_str(A).unwrap();
        let (owner, org) = (UserId::new(id), OrganizationId::new(id));
        let workspace = Object::new(Resource::Workspace);
        for (raw, object) in [
            (raw("workspace"), workspace),
            (RawObject { id: A, ..raw("workspace") }, workspace.id(id)),
            (RawObject { owner: A, ..raw("workspace") }, workspace.owner(owner)),
            (RawObject { owner: "*", ..raw("workspace") }, workspace),
            (RawObject { owner: NIL, ..raw("workspace") }, workspace),
            (RawObject { org: A, ..raw("workspace") }, workspace.in_org(org)),
            (RawObject { org: NIL, ..raw("workspace") }, workspace.in_org(OrganizationId::nil())),
            (RawObject { any_org: true, ..raw("workspace") }, workspace.any_org()),
            (RawObject { org: NIL, any_org: true, ..raw("workspace") }, workspace.any_org()),
            (RawObject { id: "x7Hq2kP0aB", ..raw("api_key") }, Object::new(Resource::ApiKey)),
            (RawObject { id: "3", ..raw("license") }, Object::new(Resource::License)),
        ] {
            assert_eq!(raw.parse(), Ok(object), "{raw:?}");
        }
    }
}
