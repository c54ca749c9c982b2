//! Threads: a request that carries a tool's result follows the one that called the tool.

use std::collections::HashMap;

use diesel::sql_types::{Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use stdx::ids::{InterceptionId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::{Around, FollowingColumns, Link};
use super::rows::{Facts, Start};
use crate::Error;
use crate::query::Db;

/// Of each start the newest stored interception before it that recorded the tool call. Some providers number
/// their calls anew in each answer, so one identifier names many calls: only those of the same user count,
/// which also keeps a guessed identifier from joining somebody else's session, and only the newest are looked
/// through. Clocks of two gateways may differ by seconds.
const PARENTS: (&str, &str) = (
    "SELECT s.start, p.id, p.root, p.created_at FROM ",
    " AS s (start, initiator_id, call, started_at)
     CROSS JOIN LATERAL (
        SELECT i.id, coalesce(i.thread_root_id, i.id) AS root, t.created_at
          FROM (SELECT interception_id, created_at FROM aibridge_tool_usages
                 WHERE provider_tool_call_id = s.call AND created_at <= s.started_at + interval '5 seconds'
                 ORDER BY created_at DESC LIMIT 200) t
          JOIN aibridge_interceptions i ON i.id = t.interception_id AND i.initiator_id = s.initiator_id
         WHERE t.interception_id <> s.start
         ORDER BY t.created_at <= s.started_at DESC, t.created_at DESC, t.interception_id DESC
         LIMIT 1
     ) p",
);
type Parent = (SqlUuid, SqlUuid, SqlUuid, Timestamptz);

/// Who called a tool, in the order of preference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Caller {
    before: bool,
    at: OffsetDateTime,
    id: InterceptionId,
    /// Of the thread, when the caller is stored.
    root: Option<Uuid>,
}

/// The place in its thread of every start that carries a tool's result. Expects that the tool calls of the
/// batch are stored. A caller whose own start is neither stored nor in the batch is not found: gateways send
/// facts in the order in which they happened.
pub(super) async fn find(
    db: &mut Db<'_>,
    facts: &Facts,
) -> Result<HashMap<InterceptionId, Link>, Error> {
    let mut following: Vec<&Start> =
        facts.starts.iter().filter(|start| call_of(start).is_some()).collect();
    if following.is_empty() {
        return Ok(HashMap::new());
    }
    following.sort_unstable_by_key(|start| (start.started_at, start.id));
    let columns = FollowingColumns::of(&following);
    let stored: Vec<(Uuid, Uuid, Uuid, OffsetDateTime)> =
        Around::<_, Parent>::join(PARENTS.0, &columns, PARENTS.1).load(db.conn()).await?;
    let stored: HashMap<Uuid, (Uuid, Uuid, OffsetDateTime)> =
        stored.into_iter().map(|(start, id, root, at)| (start, (id, root, at))).collect();
    let new = callers_of_batch(facts);
    let mut links: HashMap<InterceptionId, Link> = HashMap::new();
    for start in following {
        let before = |at| at <= start.started_at;
        let of_store = stored.get(&start.id.uuid()).map(|(id, root, at)| Caller {
            before: before(*at),
            at: *at,
            id: InterceptionId::new(*id),
            root: Some(*root),
        });
        let of_batch = call_of(start).and_then(|call| new.get(&(start.initiator_id, call)));
        let of_batch = of_batch.into_iter().flatten().filter(|(id, _)| *id != start.id);
        let of_batch =
            of_batch.map(|(id, at)| Caller { before: before(*at), at: *at, id: *id, root: None });
        let Some(caller) = of_batch.chain(of_store).max() else { continue };
        // Oldest first, so a caller of the same batch has its link already.
        let root = caller.root.or_else(|| links.get(&caller.id).map(|link| link.root));
        let parent = caller.id.uuid();
        links.insert(start.id, Link { parent, root: root.unwrap_or(parent) });
    }
    Ok(links)
}

/// The tool call whose result a start carries.
fn call_of(start: &Start) -> Option<&str> {
    start.correlating_tool_call_id.as_deref().filter(|call| !call.is_empty())
}

/// Interceptions of the batch by user and tool call.
fn callers_of_batch(
    facts: &Facts,
) -> HashMap<(UserId, &str), Vec<(InterceptionId, OffsetDateTime)>> {
    let users: HashMap<InterceptionId, UserId> =
        facts.starts.iter().map(|start| (start.id, start.initiator_id)).collect();
    let mut callers: HashMap<_, Vec<_>> = HashMap::new();
    for tool in &facts.tools {
        let id = tool.interception_id.0;
        let Some(user) = users.get(&id) else { continue };
        let call = tool.provider_tool_call_id.as_str();
        callers.entry((*user, call)).or_default().push((id, tool.created_at));
    }
    callers
}
