//! Which server works on a chat.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::ids::{ChatId, ReplicaId};
use time::OffsetDateTime;

use super::{ANY, Chat, lock};
use crate::Pk;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::chats;

/// Most chats that are taken, kept or given back at a time.
const AT_A_TIME: i64 = 1_000;

const PENDING: &str = "pending";
const RUNNING: &str = "running";

/// Says what becomes of a chat. In every state but `running` nobody works on it.
#[derive(Clone, Debug)]
pub struct UpdateStatus {
    /// Which.
    pub id: ChatId,
    /// The state from now on.
    pub status: &'static str,
    /// Why it failed; replaces what was said before.
    pub last_error: Option<String>,
    /// Only as long as this server works on it: another may have taken it over meanwhile.
    pub worker_id: Option<ReplicaId>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateStatus {
    const NAME: &'static str = "chats.update_status";
    /// `None` if somebody else works on it, or nobody.
    type Out = Option<Change<Chat>>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(
                async move { Ok(vec![check(Action::Update, lock(db, query.id).await?.object())]) },
            )
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            if self.worker_id.is_some_and(|worker| old.worker_id != Some(Pk(worker))) {
                return Ok(None);
            }
            let working = self.status == RUNNING;
            let new = diesel::update(chats::table.find(old.id))
                .set((
                    chats::status.eq(self.status),
                    chats::last_error.eq(&self.last_error),
                    chats::worker_id.eq(old.worker_id.filter(|_| working)),
                    chats::started_at.eq(old.started_at.filter(|_| working)),
                    chats::heartbeat_at.eq(old.heartbeat_at.filter(|_| working)),
                    chats::updated_at.eq(self.now),
                ))
                .returning(Chat::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Some(Change::updated(old, new)))
        })
    }
}

/// Takes pending chats for a server, the longest waiting first. Those that somebody else is taking or changing at this
/// moment are left for the next time.
#[derive(Debug)]
pub struct AcquireChats {
    /// Who will work on them.
    pub worker_id: ReplicaId,
    /// When.
    pub now: OffsetDateTime,
    /// At most 1,000.
    pub limit: i64,
}

impl Query for AcquireChats {
    const NAME: &'static str = "chats.acquire_chats";
    type Out = Vec<Change<Chat>>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let waiting: Vec<Chat> = chats::table
                .filter(chats::status.eq(PENDING))
                .order((chats::updated_at, chats::id))
                .limit(self.limit.clamp(0, AT_A_TIME))
                .select(Chat::as_select())
                .for_update()
                .skip_locked()
                .load(db.conn())
                .await?;
            let ids: Vec<Pk<ChatId>> = waiting.iter().map(|chat| chat.id).collect();
            diesel::update(chats::table.filter(chats::id.eq_any(ids)))
                .set((
                    chats::status.eq(RUNNING),
                    chats::worker_id.eq(Pk(self.worker_id)),
                    chats::started_at.eq(self.now),
                    chats::heartbeat_at.eq(self.now),
                    chats::updated_at.eq(self.now),
                ))
                .execute(db.conn())
                .await?;
            let taken = |old: Chat| {
                let new = Chat {
                    status: RUNNING.to_owned(),
                    worker_id: Some(Pk(self.worker_id)),
                    started_at: Some(self.now),
                    heartbeat_at: Some(self.now),
                    updated_at: self.now,
                    ..old.clone()
                };
                Change::updated(old, new)
            };
            Ok(waiting.into_iter().map(taken).collect())
        })
    }
}

/// Says that a server still works on these chats.
#[derive(Debug)]
pub struct HeartbeatChats {
    /// Who.
    pub worker_id: ReplicaId,
    /// On what.
    pub ids: Vec<ChatId>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for HeartbeatChats {
    const NAME: &'static str = "chats.heartbeat_chats";
    /// Those that are still the server's. It must stop working on the others.
    type Out = Vec<ChatId>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let ids: Vec<Pk<ChatId>> = self.ids.iter().copied().map(Pk).collect();
            let mine = chats::table
                .filter(chats::id.eq_any(ids))
                .filter(chats::status.eq(RUNNING))
                .filter(chats::worker_id.eq(Pk(self.worker_id)));
            let kept: Vec<Pk<ChatId>> = diesel::update(mine)
                .set(chats::heartbeat_at.eq(self.now))
                .returning(chats::id)
                .get_results(db.conn())
                .await?;
            Ok(kept.into_iter().map(|id| id.0).collect())
        })
    }
}

/// Gives chats back whose server was silent for too long: they wait for another one. Those that somebody is changing at
/// this moment are left for the next time.
#[derive(Debug)]
pub struct ReleaseStaleChats {
    /// The last sign of life came before this.
    pub silent_since: OffsetDateTime,
    /// When.
    pub now: OffsetDateTime,
    /// At most 1,000.
    pub limit: i64,
}

impl Query for ReleaseStaleChats {
    const NAME: &'static str = "chats.release_stale_chats";
    type Out = Vec<Change<Chat>>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            // One that was never taken, but is said to run, is nobody's either.
            let silent = chats::heartbeat_at.lt(self.silent_since);
            let never = chats::heartbeat_at.is_null().and(chats::updated_at.lt(self.silent_since));
            let stale: Vec<Chat> = chats::table
                .filter(chats::status.eq(RUNNING))
                .filter(silent.or(never.nullable()))
                .order(chats::id)
                .limit(self.limit.clamp(0, AT_A_TIME))
                .select(Chat::as_select())
                .for_update()
                .skip_locked()
                .load(db.conn())
                .await?;
            let ids: Vec<Pk<ChatId>> = stale.iter().map(|chat| chat.id).collect();
            diesel::update(chats::table.filter(chats::id.eq_any(ids)))
                .set((
                    chats::status.eq(PENDING),
                    chats::worker_id.eq(None::<Pk<ReplicaId>>),
                    chats::started_at.eq(None::<OffsetDateTime>),
                    chats::heartbeat_at.eq(None::<OffsetDateTime>),
                    chats::updated_at.eq(self.now),
                ))
                .execute(db.conn())
                .await?;
            let released = |old: Chat| {
                let new = Chat {
                    status: PENDING.to_owned(),
                    worker_id: None,
                    started_at: None,
                    heartbeat_at: None,
                    updated_at: self.now,
                    ..old.clone()
                };
                Change::updated(old, new)
            };
            Ok(stale.into_iter().map(released).collect())
        })
    }
}
