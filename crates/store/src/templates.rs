//! Templates: what workspaces are made from, and by whom.

use std::collections::BTreeMap;

use diesel::dsl::not;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Acl, Action, ActionSet, Object, Resource};
use serde_json::Value;
use stdx::ids::{GroupId, OrganizationId, TemplateId, TemplateVersionId, UserId};
use time::OffsetDateTime;

use crate::query::{Access, Change, Check, Db, Fut, Permit, Query, check};
use crate::rows::AclShape;
use crate::schema::templates;
use crate::{Error, Pk};

/// A row of `templates`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = templates, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Template {
    pub id: Pk<TemplateId>,
    pub organization_id: Pk<OrganizationId>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub deleted: bool,
    pub name: String,
    pub display_name: String,
    pub icon: String,
    pub active_version_id: Pk<TemplateVersionId>,
    pub created_by: Pk<UserId>,
    /// As it is stored; see [`Self::acl`].
    pub user_acl: Value,
    /// As it is stored; see [`Self::acl`].
    pub group_acl: Value,
    pub require_active_version: bool,
    pub deprecated: String,
    pub max_port_sharing_level: String,
}

impl Template {
    /// The object that rules speak of, without [`Self::acl`].
    #[must_use]
    pub const fn object(&self) -> Object<'static> {
        Object::new(Resource::Template).id(self.id.0.uuid()).in_org(self.organization_id.0)
    }

    /// Who may use it, beside those whose roles say so.
    #[must_use]
    pub fn acl(&self) -> Acl {
        AclShape::Actions.read(&self.user_acl, &self.group_acl)
    }

    fn check(&self, action: Action) -> Check {
        check(action, self.object()).shared(self.acl())
    }
}

/// A template by its identifier, deleted ones included.
#[derive(Debug)]
pub struct GetTemplate {
    /// Which.
    pub id: TemplateId,
}

impl Query for GetTemplate {
    const NAME: &'static str = "templates.get_template";
    type Out = Template;

    fn access(&self) -> Access<Self> {
        Access::After(|template: &Template| vec![template.check(Action::Read)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Template> {
        Box::pin(async move {
            Ok(templates::table
                .find(Pk(self.id))
                .select(Template::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// Reads a live template, and keeps others from changing it.
async fn lock(db: &mut Db<'_>, id: TemplateId) -> Result<Template, Error> {
    Ok(templates::table
        .find(Pk(id))
        .filter(not(templates::deleted))
        .select(Template::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

/// Changes who may use a live template. Users and groups that are not named here stay as they are. It takes the right to
/// create templates, which is more than that to change them.
#[derive(Clone, Debug)]
pub struct UpdateTemplateAcl {
    /// Which.
    pub id: TemplateId,
    /// What users may do from now on; nothing takes a user off the list. At most
    /// [`ENTRIES_MAX`](crate::workspaces::ENTRIES_MAX) are on it then, and only with actions of templates, or else
    /// [`Error::Unfit`].
    pub users: BTreeMap<UserId, ActionSet>,
    /// The same of groups; that of everyone has the organization's identifier.
    pub groups: BTreeMap<GroupId, ActionSet>,
}

impl Query for UpdateTemplateAcl {
    const NAME: &'static str = "templates.update_template_acl";
    type Out = Change<Template>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move { Ok(vec![lock(db, query.id).await?.check(Action::Create)]) })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Template>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            let shape = AclShape::Actions;
            let users = shape.merge(Resource::Template, &old.user_acl, &self.users)?;
            let groups = shape.merge(Resource::Template, &old.group_acl, &self.groups)?;
            let new = diesel::update(templates::table.find(old.id))
                .set((templates::user_acl.eq(users), templates::group_acl.eq(groups)))
                .returning(Template::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

crate::queries![GetTemplate, UpdateTemplateAcl];
