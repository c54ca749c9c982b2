//! Which claims identity providers have told, for people who write rules about them.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::OrganizationId;

use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::{Error, Pk};

/// Most names or values that a list returns.
const LIST_MAX: i64 = 1_000;

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    found: String,
}

/// The claims of the last logins by OIDC of an organization's members, or of everybody.
macro_rules! claims {
    ($select:literal) => {
        concat!(
            "SELECT DISTINCT ", $select, "
               FROM user_links l
              CROSS JOIN LATERAL jsonb_each(CASE jsonb_typeof(l.claims -> 'merged_claims')
                    WHEN 'object' THEN l.claims -> 'merged_claims' ELSE '{}' END) AS claim (field, value)
              CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(claim.value)
                    WHEN 'array' THEN claim.value ELSE jsonb_build_array(claim.value) END) AS item (value)
              WHERE l.login_type = 'oidc' AND ($2 IS NULL OR claim.field = $2)
                AND ($1 IS NULL OR l.user_id IN (
                    SELECT m.user_id FROM organization_members m WHERE m.organization_id = $1))
              ORDER BY found LIMIT $3"
        )
    };
}

async fn list(
    db: &mut Db<'_>,
    statement: &'static str,
    organization: Option<OrganizationId>,
    field: Option<&str>,
) -> Result<Vec<String>, Error> {
    let rows: Vec<Found> = diesel::sql_query(statement)
        .bind::<Nullable<SqlUuid>, _>(organization.map(Pk))
        .bind::<Nullable<Text>, _>(field)
        .bind::<BigInt, _>(LIST_MAX)
        .load(db.conn())
        .await?;
    Ok(rows.into_iter().map(|row| row.found).collect())
}

const fn settings(organization: Option<OrganizationId>) -> Object<'static> {
    let settings = Object::new(Resource::IdpsyncSettings);
    match organization {
        Some(organization) => settings.in_org(organization),
        None => settings,
    }
}

/// Names of claims that were told of an organization's members; at most 1,000.
#[derive(Debug)]
pub struct ListClaimFields {
    /// Of this organization's members, or of everybody.
    pub organization_id: Option<OrganizationId>,
}

impl Query for ListClaimFields {
    const NAME: &'static str = "user_links.list_claim_fields";
    type Out = Vec<String>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, settings(self.organization_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(list(db, claims!("claim.field AS found"), self.organization_id, None))
    }
}

/// Values of one claim that were told of an organization's members, each item of a list by itself; at most 1,000.
#[derive(Debug)]
pub struct ListClaimValues {
    /// Of this organization's members, or of everybody.
    pub organization_id: Option<OrganizationId>,
    /// The name of the claim, exact.
    pub field: String,
}

impl Query for ListClaimValues {
    const NAME: &'static str = "user_links.list_claim_values";
    type Out = Vec<String>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, settings(self.organization_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        let statement = claims!("item.value #>> '{}' AS found");
        Box::pin(list(db, statement, self.organization_id, Some(&self.field)))
    }
}
