//! Secrets that users put into workspaces, as a variable, a file, or by name.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::Secret;
use stdx::ids::{UserId, UserSecretId};
use time::OffsetDateTime;

use crate::Pk;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::{user_secrets, users};
use crate::sealed::columns::USER_SECRET;
use crate::sealed::{Keys, Sealed};

/// Most secrets of one user that are read.
pub const SECRETS_MAX: i64 = 1_000;

/// A row of `user_secrets`, without the value.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = user_secrets, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct SecretInfo {
    pub id: Pk<UserSecretId>,
    pub user_id: Pk<UserId>,
    pub name: String,
    pub description: String,
    pub env_name: String,
    pub file_path: String,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

type Row = (SecretInfo, Sealed, Option<String>);

/// A secret, in hand.
#[derive(Clone, Debug)]
pub struct UserSecret {
    /// All but the value.
    pub info: SecretInfo,
    /// The value; empty if it cannot be opened.
    pub value: Secret<String>,
    /// Why it cannot be opened.
    pub fault: Option<String>,
}

fn open((info, value, key_id): Row, keys: Keys<'_>) -> UserSecret {
    match keys.open(USER_SECRET, info.id.0.uuid(), &value, key_id.as_deref()) {
        Ok(value) => UserSecret { info, value, fault: None },
        Err(error) => {
            let fault = Some(stdx::chain(&error).to_string());
            UserSecret { info, value: Secret::default(), fault }
        }
    }
}

type Columns = (
    diesel::helper_types::AsSelect<SecretInfo, diesel::pg::Pg>,
    user_secrets::value,
    user_secrets::value_key_id,
);

fn columns() -> Columns {
    (SecretInfo::as_select(), user_secrets::value, user_secrets::value_key_id)
}

const fn object(owner: UserId) -> Object<'static> {
    Object::new(Resource::UserSecret).owner(owner)
}

/// A secret by its name. One that cannot be opened is an error.
#[derive(Debug)]
pub struct GetUserSecret {
    /// Whose.
    pub user_id: UserId,
    /// Its name, exact.
    pub name: String,
}

impl Query for GetUserSecret {
    const NAME: &'static str = "user_secrets.get_user_secret";
    type Out = UserSecret;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, UserSecret> {
        Box::pin(async move {
            let (info, value, key_id): Row = user_secrets::table
                .filter(user_secrets::user_id.eq(Pk(self.user_id)))
                .filter(user_secrets::name.eq(&self.name))
                .select(columns())
                .first(db.conn())
                .await?;
            let id = info.id.0.uuid();
            let value = db.keys().open(USER_SECRET, id, &value, key_id.as_deref())?;
            Ok(UserSecret { info, value, fault: None })
        })
    }
}

/// What a user's secrets are called and where they go, by name; at most [`SECRETS_MAX`]. Values stay where they are.
#[derive(Debug)]
pub struct ListUserSecrets {
    /// Whose.
    pub user_id: UserId,
}

impl Query for ListUserSecrets {
    const NAME: &'static str = "user_secrets.list_user_secrets";
    type Out = Vec<SecretInfo>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(user_secrets::table
                .filter(user_secrets::user_id.eq(Pk(self.user_id)))
                .order((user_secrets::name, user_secrets::id))
                .limit(SECRETS_MAX)
                .select(SecretInfo::as_select())
                .load(db.conn())
                .await?)
        })
    }
}

/// A user's secrets with their values, for what is put into workspaces; by name, at most [`SECRETS_MAX`]. One that
/// cannot be opened says so and does not keep the others back.
#[derive(Debug)]
pub struct ListValues {
    /// Whose.
    pub user_id: UserId,
}

impl Query for ListValues {
    const NAME: &'static str = "user_secrets.list_values";
    type Out = Vec<UserSecret>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let rows: Vec<Row> = user_secrets::table
                .filter(user_secrets::user_id.eq(Pk(self.user_id)))
                .order((user_secrets::name, user_secrets::id))
                .limit(SECRETS_MAX)
                .select(columns())
                .load(db.conn())
                .await?;
            let keys = db.keys();
            Ok(rows.into_iter().map(|row| open(row, keys)).collect())
        })
    }
}

