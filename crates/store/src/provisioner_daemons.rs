//! Daemons that run jobs of organizations, as they were last seen.

use std::collections::HashMap;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Timestamptz};
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use serde_json::Value;
use stdx::ids::{OrganizationId, ProvisionerDaemonId, ProvisionerKeyId, ReplicaId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::rows::{Rows, Terms};
use crate::schema::{provisioner_daemons, provisioner_jobs};
use crate::{Error, Pk};

/// Most daemons that a list returns.
pub const LIST_MAX: i64 = 1_000;

/// What tells daemons apart: the expressions of their unique index.
const NAMED: &str = "(organization_id, name, lower(coalesce(tags ->> 'owner', '')))";

/// A job that somebody works on.
const UNDER_WAY: [&str; 2] = ["running", "canceling"];

diesel::define_sql_function! {
    /// The later one; an absent one is before all others.
    fn greatest(one: Nullable<Timestamptz>, other: Nullable<Timestamptz>) -> Nullable<Timestamptz>;
}

/// A row of `provisioner_daemons`.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = provisioner_daemons, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct ProvisionerDaemon {
    pub id: Pk<ProvisionerDaemonId>,
    pub created_at: OffsetDateTime,
    pub name: String,
    pub provisioners: Vec<String>,
    pub replica_id: Option<Pk<ReplicaId>>,
    /// An object of texts. `scope` is `organization`, or `user` with the id of one in `owner`.
    pub tags: Value,
    pub last_seen_at: Option<OffsetDateTime>,
    pub version: String,
    pub api_version: String,
    pub organization_id: Pk<OrganizationId>,
    pub key_id: Pk<ProvisionerKeyId>,
}

impl ProvisionerDaemon {
    /// The object that rules speak of. A daemon belongs to its organization, also one that works for one user.
    #[must_use]
    pub const fn object(&self) -> Object<'static> {
        within(self.organization_id.0).id(self.id.0.uuid())
    }

    /// The user that it works for alone; `None` for a daemon of its organization.
    #[must_use]
    pub fn works_for(&self) -> Option<UserId> {
        let tag = |name| self.tags.get(name).and_then(Value::as_str);
        if tag("scope") == Some("user") { tag("owner")?.parse().ok() } else { None }
    }
}

const fn within(organization: OrganizationId) -> Object<'static> {
    Object::new(Resource::ProvisionerDaemon).in_org(organization)
}

const TERMS: Terms<provisioner_daemons::table> = Terms {
    id: Some(|ids| Box::new(provisioner_daemons::id.eq_any(ids))),
    org: Some(|orgs| Box::new(provisioner_daemons::organization_id.eq_any(orgs))),
    ..Terms::NONE
};

/// Notes that a daemon registered. One of its name and of the same owner in the organization is the same daemon: it
/// keeps its id and the time of its creation, and its last sign of life does not go backwards. Who registers a daemon
/// that works for one user needs the right to make one for that user; any other takes the right of the organization.
#[derive(Clone, Debug)]
pub struct UpsertProvisionerDaemon(pub ProvisionerDaemon);

impl Query for UpsertProvisionerDaemon {
    const NAME: &'static str = "provisioner_daemons.upsert_provisioner_daemon";
    type Out = ProvisionerDaemon;

    fn access(&self) -> Access<Self> {
        let place = within(self.0.organization_id.0);
        let object = self.0.works_for().map_or(place, |user| place.owner(user));
        Access::Before(vec![check(Action::Create, object)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ProvisionerDaemon> {
        use provisioner_daemons as d;
        Box::pin(async move {
            Ok(diesel::insert_into(d::table)
                .values(&self.0)
                .on_conflict(sql::<Bool>(NAMED))
                .do_update()
                .set((
                    d::provisioners.eq(excluded(d::provisioners)),
                    d::replica_id.eq(excluded(d::replica_id)),
                    d::tags.eq(excluded(d::tags)),
                    d::last_seen_at.eq(greatest(d::last_seen_at, excluded(d::last_seen_at))),
                    d::version.eq(excluded(d::version)),
                    d::api_version.eq(excluded(d::api_version)),
                    d::key_id.eq(excluded(d::key_id)),
                ))
                .returning(ProvisionerDaemon::as_returning())
                .get_result(db.conn())
                .await?)
        })
    }
}

/// Which daemons a list is about. Absent fields do not narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this organization.
    pub organization_id: Option<OrganizationId>,
    /// With all of these tags and perhaps more; an object of texts.
    pub tags: Option<Value>,
    /// Only these.
    pub ids: Option<Vec<ProvisionerDaemonId>>,
}

async fn list(db: &mut Db<'_>, rows: &Rows, by: &Filter) -> Result<Vec<ProvisionerDaemon>, Error> {
    let mut query = provisioner_daemons::table
        .order((provisioner_daemons::created_at, provisioner_daemons::id))
        .limit(LIST_MAX)
        .select(ProvisionerDaemon::as_select())
        .into_boxed();
    if let Some(readable) = rows.condition(&TERMS) {
        query = query.filter(readable);
    }
    if let Some(organization) = by.organization_id {
        query = query.filter(provisioner_daemons::organization_id.eq(Pk(organization)));
    }
    if let Some(tags) = &by.tags {
        query = query.filter(provisioner_daemons::tags.contains(tags));
    }
    if let Some(ids) = &by.ids {
        let ids: Vec<Pk<ProvisionerDaemonId>> = ids.iter().copied().map(Pk).collect();
        query = query.filter(provisioner_daemons::id.eq_any(ids));
    }
    Ok(query.load(db.conn()).await?)
}

/// Daemons that the subject may read, oldest first; at most [`LIST_MAX`].
#[derive(Debug, Default)]
pub struct ListProvisionerDaemons {
    /// Which.
    pub filter: Filter,
}

impl Query for ListProvisionerDaemons {
    const NAME: &'static str = "provisioner_daemons.list_provisioner_daemons";
    type Out = Vec<ProvisionerDaemon>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::ProvisionerDaemon, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move { list(db, &permit.into_rows(), &self.filter).await })
    }
}

