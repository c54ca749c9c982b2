use diesel::QueryableByName;
use diesel::sql_types::{Array, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use uuid::Uuid;

use crate::query::{Access, Db, Fut, Permit, Query, check};

/// What the log tells of and may be gone since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "by their names in the log")]
pub enum Perishable {
    AiProvider,
    Chat,
    Oauth2App,
    Organization,
    Task,
    Template,
    User,
    UserSecret,
    Workspace,
}

impl Perishable {
    /// By the name in the log; `None` for what is never told to be deleted.
    #[must_use]
    pub fn of(resource_type: &str) -> Option<Self> {
        Some(match resource_type {
            "ai_provider" => Self::AiProvider,
            "chat" => Self::Chat,
            "oauth2_provider_app" => Self::Oauth2App,
            "organization" => Self::Organization,
            "task" => Self::Task,
            "template" => Self::Template,
            "user" => Self::User,
            "user_secret" => Self::UserSecret,
            "workspace" => Self::Workspace,
            _ => return None,
        })
    }

    const fn resource(self) -> Resource {
        match self {
            Self::AiProvider => Resource::AiProvider,
            Self::Chat => Resource::Chat,
            Self::Oauth2App => Resource::Oauth2App,
            Self::Organization => Resource::Organization,
            Self::Task | Self::Workspace => Resource::Workspace,
            Self::Template => Resource::Template,
            Self::User => Resource::User,
            Self::UserSecret => Resource::UserSecret,
        }
    }

    /// Some rows stay and say that they are deleted; of others nothing is left.
    const fn statement(self) -> &'static str {
        match self {
            Self::AiProvider => "SELECT id FROM ai_providers WHERE id = ANY ($1) AND deleted",
            Self::Organization => "SELECT id FROM organizations WHERE id = ANY ($1) AND deleted",
            Self::Task => "SELECT id FROM tasks WHERE id = ANY ($1) AND deleted_at IS NOT NULL",
            Self::Template => "SELECT id FROM templates WHERE id = ANY ($1) AND deleted",
            Self::User => "SELECT id FROM users WHERE id = ANY ($1) AND deleted",
            Self::Workspace => "SELECT id FROM workspaces WHERE id = ANY ($1) AND deleted",
            Self::Chat => {
                "SELECT id FROM unnest($1) AS told (id) WHERE NOT EXISTS (SELECT FROM chats c WHERE c.id = told.id)"
            }
            Self::Oauth2App => {
                "SELECT id FROM unnest($1) AS told (id)
                  WHERE NOT EXISTS (SELECT FROM oauth2_provider_apps a WHERE a.id = told.id)"
            }
            Self::UserSecret => {
                "SELECT id FROM unnest($1) AS told (id)
                  WHERE NOT EXISTS (SELECT FROM user_secrets s WHERE s.id = told.id)"
            }
        }
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// Which of these are deleted. For those who may read all of the kind.
#[derive(Debug)]
pub struct ListDeleted {
    /// What they are.
    pub kind: Perishable,
    /// To be looked at.
    pub ids: Vec<Uuid>,
}

impl Query for ListDeleted {
    const NAME: &'static str = "audit_logs.list_deleted";
    type Out = Vec<Uuid>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, Object::new(self.kind.resource()))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<Uuid>> {
        Box::pin(async move {
            let rows: Vec<Row> = diesel::sql_query(self.kind.statement())
                .bind::<Array<SqlUuid>, _>(&self.ids)
                .load(db.conn())
                .await?;
            Ok(rows.into_iter().map(|row| row.id).collect())
        })
    }
}