/// A secret to be kept for a live user.
#[derive(Debug)]
pub struct InsertUserSecret {
    /// Identifier.
    pub id: UserSecretId,
    /// Whose.
    pub user_id: UserId,
    /// Unique among the user's; at most 256 characters.
    pub name: String,
    /// For people.
    pub description: String,
    /// The value.
    pub value: Secret<String>,
    /// The variable that holds it in workspaces; empty for none.
    pub env_name: String,
    /// The file that holds it in workspaces; empty for none.
    pub file_path: String,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertUserSecret {
    const NAME: &'static str = "user_secrets.insert_user_secret";
    type Out = Change<UserSecret>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            // Held to the end: what is kept for a user who is deleted meanwhile would outlive the account.
            users::table
                .find(Pk(self.user_id))
                .filter(users::deleted.eq(false))
                .select(users::id)
                .for_share()
                .first::<Pk<UserId>>(db.conn())
                .await?;
            let sealed = db.keys().seal(USER_SECRET, self.id.uuid(), &self.value)?;
            let row: Row = diesel::insert_into(user_secrets::table)
                .values((
                    user_secrets::id.eq(Pk(self.id)),
                    user_secrets::user_id.eq(Pk(self.user_id)),
                    user_secrets::name.eq(&self.name),
                    user_secrets::description.eq(&self.description),
                    user_secrets::value.eq(sealed.value),
                    user_secrets::value_key_id.eq(sealed.key_id),
                    user_secrets::env_name.eq(&self.env_name),
                    user_secrets::file_path.eq(&self.file_path),
                    user_secrets::created_at.eq(self.now),
                    user_secrets::updated_at.eq(self.now),
                ))
                .returning(columns())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(open(row, db.keys())))
        })
    }
}

/// Changes a secret. What is `None` stays as it is.
#[derive(Debug)]
pub struct UpdateUserSecret {
    /// Whose.
    pub user_id: UserId,
    /// Its name, exact. It is not changed.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// The value.
    pub value: Option<Secret<String>>,
    /// The variable that holds it in workspaces; empty for none.
    pub env_name: Option<String>,
    /// The file that holds it in workspaces; empty for none.
    pub file_path: Option<String>,
    /// When.
    pub now: OffsetDateTime,
}

#[derive(AsChangeset)]
#[diesel(table_name = user_secrets)]
struct Changes<'a> {
    description: Option<&'a str>,
    env_name: Option<&'a str>,
    file_path: Option<&'a str>,
    updated_at: OffsetDateTime,
}

impl Query for UpdateUserSecret {
    const NAME: &'static str = "user_secrets.update_user_secret";
    type Out = Change<UserSecret>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let old: Row = user_secrets::table
                .filter(user_secrets::user_id.eq(Pk(self.user_id)))
                .filter(user_secrets::name.eq(&self.name))
                .select(columns())
                .for_update()
                .first(db.conn())
                .await?;
            let id = old.0.id;
            if let Some(value) = &self.value {
                let sealed = db.keys().seal(USER_SECRET, id.0.uuid(), value)?;
                diesel::update(user_secrets::table.find(id))
                    .set((
                        user_secrets::value.eq(sealed.value),
                        user_secrets::value_key_id.eq(sealed.key_id),
                    ))
                    .execute(db.conn())
                    .await?;
            }
            let new: Row = diesel::update(user_secrets::table.find(id))
                .set(Changes {
                    description: self.description.as_deref(),
                    env_name: self.env_name.as_deref(),
                    file_path: self.file_path.as_deref(),
                    updated_at: self.now,
                })
                .returning(columns())
                .get_result(db.conn())
                .await?;
            let keys = db.keys();
            Ok(Change::updated(open(old, keys), open(new, keys)))
        })
    }
}

/// Deletes a secret for good.
#[derive(Debug)]
pub struct DeleteUserSecret {
    /// Whose.
    pub user_id: UserId,
    /// Its name, exact.
    pub name: String,
}

impl Query for DeleteUserSecret {
    const NAME: &'static str = "user_secrets.delete_user_secret";
    type Out = Change<UserSecret>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let row: Row = diesel::delete(user_secrets::table)
                .filter(user_secrets::user_id.eq(Pk(self.user_id)))
                .filter(user_secrets::name.eq(&self.name))
                .returning(columns())
                .get_result(db.conn())
                .await?;
            Ok(Change::deleted(open(row, db.keys())))
        })
    }
}

crate::queries![
    GetUserSecret,
    ListUserSecrets,
    ListValues,
    InsertUserSecret,
    UpdateUserSecret,
    DeleteUserSecret,
];
