use diesel::QueryableByName;
use diesel::sql_types::{Array, Jsonb, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::{Action, Resource};
use serde_json::Value;
use stdx::ids::UserId;

use crate::Pk;
use crate::query::{Access, Db, Fut, Permit, Query};

/// Sums the numeric details of all token counts of one session, by name: an object, `None` when there are no
/// such details. At most 100 names.
#[derive(Debug)]
pub struct SumTokenDetails {
    /// Which session.
    pub session_id: String,
    /// Whose; two users may have sent the same key.
    pub initiator: UserId,
}

/// Numbers out of all proportion are left out: their sum would not fit the wire.
const SUMS: &str = "
    SELECT jsonb_object_agg(sums.name, sums.total) AS details FROM (
        SELECT detail.key AS name, sum(detail.value::numeric) AS total
          FROM aibridge_interceptions i
          JOIN aibridge_token_usages u ON u.interception_id = i.id
         CROSS JOIN LATERAL jsonb_each(
            CASE WHEN jsonb_typeof(u.metadata) = 'object' THEN u.metadata ELSE '{}' END) detail
         WHERE i.session_id = $1 AND i.initiator_id = $2 AND i.ended_at IS NOT NULL
           AND ($3 IS NULL OR i.initiator_id = ANY ($3))
           AND ($4 IS NULL OR i.id = ANY ($4))
           AND CASE WHEN jsonb_typeof(detail.value) = 'number' THEN abs(detail.value::numeric) < 1e15 END
         GROUP BY detail.key ORDER BY detail.key LIMIT 100
    ) sums";

#[derive(QueryableByName)]
struct Sums {
    #[diesel(sql_type = Nullable<Jsonb>)]
    details: Option<Value>,
}

impl Query for SumTokenDetails {
    const NAME: &'static str = "interceptions.sum_token_details";
    type Out = Option<Value>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Interception, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Option<Value>> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let sums: Sums = diesel::sql_query(SUMS)
                .bind::<Text, _>(&self.session_id)
                .bind::<SqlUuid, _>(Pk(self.initiator))
                .bind::<Nullable<Array<SqlUuid>>, _>(rows.owners())
                .bind::<Nullable<Array<SqlUuid>>, _>(rows.ids())
                .get_result(db.conn())
                .await?;
            Ok(sums.details)
        })
    }
}
