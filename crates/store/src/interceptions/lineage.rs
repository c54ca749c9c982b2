use diesel::QueryableByName;
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::ids::InterceptionId;

use super::ANY;
use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::{Error, Pk};

/// Where a request that carries the result of a tool call belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lineage {
    /// The interception that recorded the call.
    pub parent: InterceptionId,
    /// The first one of its thread, which may be the parent itself.
    pub root: InterceptionId,
}

/// Who recorded a tool call: the latest, where several did, because some providers number their calls anew in each
/// answer. [`Error::NotFound`] if nobody has.
#[derive(Debug)]
pub struct GetLineageByToolCall {
    /// The provider's identifier of the call.
    pub provider_tool_call_id: String,
}

const LINEAGE: &str = "
    SELECT i.id, coalesce(i.thread_root_id, i.id) AS root
      FROM aibridge_tool_usages t
      JOIN aibridge_interceptions i ON i.id = t.interception_id
     WHERE t.provider_tool_call_id = $1
     ORDER BY t.created_at DESC, t.interception_id DESC
     LIMIT 1";

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = SqlUuid)]
    id: Pk<InterceptionId>,
    #[diesel(sql_type = SqlUuid)]
    root: Pk<InterceptionId>,
}

impl Query for GetLineageByToolCall {
    const NAME: &'static str = "interceptions.get_lineage_by_tool_call";
    type Out = Lineage;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Lineage> {
        Box::pin(async move {
            // Calls without an identifier have the empty one, and nothing to do with each other.
            if self.provider_tool_call_id.is_empty() {
                return Err(Error::NotFound);
            }
            let found: Found = diesel::sql_query(LINEAGE)
                .bind::<Text, _>(&self.provider_tool_call_id)
                .get_result(db.conn())
                .await?;
            Ok(Lineage { parent: found.id.0, root: found.root.0 })
        })
    }
}
