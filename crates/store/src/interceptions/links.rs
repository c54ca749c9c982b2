//! Threads: a request that carries a tool's result follows the one that called the tool.
//!
//! Usually the caller is stored first, and a start is linked when it is stored. Records of two gateways may also
//! come the other way round; then the caller links those that wait for it, and what follows these moves to its
//! thread with them. Two batches that are stored at the same instant do not see each other: a link between them
//! is missing, as it is when a caller was never recorded.

use std::collections::HashMap;

use diesel::sql_types::{Bool, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use stdx::ids::{InterceptionId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::{Around, CallColumns, FollowingColumns, Link};
use super::rows::{Facts, Start, Tool};
use crate::Error;
use crate::query::Db;

/// Longest identifier of a tool call that links, in characters. Those of providers have less than a hundred, and
/// an index takes no text of any length.
const CALL_CHARS_MAX: usize = 256;

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
/// facts in the order in which they happened. Callers that come later link by themselves, see [`adopt`].
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

/// Links those that wait for one of the tool calls, and moves what follows them to the thread that they now belong
/// to. The caller is chosen as in [`PARENTS`]. Of those that wait for one call, the first ones after it are looked
/// at. Each was the root of its thread, so what follows it is found by that. Callers may be linked by the same
/// statement as those that follow them, so roots are followed up to one that is not; a circle is not linked.
const ADOPT: (&str, &str) = (
    "WITH RECURSIVE calls AS MATERIALIZED (
        SELECT i.initiator_id, t.call, min(t.created_at) AS created_at FROM ",
    " AS t (interception_id, call, created_at)
          JOIN aibridge_interceptions i ON i.id = t.interception_id GROUP BY 1, 2
     ), waiting AS MATERIALIZED (
        SELECT w.* FROM calls c
         CROSS JOIN LATERAL (
            SELECT i.id, i.initiator_id, i.correlating_tool_call_id AS call, i.started_at
              FROM aibridge_interceptions i
             WHERE i.correlating_tool_call_id = c.call AND i.initiator_id = c.initiator_id
               AND i.thread_parent_id IS NULL AND i.started_at >= c.created_at - interval '5 seconds'
             ORDER BY i.started_at LIMIT 200
         ) w
     ), linked AS MATERIALIZED (
        SELECT w.id, p.id AS parent, p.root FROM waiting w
         CROSS JOIN LATERAL (
            SELECT i.id, coalesce(i.thread_root_id, i.id) AS root
              FROM (SELECT interception_id, created_at FROM aibridge_tool_usages
                     WHERE provider_tool_call_id = w.call AND created_at <= w.started_at + interval '5 seconds'
                     ORDER BY created_at DESC LIMIT 200) t
              JOIN aibridge_interceptions i ON i.id = t.interception_id AND i.initiator_id = w.initiator_id
             WHERE coalesce(i.thread_root_id, i.id) <> w.id
             ORDER BY t.created_at <= w.started_at DESC, t.created_at DESC, t.interception_id DESC
             LIMIT 1
         ) p
     ), up (id, root) AS (
        SELECT id, root FROM linked
         UNION
        SELECT up.id, linked.root FROM up JOIN linked ON linked.id = up.root
     ), placed AS MATERIALIZED (
        SELECT linked.id, linked.parent, up.root FROM up JOIN linked ON linked.id = up.id
         WHERE NOT EXISTS (SELECT 1 FROM linked l WHERE l.id = up.root)
     ), moved AS MATERIALIZED (
        SELECT id, parent, root FROM placed
         UNION ALL
        SELECT i.id, i.thread_parent_id, p.root FROM placed p JOIN aibridge_interceptions i ON i.thread_root_id = p.id
     ), locked AS MATERIALIZED (
        SELECT i.id FROM moved m JOIN aibridge_interceptions i ON i.id = m.id ORDER BY i.id FOR UPDATE OF i
     )
     UPDATE aibridge_interceptions i
        SET thread_parent_id = m.parent, thread_root_id = m.root
       FROM locked JOIN moved m ON m.id = locked.id
      WHERE i.id = locked.id",
);

/// Whether anybody, of any user, may wait for one of the calls. Nearly always nobody does, and to plan [`ADOPT`]
/// takes longer than to find that out.
const WAITED_FOR: (&str, &str) = (
    "SELECT EXISTS (SELECT FROM ",
    " AS t (interception_id, call, created_at)
        CROSS JOIN LATERAL (
            SELECT FROM aibridge_interceptions i
             WHERE i.correlating_tool_call_id = t.call AND i.thread_parent_id IS NULL LIMIT 1
        ) w)",
);

/// Links those that waited for a tool call of the batch. Expects that starts and tool calls of the batch are stored.
pub(super) async fn adopt(db: &mut Db<'_>, facts: &Facts) -> Result<(), Error> {
    let calls: Vec<&Tool> =
        facts.tools.iter().filter(|tool| links(&tool.provider_tool_call_id)).collect();
    if !calls.is_empty() {
        let columns = CallColumns::of(&calls);
        let waited_for: bool = Around::<_, Bool>::join(WAITED_FOR.0, &columns, WAITED_FOR.1)
            .get_result(db.conn())
            .await?;
        if waited_for {
            Around::<_, ()>::join(ADOPT.0, &columns, ADOPT.1).execute(db.conn()).await?;
        }
    }
    Ok(())
}

/// The tool call whose result a start carries.
pub(super) fn call_of(start: &Start) -> Option<&str> {
    start.correlating_tool_call_id.as_deref().filter(|call| links(call))
}

/// Whether this can be the identifier of a tool call.
fn links(call: &str) -> bool {
    !call.is_empty() && call.chars().take(CALL_CHARS_MAX + 1).count() <= CALL_CHARS_MAX
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
