//! What is acted upon.

mod raw;

use stdx::ids::{OrganizationId, UserId};
use uuid::Uuid;

use crate::acl::Acl;
use crate::resource::Resource;

pub use raw::{ObjectError, RawObject};

/// What is acted upon: a kind of thing and, as far as known, which one, whose and where.
///
/// A small `Copy` value; the access control list is borrowed from the row. "In organization A" and
/// "in any of my organizations" are one field, so a contradictory question cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<'a> {
    pub(crate) resource: Resource,
    pub(crate) id: Option<Uuid>,
    pub(crate) owner: Option<UserId>,
    pub(crate) place: Place,
    pub(crate) acl: Option<&'a Acl>,
}

/// Where an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Outside,
    In(OrganizationId),
    Anywhere,
}

impl<'a> Object<'a> {
    /// A thing of this kind outside organizations, without id, owner and access control list.
    #[must_use]
    pub const fn new(resource: Resource) -> Self {
        Self { resource, id: None, owner: None, place: Place::Outside, acl: None }
    }

    /// Names the one object. Only allow lists of scopes look at it; kinds whose ids are no UUIDs
    /// (API keys, licences) leave it out and are listed by wildcard only.
    #[must_use]
    pub const fn id(mut self, id: Uuid) -> Self {
        self.id = Some(id);
        self
    }

    /// Names the owner. The nil id stands for "nobody" and never equals a subject, also not a system
    /// subject. To ask "for any member" (owner `*` on the wire) leave the owner out.
    #[must_use]
    pub const fn owner(mut self, owner: UserId) -> Self {
        self.owner = if owner.is_nil() { None } else { Some(owner) };
        self
    }

    /// Puts the object into an organization. An organization that nobody belongs to (the nil id too)
    /// leaves only deployment-wide permissions.
    #[must_use]
    pub const fn in_org(mut self, org: OrganizationId) -> Self {
        self.place = Place::In(org);
        self
    }

    /// Puts the object into an organization, or outside of all for `None`: the shape of a nullable column.
    #[must_use]
    pub const fn in_org_opt(mut self, org: Option<OrganizationId>) -> Self {
        self.place = match org {
            Some(org) => Place::In(org),
            None => Place::Outside,
        };
        self
    }

    /// Asks "in any of my organizations?"; replaces a named organization.
    #[must_use]
    pub const fn any_org(mut self) -> Self {
        self.place = Place::Anywhere;
        self
    }

    /// Adds the object's access control list.
    #[must_use]
    pub const fn acl<'b>(self, acl: &'b Acl) -> Object<'b>
    where
        'a: 'b,
    {
        Object {
            acl: Some(acl),
            resource: self.resource,
            id: self.id,
            owner: self.owner,
            place: self.place,
        }
    }

    /// The kind of thing.
    #[must_use]
    pub const fn resource(&self) -> Resource {
        self.resource
    }

    /// The owner, if it has one.
    #[must_use]
    pub const fn owner_id(&self) -> Option<UserId> {
        self.owner
    }

    /// The organization, if it is in a known one.
    #[must_use]
    pub const fn organization(&self) -> Option<OrganizationId> {
        match self.place {
            Place::In(org) => Some(org),
            Place::Outside | Place::Anywhere => None,
        }
    }

    /// The id of the one object, if it is known.
    #[must_use]
    pub const fn object_id(&self) -> Option<Uuid> {
        self.id
    }

    /// Whether this asks about any of the subject's organizations.
    #[must_use]
    pub const fn is_any_org(&self) -> bool {
        matches!(self.place, Place::Anywhere)
    }
}
