//! Who uses AI.

use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::Pk;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::ai_seat_state;

/// Most seats of a page.
pub const PAGE_MAX: i64 = 1_000;

const ANY: Object<'static> = Object::new(Resource::AiSeat);

/// Seats of those who count: active people.
const HELD: &str = "
    FROM ai_seat_state s
    JOIN users u ON u.id = s.user_id AND NOT u.deleted AND NOT u.is_system AND u.status = 'active'
   WHERE TRUE";

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// A row of `ai_seat_state`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, QueryableByName, Selectable, Insertable)]
#[diesel(table_name = ai_seat_state, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Seat {
    pub user_id: Pk<UserId>,
    pub first_used_at: OffsetDateTime,
    pub last_used_at: OffsetDateTime,
    pub last_event_type: String,
    pub last_event_description: String,
    pub updated_at: OffsetDateTime,
}

/// Notes that a user uses AI. Yields a change without an old row for the first time only.
#[derive(Debug)]
pub struct TakeSeat {
    /// Who.
    pub user_id: UserId,
    /// `aibridge` or `task`.
    pub event_type: &'static str,
    /// In words.
    pub event_description: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for TakeSeat {
    const NAME: &'static str = "ai_seats.take_seat";
    type Out = Change<Seat>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Seat>> {
        Box::pin(async move {
            let seat = Seat {
                user_id: Pk(self.user_id),
                first_used_at: self.now,
                last_used_at: self.now,
                last_event_type: self.event_type.to_owned(),
                last_event_description: self.event_description.clone(),
                updated_at: self.now,
            };
            let taken = diesel::insert_into(ai_seat_state::table)
                .values(&seat)
                .on_conflict_do_nothing()
                .execute(db.conn())
                .await?;
            if taken == 1 {
                return Ok(Change::created(seat));
            }
            let row = ai_seat_state::table.find(Pk(self.user_id));
            let old: Seat = row.select(Seat::as_select()).for_update().first(db.conn()).await?;
            let new = diesel::update(row)
                .set((
                    ai_seat_state::last_used_at.eq(self.now),
                    ai_seat_state::last_event_type.eq(self.event_type),
                    ai_seat_state::last_event_description.eq(&self.event_description),
                    ai_seat_state::updated_at.eq(self.now),
                ))
                .returning(Seat::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

/// Seats of active users, by id of the user.
#[derive(Debug)]
pub struct ListSeats {
    /// Only what comes after this user.
    pub after: Option<UserId>,
    /// At most [`PAGE_MAX`].
    pub limit: i64,
}

impl Query for ListSeats {
    const NAME: &'static str = "ai_seats.list_seats";
    type Out = Vec<Seat>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<Seat>> {
        Box::pin(async move {
            Ok(diesel::sql_query(format!(
                "SELECT s.* {HELD} AND ($1 IS NULL OR s.user_id > $1) ORDER BY s.user_id LIMIT $2"
            ))
            .bind::<Nullable<SqlUuid>, _>(self.after.map(Pk))
            .bind::<BigInt, _>(self.limit.clamp(0, PAGE_MAX))
            .load(db.conn())
            .await?)
        })
    }
}

/// How many active users have a seat.
#[derive(Debug)]
pub struct CountSeats;

impl Query for CountSeats {
    const NAME: &'static str = "ai_seats.count_seats";
    type Out = i64;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let counted: Counted = diesel::sql_query(format!("SELECT count(*) AS count {HELD}"))
                .get_result(db.conn())
                .await?;
            Ok(counted.count)
        })
    }
}

/// Which of these users use AI: they have asked a provider, or a workspace of theirs was built for a task.
#[derive(Debug)]
pub struct ListUsersWithSeat {
    /// To be looked at; every one must be readable.
    pub ids: Vec<UserId>,
}

impl Query for ListUsersWithSeat {
    const NAME: &'static str = "ai_seats.list_users_with_seat";
    type Out = Vec<Uuid>;

    fn access(&self) -> Access<Self> {
        let read = |id: &UserId| check(Action::Read, crate::users::object(*id));
        Access::Before(self.ids.iter().map(read).collect())
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<Uuid>> {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = SqlUuid)]
            id: Uuid,
        }
        Box::pin(async move {
            let ids: Vec<Uuid> = self.ids.iter().map(|id| id.uuid()).collect();
            let found: Vec<Found> = diesel::sql_query(
                "SELECT u.id FROM unnest($1) AS u (id)
                  WHERE EXISTS (SELECT 1 FROM aibridge_interceptions i WHERE i.initiator_id = u.id AND i.ended_at IS NOT NULL)
                     OR EXISTS (SELECT 1 FROM workspaces w JOIN workspace_builds b ON b.workspace_id = w.id AND b.has_ai_task
                                 WHERE w.owner_id = u.id AND NOT w.deleted)
                  ORDER BY u.id",
            )
            .bind::<Array<SqlUuid>, _>(ids)
            .load(db.conn())
            .await?;
            Ok(found.into_iter().map(|row| row.id).collect())
        })
    }
}

crate::queries![TakeSeat, ListSeats, CountSeats, ListUsersWithSeat];
