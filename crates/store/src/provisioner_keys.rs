//! The keys by which provisioner daemons prove which organization they work for.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use serde_json::Value;
use stdx::ids::{OrganizationId, ProvisionerKeyId};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::provisioner_keys;
use crate::users::lower;
use crate::{Constraint, Error, Pk};

/// Most keys that a list returns.
const LIST_MAX: i64 = 10_000;

/// Rows that stand for the ways in which a daemon is let in without a key of its own, and their names. They are not
/// listed and cannot be deleted; nobody else may take the names.
pub const RESERVED: [(ProvisionerKeyId, &str); 3] = [
    (ProvisionerKeyId::new(Uuid::from_u128(1)), "built-in"),
    (ProvisionerKeyId::new(Uuid::from_u128(2)), "user-auth"),
    (ProvisionerKeyId::new(Uuid::from_u128(3)), "psk"),
];

/// A row of `provisioner_keys`. The hash is for who checks a presented secret, and never shown.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = provisioner_keys, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct ProvisionerKey {
    pub id: Pk<ProvisionerKeyId>,
    pub created_at: OffsetDateTime,
    pub organization_id: Pk<OrganizationId>,
    pub name: String,
    pub hashed_secret: Vec<u8>,
    pub tags: Value,
}

impl ProvisionerKey {
    /// The object that rules speak of: keys are decided about like the daemons that use them.
    #[must_use]
    pub const fn object(&self) -> Object<'static> {
        within(self.organization_id.0).id(self.id.0.uuid())
    }
}

const fn within(organization: OrganizationId) -> Object<'static> {
    Object::new(Resource::ProvisionerDaemon).in_org(organization)
}

const TERMS: Terms<provisioner_keys::table> = Terms {
    id: Some(|ids| Box::new(provisioner_keys::id.eq_any(ids))),
    org: Some(|orgs| Box::new(provisioner_keys::organization_id.eq_any(orgs))),
    ..Terms::NONE
};

/// Stores a key. Its name must be new in the organization, whatever its case; those of [`RESERVED`] are taken in every
/// organization.
#[derive(Clone, Debug)]
pub struct InsertProvisionerKey(pub ProvisionerKey);

impl Query for InsertProvisionerKey {
    const NAME: &'static str = "provisioner_keys.insert_provisioner_key";
    type Out = Change<ProvisionerKey>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, self.0.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<ProvisionerKey>> {
        Box::pin(async move {
            if RESERVED.iter().any(|(_, name)| name.eq_ignore_ascii_case(&self.0.name)) {
                return Err(Error::Conflict(Constraint::ProvisionerKeysOrganizationNameLowerKey));
            }
            let new = diesel::insert_into(provisioner_keys::table)
                .values(&self.0)
                .returning(ProvisionerKey::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(new))
        })
    }
}

/// Stores the rows of [`RESERVED`] that are missing, and yields those. Several servers may do so at once.
#[derive(Clone, Debug)]
pub struct InsertReservedKeys {
    /// Where they are kept: the default organization. Their daemons may work for any.
    pub organization_id: OrganizationId,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertReservedKeys {
    const NAME: &'static str = "provisioner_keys.insert_reserved_keys";
    type Out = Vec<Change<ProvisionerKey>>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, within(self.organization_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = RESERVED.map(|(id, name)| ProvisionerKey {
                id: Pk(id),
                created_at: self.now,
                organization_id: Pk(self.organization_id),
                name: name.to_owned(),
                // The hash of nothing that can be presented; who looks for one does not look at these rows either.
                hashed_secret: Vec::new(),
                tags: Value::Object(serde_json::Map::new()),
            });
            // Not on any conflict: a name that somebody else has must not go unnoticed.
            let made: Vec<ProvisionerKey> = diesel::insert_into(provisioner_keys::table)
                .values(rows.as_slice())
                .on_conflict(provisioner_keys::id)
                .do_nothing()
                .returning(ProvisionerKey::as_returning())
                .get_results(db.conn())
                .await?;
            Ok(made.into_iter().map(Change::created).collect())
        })
    }
}

/// A key by its identifier.
#[derive(Debug)]
pub struct GetProvisionerKey {
    /// Which.
    pub id: ProvisionerKeyId,
}

impl Query for GetProvisionerKey {
    const NAME: &'static str = "provisioner_keys.get_provisioner_key";
    type Out = ProvisionerKey;

