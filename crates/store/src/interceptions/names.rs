//! Names that occur in interceptions: of models, client programs, providers.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};

use super::list::PAGE_MAX;
use crate::Error;
use crate::query::{Access, Db, Fut, Permit, Query};
use crate::rows::Rows;

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

/// The names in a column, leaping in its index from one to the next: there are few names in many rows.
macro_rules! leaps {
    ($column:literal) => {
        concat!(
            "WITH RECURSIVE names AS (
                (SELECT i.",
            $column,
            " AS name FROM aibridge_interceptions i
                  WHERE i.ended_at IS NOT NULL ORDER BY i.",
            $column,
            " LIMIT 1)
                UNION ALL
                SELECT (SELECT i.",
            $column,
            " FROM aibridge_interceptions i
                         WHERE i.ended_at IS NOT NULL AND i.",
            $column,
            " > names.name
                         ORDER BY i.",
            $column,
            " LIMIT 1)
                  FROM names WHERE names.name IS NOT NULL
            )
            SELECT name FROM names WHERE name IS NOT NULL AND name LIKE $1 OFFSET $2 LIMIT $3"
        )
    };
}

/// The names in a column of the rows of some people, or of some rows.
macro_rules! among {
    ($column:literal) => {
        concat!(
            "SELECT DISTINCT i.", $column, " AS name FROM aibridge_interceptions i
              WHERE i.ended_at IS NOT NULL AND i.", $column, " LIKE $1
                AND ($4 IS NULL OR i.initiator_id = ANY ($4)) AND ($5 IS NULL OR i.id = ANY ($5))
              ORDER BY name OFFSET $2 LIMIT $3"
        )
    };
}

macro_rules! names {
    ($($(#[$doc:meta])* $query:ident = $name:literal on $column:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $query {
            /// Only names that begin with this, ignoring nothing.
            pub prefix: String,
            /// Rows to skip.
            pub offset: i64,
            /// At most 1,000.
            pub limit: i64,
        }

        impl Query for $query {
            const NAME: &'static str = $name;
            type Out = Vec<String>;

            fn access(&self) -> Access<Self> {
                Access::Rows(Resource::Interception, Action::Read)
            }

            fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Vec<String>> {
                let rows = permit.into_rows();
                let window = (self.offset.max(0), self.limit.clamp(0, PAGE_MAX));
                Box::pin(list(db, (leaps!($column), among!($column)), rows, &self.prefix, window))
            }
        }
    )*};
}

names! {
    /// Models that were asked for.
    ListModels = "interceptions.list_models" on "model";
    /// Client programs that were seen.
    ListClients = "interceptions.list_clients" on "client";
    /// Provider instances that were used.
    ListProviderNames = "interceptions.list_provider_names" on "provider_name";
}

async fn list(
    db: &mut Db<'_>,
    (leaps, among): (&str, &str),
    rows: Rows,
    prefix: &str,
    (offset, limit): (i64, i64),
) -> Result<Vec<String>, Error> {
    let (owners, ids) = (rows.owners(), rows.ids());
    let everything = owners.is_none() && ids.is_none();
    let query = diesel::sql_query(if everything { leaps } else { among })
        .bind::<Text, _>(starts_with(prefix))
        .bind::<BigInt, _>(offset)
        .bind::<BigInt, _>(limit);
    let names: Vec<Name> = if everything {
        query.load(db.conn()).await?
    } else {
        query
            .bind::<Nullable<Array<SqlUuid>>, _>(owners)
            .bind::<Nullable<Array<SqlUuid>>, _>(ids)
            .load(db.conn())
            .await?
    };
    Ok(names.into_iter().map(|row| row.name).collect())
}

/// A LIKE pattern for a literal prefix.
fn starts_with(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for letter in prefix.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