/// What a daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for work.
    Idle,
    /// It works on a job.
    Busy,
    /// It was not seen for too long.
    Offline,
}

impl Status {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Offline => "offline",
        }
    }
}

/// A daemon and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonWithStatus {
    /// The daemon.
    pub daemon: ProvisionerDaemon,
    /// What it does.
    pub status: Status,
    /// The job that names it as its worker and is not over; also of a daemon that went offline over it.
    pub current_job: Option<Uuid>,
}

/// As [`ListProvisionerDaemons`], with what each daemon does.
#[derive(Debug)]
pub struct ListWithStatus {
    /// Which.
    pub filter: Filter,
    /// A daemon that was last seen before this, or never, is offline.
    pub seen_since: OffsetDateTime,
}

impl Query for ListWithStatus {
    const NAME: &'static str = "provisioner_daemons.list_with_status";
    type Out = Vec<DaemonWithStatus>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::ProvisionerDaemon, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let daemons = list(db, &permit.into_rows(), &self.filter).await?;
            let ids: Vec<Pk<ProvisionerDaemonId>> =
                daemons.iter().map(|daemon| daemon.id).collect();
            let mut jobs = provisioner_jobs::table
                .filter(provisioner_jobs::worker_id.assume_not_null().eq_any(ids))
                .filter(provisioner_jobs::job_status.eq_any(UNDER_WAY))
                .order((provisioner_jobs::started_at, provisioner_jobs::id))
                .select((provisioner_jobs::worker_id.assume_not_null(), provisioner_jobs::id))
                .into_boxed();
            if let Some(organization) = self.filter.organization_id {
                jobs = jobs.filter(provisioner_jobs::organization_id.eq(Pk(organization)));
            }
            // Oldest first: should a daemon have two, the newer one stays.
            let jobs: Vec<(Uuid, Uuid)> = jobs.load(db.conn()).await?;
            let jobs: HashMap<Uuid, Uuid> = jobs.into_iter().collect();
            let with_status = |daemon: ProvisionerDaemon| {
                let current_job = jobs.get(&daemon.id.0.uuid()).copied();
                let seen = daemon.last_seen_at.is_some_and(|seen| seen >= self.seen_since);
                let status = match (seen, current_job) {
                    (false, _) => Status::Offline,
                    (true, Some(_)) => Status::Busy,
                    (true, None) => Status::Idle,
                };
                DaemonWithStatus { daemon, status, current_job }
            };
            Ok(daemons.into_iter().map(with_status).collect())
        })
    }
}

/// Notes that a daemon was seen. An earlier time than the known one changes nothing.
#[derive(Debug)]
pub struct TouchProvisionerDaemon {
    /// Which.
    pub id: ProvisionerDaemonId,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for TouchProvisionerDaemon {
    const NAME: &'static str = "provisioner_daemons.touch_provisioner_daemon";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(async move {
                let daemon: ProvisionerDaemon = provisioner_daemons::table
                    .find(Pk(query.id))
                    .select(ProvisionerDaemon::as_select())
                    .for_update()
                    .first(db.conn())
                    .await?;
                Ok(vec![check(Action::Update, daemon.object())])
            })
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        use provisioner_daemons as d;
        Box::pin(async move {
            diesel::update(d::table.find(Pk(self.id)))
                .set(d::last_seen_at.eq(greatest(d::last_seen_at, Some(self.now))))
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

crate::queries![
    UpsertProvisionerDaemon,
    ListProvisionerDaemons,
    ListWithStatus,
    TouchProvisionerDaemon,
];
