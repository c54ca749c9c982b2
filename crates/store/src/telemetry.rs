//! What is reported about the deployment, and who of its servers reports it.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use time::OffsetDateTime;

use crate::query::{Access, Change, Db, Fut, IS_NEW, Permit, Query, check};
use crate::schema::{telemetry_items, telemetry_locks};

/// Reports have no resource of their own.
const ANY: Object<'static> = Object::new(Resource::System);

/// Takes the lock of a period. The first server gets it, and nobody else does, also when the first dies over it: better
/// no report than two. Yields whether this is the first.
#[derive(Clone, Debug)]
pub struct TakePeriod {
    /// `aibridge_interceptions_summary` or `boundary_usage_summary`.
    pub event_type: &'static str,
    /// The end of the period, the same on all servers.
    pub period_ending_at: OffsetDateTime,
}

impl Query for TakePeriod {
    const NAME: &'static str = "telemetry.take_period";
    type Out = bool;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, bool> {
        Box::pin(async move {
            let taken = diesel::insert_into(telemetry_locks::table)
                .values((
                    telemetry_locks::event_type.eq(self.event_type),
                    telemetry_locks::period_ending_at.eq(self.period_ending_at),
                ))
                .on_conflict_do_nothing()
                .execute(db.conn())
                .await?;
            Ok(taken == 1)
        })
    }
}

/// A row of `telemetry_items`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = telemetry_items, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Item {
    pub key: String,
    pub value: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// What the last report said under a key.
#[derive(Debug)]
pub struct GetItem {
    /// Which.
    pub key: String,
}

impl Query for GetItem {
    const NAME: &'static str = "telemetry.get_item";
    type Out = Item;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Item> {
        Box::pin(async move {
            let row = telemetry_items::table.find(&self.key);
            Ok(row.select(Item::as_select()).first(db.conn()).await?)
        })
    }
}

/// Notes what a report says under a key, whether there was something before or not.
#[derive(Clone, Debug)]
pub struct UpsertItem {
    /// Which.
    pub key: String,
    /// From now on.
    pub value: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpsertItem {
    const NAME: &'static str = "telemetry.upsert_item";
    type Out = Change<Item>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Item>> {
        Box::pin(async move {
            let item = Item {
                key: self.key.clone(),
                value: self.value.clone(),
                created_at: self.now,
                updated_at: self.now,
            };
            // A row that is there is locked and yielded as it is.
            let (found, is_new): (Item, bool) = diesel::insert_into(telemetry_items::table)
                .values(&item)
                .on_conflict(telemetry_items::key)
                .do_update()
                .set(telemetry_items::key.eq(excluded(telemetry_items::key)))
                .returning((Item::as_returning(), sql::<Bool>(IS_NEW)))
                .get_result(db.conn())
                .await?;
            if is_new {
                return Ok(Change::created(found));
            }
            let new = diesel::update(telemetry_items::table.find(&self.key))
                .set((
                    telemetry_items::value.eq(&self.value),
                    telemetry_items::updated_at.eq(self.now),
                ))
                .returning(Item::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(found, new))
        })
    }
}

crate::queries![TakePeriod, GetItem, UpsertItem];
