//! Secrets by which confidential OAuth2 clients prove who they are.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::{Oauth2AppId, Oauth2SecretId};
use time::OffsetDateTime;

use crate::Pk;
use crate::oauth2_apps::USE_GRANULARITY;
use crate::oauth2_tokens::{Ended, keys_of_secret};
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::rows::Terms;
use crate::schema::oauth2_provider_app_secrets as secrets;

/// Most secrets that a list returns.
const LIST_MAX: i64 = 1_000;

const ANY: Object<'static> = Object::new(Resource::Oauth2AppSecret);

const fn object(id: Oauth2SecretId) -> Object<'static> {
    ANY.id(id.uuid())
}

const TERMS: Terms<secrets::table> =
    Terms { id: Some(|ids| Box::new(secrets::id.eq_any(ids))), ..Terms::NONE };

/// A row of `oauth2_provider_app_secrets` with all that may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = secrets, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct AppSecret {
    pub id: Pk<Oauth2SecretId>,
    pub created_at: OffsetDateTime,
    pub last_used_at: Option<OffsetDateTime>,
    pub display_secret: String,
    pub app_id: Pk<Oauth2AppId>,
}

/// The whole row. Only who makes or checks a secret has it in hand.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = secrets, check_for_backend(diesel::pg::Pg))]
pub struct HashedAppSecret {
    /// What may be shown.
    #[diesel(embed)]
    pub secret: AppSecret,
    /// By which it is found; unique.
    pub secret_prefix: Vec<u8>,
    /// SHA-256; 32 bytes.
    pub hashed_secret: Vec<u8>,
}

/// Stores a secret. Its prefix must be new.
#[derive(Clone, Debug)]
pub struct InsertSecret(pub HashedAppSecret);

impl Query for InsertSecret {
    const NAME: &'static str = "oauth2_secrets.insert_secret";
    type Out = Change<AppSecret>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let new = diesel::insert_into(secrets::table)
                .values(&self.0)
                .returning(AppSecret::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(new))
        })
    }
}

/// A secret by its identifier, without its hash.
#[derive(Debug)]
pub struct GetSecret {
    /// Which.
    pub id: Oauth2SecretId,
}

impl Query for GetSecret {
    const NAME: &'static str = "oauth2_secrets.get_secret";
    type Out = AppSecret;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, AppSecret> {
        Box::pin(async move {
            let row = secrets::table.find(Pk(self.id));
            Ok(row.select(AppSecret::as_select()).first(db.conn()).await?)
        })
    }
}

/// Secrets of a client that the subject may read, oldest first, without their hashes; at most 1,000.
#[derive(Debug)]
pub struct ListSecrets {
    /// Whose.
    pub app_id: Oauth2AppId,
}

impl Query for ListSecrets {
    const NAME: &'static str = "oauth2_secrets.list_secrets";
    type Out = Vec<AppSecret>;

    fn access(&self) -> Access<Self> {
        Access::Rows(Resource::Oauth2AppSecret, Action::Read)
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, permit: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let mut query = secrets::table
                .filter(secrets::app_id.eq(Pk(self.app_id)))
                .order((secrets::created_at, secrets::id))
                .limit(LIST_MAX)
                .select(AppSecret::as_select())
                .into_boxed();
            if let Some(readable) = permit.into_rows().condition(&TERMS) {
                query = query.filter(readable);
            }
            Ok(query.load(db.conn()).await?)
        })
    }
}

/// The secret with this prefix, if there is one. For who checks a presented secret: whose it is has to be compared,
/// too.
#[derive(Debug)]
pub struct FindSecret {
    /// The part of what was presented that is no secret.
    pub secret_prefix: Vec<u8>,
}

impl Query for FindSecret {
    const NAME: &'static str = "oauth2_secrets.find_secret";
    type Out = Option<HashedAppSecret>;

    fn access(&self) -> Access<Self> {
        // Which one it is, is the question: it takes the right to read all of them.
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(secrets::table
                .filter(secrets::secret_prefix.eq(&self.secret_prefix))
                .select(HashedAppSecret::as_select())
                .first(db.conn())
                .await
                .optional()?)
        })
    }
}

/// Notes that a secret was used, to the minute. Nothing happens to one that is not there.
#[derive(Debug)]
pub struct TouchSecret {
    /// Which.
    pub id: Oauth2SecretId,
    /// When it was used.
    pub now: OffsetDateTime,
}

impl Query for TouchSecret {
    const NAME: &'static str = "oauth2_secrets.touch_secret";
    type Out = ();

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, ()> {
        Box::pin(async move {
            let is_behind = secrets::last_used_at
                .is_null()
                .or(secrets::last_used_at.assume_not_null().le(self.now - USE_GRANULARITY));
            diesel::update(secrets::table.find(Pk(self.id)))
                .filter(is_behind)
                .set(secrets::last_used_at.eq(self.now))
                .execute(db.conn())
                .await?;
            Ok(())
        })
    }
}

/// Deletes a secret, and ends the tokens that were obtained with it.
#[derive(Debug)]
pub struct DeleteSecret {
    /// Which.
    pub id: Oauth2SecretId,
}

impl Query for DeleteSecret {
    const NAME: &'static str = "oauth2_secrets.delete_secret";
    type Out = Ended<Change<AppSecret>>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            // While it is locked nothing more is issued for it: the keys are all that there are.
            let old = secrets::table
                .find(Pk(self.id))
                .select(AppSecret::as_select())
                .for_update()
                .first(db.conn())
                .await?;
            let api_keys = keys_of_secret(db, old.id).await?;
            diesel::delete(secrets::table.find(old.id)).execute(db.conn()).await?;
            Ok(Ended { what: Change::deleted(old), api_keys })
        })
    }
}

crate::queries![InsertSecret, GetSecret, ListSecrets, FindSecret, TouchSecret, DeleteSecret];
