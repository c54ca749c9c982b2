//! The key pairs by which users' workspaces reach Git hosts, one of each user.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::Action;
use stdx::Secret;
use stdx::ids::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::gitsshkeys;
use crate::sealed::columns::GIT_SSH_KEY;
use crate::sealed::{Keys, Sealed};
use crate::users::object;
use crate::{Error, Pk};

#[derive(Queryable, Selectable)]
#[diesel(table_name = gitsshkeys, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    user_id: Pk<UserId>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    private_key: Sealed,
    private_key_key_id: Option<String>,
    public_key: String,
}

/// A key pair, in hand.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct GitSshKey {
    pub id: Uuid,
    pub user_id: UserId,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    /// PEM.
    pub private_key: Secret<String>,
    pub public_key: String,
}

impl Row {
    fn private_key(&self, keys: Keys<'_>) -> Result<Secret<String>, Error> {
        let key = self.private_key_key_id.as_deref();
        keys.open(GIT_SSH_KEY, self.id, &self.private_key, key)
    }

    fn open(self, keys: Keys<'_>) -> Result<GitSshKey, Error> {
        let private_key = self.private_key(keys)?;
        Ok(self.with(private_key))
    }

    fn with(self, private_key: Secret<String>) -> GitSshKey {
        GitSshKey {
            private_key,
            id: self.id,
            user_id: self.user_id.0,
            created_at: self.created_at,
            updated_at: self.updated_at,
            public_key: self.public_key,
        }
    }
}

async fn lock(db: &mut Db<'_>, user: UserId) -> Result<Row, Error> {
    Ok(gitsshkeys::table
        .filter(gitsshkeys::user_id.eq(Pk(user)))
        .select(Row::as_select())
        .for_update()
        .first(db.conn())
        .await?)
}

/// The key pair of a user.
#[derive(Debug)]
pub struct GetGitSshKey {
    /// Whose.
    pub user_id: UserId,
}

impl Query for GetGitSshKey {
    const NAME: &'static str = "git_ssh_keys.get_git_ssh_key";
    type Out = GitSshKey;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::ReadPersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, GitSshKey> {
        Box::pin(async move {
            let row: Row = gitsshkeys::table
                .filter(gitsshkeys::user_id.eq(Pk(self.user_id)))
                .select(Row::as_select())
                .first(db.conn())
                .await?;
            row.open(db.keys())
        })
    }
}

/// The first key pair of a user.
#[derive(Debug)]
pub struct InsertGitSshKey {
    /// Identifier.
    pub id: Uuid,
    /// Whose.
    pub user_id: UserId,
    /// PEM.
    pub private_key: Secret<String>,
    /// As in `authorized_keys`.
    pub public_key: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertGitSshKey {
    const NAME: &'static str = "git_ssh_keys.insert_git_ssh_key";
    type Out = Change<GitSshKey>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let sealed = db.keys().seal(GIT_SSH_KEY, self.id, &self.private_key)?;
            let row: Row = diesel::insert_into(gitsshkeys::table)
                .values((
                    gitsshkeys::id.eq(self.id),
                    gitsshkeys::user_id.eq(Pk(self.user_id)),
                    gitsshkeys::created_at.eq(self.now),
                    gitsshkeys::updated_at.eq(self.now),
                    gitsshkeys::private_key.eq(sealed.value),
                    gitsshkeys::private_key_key_id.eq(sealed.key_id),
                    gitsshkeys::public_key.eq(&self.public_key),
                ))
                .returning(Row::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(row.open(db.keys())?))
        })
    }
}

/// Replaces the key pair of a user.
#[derive(Debug)]
pub struct UpdateGitSshKey {
    /// Whose.
    pub user_id: UserId,
    /// PEM.
    pub private_key: Secret<String>,
    /// As in `authorized_keys`.
    pub public_key: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for UpdateGitSshKey {
    const NAME: &'static str = "git_ssh_keys.update_git_ssh_key";
    /// The old pair need not open to be replaced: then its private key is empty.
    type Out = Change<GitSshKey>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let old = lock(db, self.user_id).await?;
            let sealed = db.keys().seal(GIT_SSH_KEY, old.id, &self.private_key)?;
            let row: Row = diesel::update(gitsshkeys::table.find(old.id))
                .set((
                    gitsshkeys::updated_at.eq(self.now),
                    gitsshkeys::private_key.eq(sealed.value),
                    gitsshkeys::private_key_key_id.eq(sealed.key_id),
                    gitsshkeys::public_key.eq(&self.public_key),
                ))
                .returning(Row::as_returning())
                .get_result(db.conn())
                .await?;
            let was = old.private_key(db.keys()).unwrap_or_default();
            Ok(Change::updated(old.with(was), row.open(db.keys())?))
        })
    }
}

/// Deletes the key pair of a user; [`Error::NotFound`] if there is none.
#[derive(Debug)]
pub struct DeleteGitSshKey {
    /// Whose.
    pub user_id: UserId,
}

impl Query for DeleteGitSshKey {
    const NAME: &'static str = "git_ssh_keys.delete_git_ssh_key";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::UpdatePersonal, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let gone = diesel::delete(gitsshkeys::table)
                .filter(gitsshkeys::user_id.eq(Pk(self.user_id)))
                .execute(db.conn())
                .await?;
            if gone == 0 { Err(Error::NotFound) } else { Ok(()) }
        })
    }
}

crate::queries![GetGitSshKey, InsertGitSshKey, UpdateGitSshKey, DeleteGitSshKey];
