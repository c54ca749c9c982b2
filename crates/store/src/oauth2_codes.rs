//! OAuth2 authorization codes. One that was used stays until it expires, so that a second use is noticed.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::{Oauth2AppId, Oauth2CodeId, Oauth2GrantId, UserId};
use time::OffsetDateTime;

use crate::oauth2_grants::{lock_live, lock_live_of, of};
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::oauth2_provider_app_codes as codes;
use crate::{Error, Pk};

/// A row of `oauth2_provider_app_codes` without its hash.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = codes, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Code {
    pub id: Pk<Oauth2CodeId>,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub consumed_at: Option<OffsetDateTime>,
    pub app_id: Pk<Oauth2AppId>,
    pub user_id: Pk<UserId>,
    pub grant_id: Pk<Oauth2GrantId>,
    /// Separated by spaces; not empty.
    pub scope: String,
    pub resource_uri: Option<String>,
    pub code_challenge: Option<String>,
    /// `S256` or `plain`.
    pub code_challenge_method: Option<String>,
    pub state_hash: Option<String>,
    /// Only if the request named one.
    pub redirect_uri: Option<String>,
}

/// The whole row. Only who makes or checks a code has it in hand.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = codes, check_for_backend(diesel::pg::Pg))]
pub struct HashedCode {
    /// Everything else.
    #[diesel(embed)]
    pub code: Code,
    /// By which it is found; unique.
    pub secret_prefix: Vec<u8>,
    /// SHA-256; 32 bytes.
    pub hashed_secret: Vec<u8>,
}

/// Stores a code under a live grant of its user to its client. Its prefix must be new.
#[derive(Clone, Debug)]
pub struct InsertCode(pub HashedCode);

impl Query for InsertCode {
    const NAME: &'static str = "oauth2_codes.insert_code";
    /// [`Error::NotFound`] if the grant was revoked or is another's.
    type Out = Change<Code>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, of(self.0.code.user_id.0))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Code>> {
        Box::pin(async move {
            let Code { grant_id, user_id, app_id, .. } = self.0.code;
            lock_live_of(db, grant_id, (user_id, app_id)).await?;
            let new = diesel::insert_into(codes::table)
                .values(&self.0)
                .returning(Code::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(new))
        })
    }
}

/// The code with this prefix, if there is one, whatever became of it. For who checks a presented code.
#[derive(Debug)]
pub struct FindCode {
    /// The part of what was presented that is no secret.
    pub secret_prefix: Vec<u8>,
}

impl Query for FindCode {
    const NAME: &'static str = "oauth2_codes.find_code";
    type Out = Option<HashedCode>;

    fn access(&self) -> Access<Self> {
        // Whose it is, is the question: it takes the right to read everybody's.
        Access::Before(vec![check(Action::Read, Object::new(Resource::Oauth2AppCodeToken))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(codes::table
                .filter(codes::secret_prefix.eq(&self.secret_prefix))
                .select(HashedCode::as_select())
                .first(db.conn())
                .await
                .optional()?)
        })
    }
}

/// What came of using a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consumption {
    /// It was used now, for the first and last time.
    Now(Code),
    /// It was used before, when it says: unless this is the same client again after it got no answer, somebody has it
    /// who should not, and the grant has to be revoked.
    Before(Code),
    /// It is absent or expired, or its grant was revoked.
    Gone,
}

/// Uses a code up. Of those who come at once, one does; the others wait for that one's transaction.
#[derive(Debug)]
pub struct ConsumeCode {
    /// Which.
    pub id: Oauth2CodeId,
    /// Whose, as read with the code.
    pub user_id: UserId,
    /// Under which grant, as read with the code.
    pub grant_id: Oauth2GrantId,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for ConsumeCode {
    const NAME: &'static str = "oauth2_codes.consume_code";
    type Out = Consumption;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, of(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Consumption> {
        Box::pin(async move {
            let grant = lock_live(db, Pk(self.grant_id), Pk(self.user_id)).await;
            let Some(grant) = Error::optional(grant)? else { return Ok(Consumption::Gone) };
            let consumed: Option<Code> = diesel::update(codes::table.find(Pk(self.id)))
                .filter(codes::grant_id.eq(grant.id))
                .filter(codes::user_id.eq(grant.user_id))
                .filter(codes::consumed_at.is_null())
                .filter(codes::expires_at.gt(self.now))
                .set(codes::consumed_at.eq(self.now))
                .returning(Code::as_returning())
                .get_result(db.conn())
                .await
                .optional()?;
            if let Some(code) = consumed {
                return Ok(Consumption::Now(code));
            }
            let used: Option<Code> = codes::table
                .find(Pk(self.id))
                .filter(codes::grant_id.eq(grant.id))
                .filter(codes::user_id.eq(grant.user_id))
                .filter(codes::consumed_at.is_not_null())
                .select(Code::as_select())
                .first(db.conn())
                .await
                .optional()?;
            Ok(used.map_or(Consumption::Gone, Consumption::Before))
        })
    }
}

/// Deletes all codes of a user for a client. Yields how many.
#[derive(Debug)]
pub struct DeleteCodes {
    /// For whom.
    pub app_id: Oauth2AppId,
    /// Whose.
    pub user_id: UserId,
}

impl Query for DeleteCodes {
    const NAME: &'static str = "oauth2_codes.delete_codes";
    type Out = usize;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, of(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, usize> {
        Box::pin(async move {
            Ok(diesel::delete(codes::table)
                .filter(codes::app_id.eq(Pk(self.app_id)))
                .filter(codes::user_id.eq(Pk(self.user_id)))
                .execute(db.conn())
                .await?)
        })
    }
}

crate::queries![InsertCode, FindCode, ConsumeCode, DeleteCodes];
