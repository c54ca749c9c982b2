//! Licences, signed by who sells them. They belong to the deployment: who may read one may read all.

use std::fmt;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::licenses;

/// Most licences that a list returns.
const LIST_MAX: i64 = 1_000;

/// Licences are numbered, so rules cannot name one.
const ANY: Object<'static> = Object::new(Resource::License);

/// A row of `licenses`. The database gives the number.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = licenses, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct License {
    pub id: i32,
    pub uuid: Uuid,
    pub uploaded_at: OffsetDateTime,
    pub jwt: String,
    pub exp: OffsetDateTime,
}

/// The signed text opens features for whoever has it.
impl fmt::Debug for License {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("License")
            .field("id", &self.id)
            .field("uuid", &self.uuid)
            .finish_non_exhaustive()
    }
}

/// Stores a licence whose signature and claims the caller has checked. A text is stored once only.
#[derive(Clone)]
pub struct InsertLicense {
    /// The claim that tells licences apart, or a new identifier.
    pub uuid: Uuid,
    /// When.
    pub now: OffsetDateTime,
    /// The signed text.
    pub jwt: String,
    /// The claim of that name: when it ends.
    pub exp: OffsetDateTime,
}

impl fmt::Debug for InsertLicense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InsertLicense").field("uuid", &self.uuid).finish_non_exhaustive()
    }
}

impl Query for InsertLicense {
    const NAME: &'static str = "licenses.insert_license";
    type Out = Change<License>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<License>> {
        Box::pin(async move {
            let new = diesel::insert_into(licenses::table)
                .values((
                    licenses::uuid.eq(self.uuid),
                    licenses::uploaded_at.eq(self.now),
                    licenses::jwt.eq(&self.jwt),
                    licenses::exp.eq(self.exp),
                ))
                .returning(License::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(new))
        })
    }
}

/// A licence by its number.
#[derive(Debug)]
pub struct GetLicense {
    /// Which.
    pub id: i32,
}

impl Query for GetLicense {
    const NAME: &'static str = "licenses.get_license";
    type Out = License;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, License> {
        Box::pin(async move {
            Ok(licenses::table.find(self.id).select(License::as_select()).first(db.conn()).await?)
        })
    }
}

/// Licences by number, oldest first; at most 1,000.
#[derive(Debug)]
pub struct ListLicenses {
    /// Leave out what ended at this instant or before; `None` keeps all.
    pub live_at: Option<OffsetDateTime>,
}

impl Query for ListLicenses {
    const NAME: &'static str = "licenses.list_licenses";
    type Out = Vec<License>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<License>> {
        Box::pin(async move {
            let mut query = licenses::table
                .order(licenses::id)
                .limit(LIST_MAX)
                .select(License::as_select())
                .into_boxed();
            if let Some(now) = self.live_at {
                query = query.filter(licenses::exp.gt(now));
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// Takes a licence away.
#[derive(Debug)]
pub struct DeleteLicense {
    /// Which.
    pub id: i32,
}

impl Query for DeleteLicense {
    const NAME: &'static str = "licenses.delete_license";
    type Out = Change<License>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<License>> {
        Box::pin(async move {
            let old = diesel::delete(licenses::table.find(self.id))
                .returning(License::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::deleted(old))
        })
    }
}

crate::queries![InsertLicense, GetLicense, ListLicenses, DeleteLicense];