    fn access(&self) -> Access<Self> {
        Access::After(|key: &ProvisionerKey| vec![check(Action::Read, key.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ProvisionerKey> {
        Box::pin(async move {
            Ok(provisioner_keys::table
                .find(Pk(self.id))
                .select(ProvisionerKey::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// A key by its name, ignoring case.
#[derive(Debug)]
pub struct GetProvisionerKeyByName {
    /// Where.
    pub organization_id: OrganizationId,
    /// Its name.
    pub name: String,
}

impl Query for GetProvisionerKeyByName {
    const NAME: &'static str = "provisioner_keys.get_provisioner_key_by_name";
    type Out = ProvisionerKey;

    fn access(&self) -> Access<Self> {
        Access::After(|key: &ProvisionerKey| vec![check(Action::Read, key.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ProvisionerKey> {
        Box::pin(async move {
            Ok(provisioner_keys::table
                .filter(provisioner_keys::organization_id.eq(Pk(self.organization_id)))
                .filter(lower(provisioner_keys::name).eq(self.name.to_lowercase()))
                .select(ProvisionerKey::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// The key with this hash, if there is one. For who checks a presented secret: it takes the right to read the keys
/// of all organizations, because which one it is of is the question.
#[derive(Debug)]
pub struct FindProvisionerKeyByHash {
    /// SHA-256 of what was presented.
    pub hashed_secret: Vec<u8>,
}

impl Query for FindProvisionerKeyByHash {
    const NAME: &'static str = "provisioner_keys.find_provisioner_key_by_hash";
    type Out = Option<ProvisionerKey>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, Object::new(Resource::ProvisionerDaemon))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(provisioner_keys::table
                .filter(provisioner_keys::hashed_secret.eq(&self.hashed_secret))
                .filter(provisioner_keys::id.ne_all(reserved()))
                .select(ProvisionerKey::as_select())
                .first(db.conn())
                .await
                .optional()?)
        })
    }
}

/// Keys of an organization that the subject may read, oldest first, without the reserved ones; at most 10,000.
#[derive(Debug)]
pub struct ListProvisionerKeys {
    /// Whose.
    pub organization_id: OrganizationId,
}

impl Query for ListProvisionerKeys {
    const NAME: &'static str = "provisioner_keys.list_provisioner_keys";
    type Out = Vec<ProvisionerKey>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::ProvisionerDaemon, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows = permit.into_rows();
            let mut query = provisioner_keys::table
                .filter(provisioner_keys::organization_id.eq(Pk(self.organization_id)))
                .filter(provisioner_keys::id.ne_all(reserved()))
                .order((provisioner_keys::created_at, provisioner_keys::id))
                .limit(LIST_MAX)
                .select(ProvisionerKey::as_select())
                .into_boxed();
            if let Some(readable) = rows.condition(&TERMS) {
                query = query.filter(readable);
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// Deletes a key, and with it what is known of the daemons that used it. A reserved one is not found.
#[derive(Debug)]
pub struct DeleteProvisionerKey {
    /// Which.
    pub id: ProvisionerKeyId,
}

impl Query for DeleteProvisionerKey {
    const NAME: &'static str = "provisioner_keys.delete_provisioner_key";
    type Out = Change<ProvisionerKey>;

    fn access(&self) -> Access<Self> {
        Access::Load(|query, db| {
            Box::pin(
                async move { Ok(vec![check(Action::Delete, lock(db, query.id).await?.object())]) },
            )
        })
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<ProvisionerKey>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            diesel::delete(provisioner_keys::table.find(old.id)).execute(db.conn()).await?;
            Ok(Change::deleted(old))
        })
    }
}

async fn lock(db: &mut Db<'_>, id: ProvisionerKeyId) -> Result<ProvisionerKey, Error> {
    Ok(provisioner_keys::table
        .find(Pk(id))
        .filter(provisioner_keys::id.ne_all(reserved()))
        .select(ProvisionerKey::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

pub(crate) fn reserved() -> [Pk<ProvisionerKeyId>; 3] {
    RESERVED.map(|(id, _)| Pk(id))
}

crate::queries![
    InsertProvisionerKey,
    InsertReservedKeys,
    GetProvisionerKey,
    GetProvisionerKeyByName,
    FindProvisionerKeyByHash,
    ListProvisionerKeys,
    DeleteProvisionerKey,
];
