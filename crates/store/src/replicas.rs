//! The servers of this deployment, each with its last sign of life. Rows of servers that are gone are purged.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::ReplicaId;
use time::OffsetDateTime;

use crate::Pk;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::replicas;

/// Most servers that a list returns.
const LIST_MAX: i64 = 1_000;

/// A server, as who reads asks about it.
const ANY: Object<'static> = Object::new(Resource::Replicas);

/// Replicas can only be read by a right of their own; to write the rows takes that on what belongs to nobody.
const INTERNAL: Object<'static> = Object::new(Resource::System);

/// A row of `replicas`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = replicas, check_for_backend(diesel::pg::Pg), treat_none_as_null = true)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Replica {
    pub id: Pk<ReplicaId>,
    pub created_at: OffsetDateTime,
    pub started_at: OffsetDateTime,
    /// Absent while it runs.
    pub stopped_at: Option<OffsetDateTime>,
    pub updated_at: OffsetDateTime,
    pub hostname: String,
    pub region_id: i32,
    pub relay_address: String,
    /// Microseconds.
    pub database_latency: i32,
    pub version: String,
    /// Why it does not serve as it should; empty if it does.
    pub error: String,
    pub primary: bool,
}

/// A server by its identifier.
#[derive(Debug)]
pub struct GetReplica {
    /// Which.
    pub id: ReplicaId,
}

impl Query for GetReplica {
    const NAME: &'static str = "replicas.get_replica";
    type Out = Replica;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY.id(self.id.uuid()))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Replica> {
        Box::pin(async move {
            Ok(replicas::table
                .find(Pk(self.id))
                .select(Replica::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// Servers that gave a sign of life after an instant and have not stopped, the longest running first; at most 1,000.
#[derive(Debug)]
pub struct ListReplicas {
    /// Later than this.
    pub updated_after: OffsetDateTime,
}

impl Query for ListReplicas {
    const NAME: &'static str = "replicas.list_replicas";
    type Out = Vec<Replica>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<Replica>> {
        Box::pin(async move {
            Ok(replicas::table
                .filter(replicas::updated_at.gt(self.updated_after))
                .filter(replicas::stopped_at.is_null())
                .order((replicas::started_at, replicas::id))
                .limit(LIST_MAX)
                .select(Replica::as_select())
                .load(db.conn())
                .await?)
        })
    }
}

/// Enters a server that starts.
#[derive(Clone, Debug)]
pub struct InsertReplica(pub Replica);

impl Query for InsertReplica {
    const NAME: &'static str = "replicas.insert_replica";
    type Out = Change<Replica>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, INTERNAL)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Replica>> {
        Box::pin(async move {
            let new = diesel::insert_into(replicas::table)
                .values(&self.0)
                .returning(Replica::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(new))
        })
    }
}

/// Replaces what a server said of itself, all but when it was made. [`Error::NotFound`](crate::Error::NotFound) if its
/// row was purged meanwhile: it was silent for too long and has to be entered again. A sign of life that comes late
/// does not take back a newer one: then the row stays as it is.
#[derive(Clone, Debug)]
pub struct UpdateReplica(pub Replica);

impl Query for UpdateReplica {
    const NAME: &'static str = "replicas.update_replica";
    type Out = Change<Replica>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, INTERNAL)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Replica>> {
        Box::pin(async move {
            let old: Replica = replicas::table
                .find(self.0.id)
                .select(Replica::as_select())
                .for_update()
                .first(db.conn())
                .await?;
            if old.updated_at > self.0.updated_at {
                return Ok(Change::updated(old.clone(), old));
            }
            let new = diesel::update(replicas::table.find(old.id))
                .set(Replica { created_at: old.created_at, ..self.0.clone() })
                .returning(Replica::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, new))
        })
    }
}

crate::queries![GetReplica, ListReplicas, InsertReplica, UpdateReplica];
