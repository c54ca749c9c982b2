//! What counts towards limits of licences, and its way to who sells them.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date as SqlDate, Nullable, Text};
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use serde_json::Value;
use time::{Date, Duration, OffsetDateTime};

use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::usage_events;

/// Most events that are claimed at a time.
pub const CLAIM_MAX: i64 = 100;

/// After this long, who claimed an event and said nothing of it is taken to have died over it.
const CLAIM_LASTS: Duration = Duration::hours(1);

/// Events are told apart by texts, so rules cannot name one.
const ANY: Object<'static> = Object::new(Resource::UsageEvent);

/// A row of `usage_events`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = usage_events, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct UsageEvent {
    pub id: String,
    pub event_type: String,
    /// An object; `count` is what adds up.
    pub event_data: Value,
    pub created_at: OffsetDateTime,
    pub publish_started_at: Option<OffsetDateTime>,
    pub published_at: Option<OffsetDateTime>,
    pub failure_message: Option<String>,
}

/// Notes an event. One that is noted already is not counted again, whatever it holds.
#[derive(Clone, Debug)]
pub struct InsertUsageEvent {
    /// Tells events apart: the same for the same event, also on another server.
    pub id: String,
    /// `dc_managed_agents_v1` or `hb_ai_seats_v1`.
    pub event_type: &'static str,
    /// An object with a `count`.
    pub event_data: Value,
    /// When; the day in UTC is the one it counts for.
    pub now: OffsetDateTime,
}

impl Query for InsertUsageEvent {
    const NAME: &'static str = "usage_events.insert_usage_event";
    /// Whether it was new.
    type Out = bool;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, bool> {
        Box::pin(async move {
            let inserted = diesel::insert_into(usage_events::table)
                .values((
                    usage_events::id.eq(&self.id),
                    usage_events::event_type.eq(self.event_type),
                    usage_events::event_data.eq(&self.event_data),
                    usage_events::created_at.eq(self.now),
                ))
                .on_conflict(usage_events::id)
                .do_nothing()
                .execute(db.conn())
                .await?;
            Ok(inserted == 1)
        })
    }
}

/// Claims events that were not published, oldest first, for who publishes them now: those that nobody claimed within
/// the hour before. What somebody else is claiming at this moment is left to them.
#[derive(Debug)]
pub struct ClaimUsageEvents {
    /// The current time, by which the claim is known afterwards.
    pub now: OffsetDateTime,
    /// At most [`CLAIM_MAX`].
    pub limit: i64,
}

impl Query for ClaimUsageEvents {
    const NAME: &'static str = "usage_events.claim_usage_events";
    type Out = Vec<UsageEvent>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let claimed = usage_events::publish_started_at;
            let given_up = self.now.checked_sub(CLAIM_LASTS);
            let free: Vec<String> = usage_events::table
                .filter(usage_events::published_at.is_null())
                .filter(claimed.is_null().or(claimed.lt(given_up)))
                .order((usage_events::created_at, usage_events::id))
                .limit(self.limit.clamp(0, CLAIM_MAX))
                .select(usage_events::id)
                .for_update()
                .skip_locked()
                .load(db.conn())
                .await?;
            let mine = usage_events::table.filter(usage_events::id.eq_any(free));
            let mut events: Vec<UsageEvent> = diesel::update(mine)
                .set(claimed.eq(self.now))
                .returning(UsageEvent::as_returning())
                .get_results(db.conn())
                .await?;
            events.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
            Ok(events)
        })
    }
}

/// Notes that claimed events were published. Yields how many: those that somebody else claimed since are theirs.
#[derive(Debug)]
pub struct MarkPublished {
    /// Which; at most as many as can be claimed.
    pub ids: Vec<String>,
    /// The time of the claim.
    pub claimed_at: OffsetDateTime,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for MarkPublished {
    const NAME: &'static str = "usage_events.mark_published";
    type Out = usize;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, usize> {
        Box::pin(async move {
            let mine = usage_events::table
                .filter(usage_events::id.eq_any(&self.ids))
                .filter(usage_events::published_at.is_null())
                .filter(usage_events::publish_started_at.eq(self.claimed_at));
            Ok(diesel::update(mine)
                .set((
                    usage_events::published_at.eq(self.now),
                    usage_events::publish_started_at.eq(None::<OffsetDateTime>),
                    usage_events::failure_message.eq(None::<String>),
                ))
                .execute(db.conn())
                .await?)
        })
    }
}

/// Notes why claimed events could not be published. Yields how many: those that somebody else claimed since are theirs.
#[derive(Debug)]
pub struct MarkFailed {
    /// Which; at most as many as can be claimed.
    pub ids: Vec<String>,
    /// Why.
    pub message: String,
    /// Trying again cannot help: they are not claimed any more, as if they were published.
    pub final_at: Option<OffsetDateTime>,
    /// The time of the claim.
    pub claimed_at: OffsetDateTime,
}

impl Query for MarkFailed {
    const NAME: &'static str = "usage_events.mark_failed";
    type Out = usize;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, usize> {
        Box::pin(async move {
            let mine = usage_events::table
                .filter(usage_events::id.eq_any(&self.ids))
                .filter(usage_events::published_at.is_null())
                .filter(usage_events::publish_started_at.eq(self.claimed_at));
            Ok(diesel::update(mine)
                .set((
                    usage_events::published_at.eq(self.final_at),
                    usage_events::publish_started_at.eq(None::<OffsetDateTime>),
                    usage_events::failure_message.eq(&self.message),
                ))
                .execute(db.conn())
                .await?)
        })
    }
}

/// Adds up the counts of the days of one kind of event. Of heartbeats a day counts with its greatest.
#[derive(Debug)]
pub struct SumDaily {
    /// `dc_managed_agents_v1` or `hb_ai_seats_v1`.
    pub event_type: &'static str,
    /// The first day, in UTC.
    pub from: Date,
    /// The last day, in UTC; it counts.
    pub to: Date,
}

#[derive(QueryableByName)]
struct Sum {
    #[diesel(sql_type = Nullable<BigInt>)]
    sum: Option<i64>,
}

impl Query for SumDaily {
    const NAME: &'static str = "usage_events.sum_daily";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let days: Sum = diesel::sql_query(
                "SELECT sum((usage_data ->> 'count')::bigint)::bigint AS sum FROM usage_events_daily
                  WHERE event_type = $1 AND day BETWEEN $2 AND $3",
            )
            .bind::<Text, _>(self.event_type)
            .bind::<SqlDate, _>(self.from)
            .bind::<SqlDate, _>(self.to)
            .get_result(db.conn())
            .await?;
            Ok(days.sum.unwrap_or_default())
        })
    }
}

crate::queries![InsertUsageEvent, ClaimUsageEvents, MarkPublished, MarkFailed, SumDaily];
