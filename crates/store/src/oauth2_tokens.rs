//! OAuth2 refresh tokens, each with the API key that is its access token. One that was rotated stays until it
//! expires, so that a second use is noticed.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::ids::{Oauth2AppId, Oauth2GrantId, Oauth2SecretId, Oauth2TokenId, UserId};
use time::OffsetDateTime;

use crate::oauth2_grants::{lock_live_of, of};
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::{
    api_keys, oauth2_provider_app_secrets as secrets, oauth2_provider_app_tokens as tokens,
};
use crate::{Constraint, Error, Pk};

/// How keys that are access tokens were obtained.
const LOGIN_TYPE: &str = "oauth2_provider_app";

/// A row of `oauth2_provider_app_tokens` without its hash.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = tokens, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Token {
    pub id: Pk<Oauth2TokenId>,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub rotated_at: Option<OffsetDateTime>,
    pub app_id: Pk<Oauth2AppId>,
    /// Absent when the client has no secrets.
    pub app_secret_id: Option<Pk<Oauth2SecretId>>,
    /// Absent once the access token expired and was removed, or the token was rotated.
    pub api_key_id: Option<String>,
    pub user_id: Pk<UserId>,
    pub grant_id: Pk<Oauth2GrantId>,
    /// The one before.
    pub parent_id: Option<Pk<Oauth2TokenId>>,
    pub audience: Option<String>,
    /// Separated by spaces; not empty.
    pub scope: String,
}

impl Token {
    /// The object that rules speak of.
    #[must_use]
    pub const fn object(&self) -> Object<'static> {
        of(self.user_id.0).id(self.id.0.uuid())
    }
}

/// The whole row. Only who checks a token has it in hand.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = tokens, check_for_backend(diesel::pg::Pg))]
pub struct HashedToken {
    /// Everything else.
    #[diesel(embed)]
    pub token: Token,
    /// By which it is found; unique.
    pub hash_prefix: Vec<u8>,
    /// SHA-256; 32 bytes.
    pub refresh_hash: Vec<u8>,
}

/// A token to be issued.
#[derive(Clone, Debug, PartialEq, Eq, Insertable)]
#[diesel(table_name = tokens)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct NewToken {
    pub id: Pk<Oauth2TokenId>,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    /// By which it is found; must be new.
    pub hash_prefix: Vec<u8>,
    /// SHA-256; 32 bytes.
    pub refresh_hash: Vec<u8>,
    pub app_id: Pk<Oauth2AppId>,
    /// A secret of that client, by which it proved who it is.
    pub app_secret_id: Option<Pk<Oauth2SecretId>>,
    /// A key of that user that was made for clients.
    pub api_key_id: String,
    pub user_id: Pk<UserId>,
    pub grant_id: Pk<Oauth2GrantId>,
    pub audience: Option<String>,
    /// Separated by spaces; not empty.
    pub scope: String,
}

/// Something that ended access, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended<C> {
    /// What changed.
    pub what: C,
    /// Identifiers of the API keys that went with it, which whoever remembers keys has to be told.
    pub api_keys: Vec<String>,
}

/// The keys that are access tokens of a client.
pub(crate) async fn keys_of_app(
    db: &mut Db<'_>,
    app: Pk<Oauth2AppId>,
) -> Result<Vec<String>, Error> {
    let keys = tokens::table
        .filter(tokens::app_id.eq(app))
        .filter(tokens::api_key_id.is_not_null())
        .select(tokens::api_key_id.assume_not_null());
    Ok(keys.load(db.conn()).await?)
}

/// The keys that are access tokens, obtained with a secret.
pub(crate) async fn keys_of_secret(
    db: &mut Db<'_>,
    secret: Pk<Oauth2SecretId>,
) -> Result<Vec<String>, Error> {
    let keys = tokens::table
        .filter(tokens::app_secret_id.assume_not_null().eq(secret))
        .filter(tokens::api_key_id.is_not_null())
        .select(tokens::api_key_id.assume_not_null());
    Ok(keys.load(db.conn()).await?)
}

/// Stores a token whose grant is locked. What it refers to must belong together: a key goes with its token, so a token
/// that named a stranger's key would end that one.
async fn insert(
    db: &mut Db<'_>,
    new: &NewToken,
    parent: Option<Pk<Oauth2TokenId>>,
) -> Result<Token, Error> {
    api_keys::table
        .find(&new.api_key_id)
        .filter(api_keys::user_id.eq(new.user_id))
        .filter(api_keys::login_type.eq(LOGIN_TYPE))
        .select(api_keys::id)
        .for_key_share()
        .first::<String>(db.conn())
        .await
        .optional()?
        .ok_or(Error::Missing(Constraint::Oauth2ProviderAppTokensApiKeyFk))?;
    if let Some(secret) = new.app_secret_id {
        secrets::table
            .find(secret)
            .filter(secrets::app_id.eq(new.app_id))
            .select(secrets::id)
            .for_key_share()
            .first::<Pk<Oauth2SecretId>>(db.conn())
            .await
            .optional()?
            .ok_or(Error::Missing(Constraint::Oauth2ProviderAppTokensSecretFk))?;
    }
    Ok(diesel::insert_into(tokens::table)
        .values((new, tokens::parent_id.eq(parent)))
        .returning(Token::as_returning())
        .get_result(db.conn())
        .await?)
}

/// Stores the first token under a live grant of its user to its client.
#[derive(Clone, Debug)]
pub struct InsertToken(pub NewToken);

impl Query for InsertToken {
    const NAME: &'static str = "oauth2_tokens.insert_token";
    /// [`Error::NotFound`] if the grant was revoked or is another's; [`Error::Missing`] if the key is not the user's or
    /// not made for clients, or the secret not the client's.
    type Out = Change<Token>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, of(self.0.user_id.0))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Token>> {
        Box::pin(async move {
            let NewToken { grant_id, user_id, app_id, .. } = self.0;
            lock_live_of(db, grant_id, (user_id, app_id)).await?;
            Ok(Change::created(insert(db, &self.0, None).await?))
        })
    }
}

/// The token with this prefix, if there is one, whatever became of it. For who checks a presented token.
#[derive(Debug)]
pub struct FindToken {
    /// The part of what was presented that is no secret.
    pub hash_prefix: Vec<u8>,
}

impl Query for FindToken {
    const NAME: &'static str = "oauth2_tokens.find_token";
    type Out = Option<HashedToken>;

    fn access(&self) -> Access<Self> {
        // Whose it is, is the question: it takes the right to read everybody's.
        Access::Before(vec![check(Action::Read, Object::new(Resource::Oauth2AppCodeToken))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(tokens::table
                .filter(tokens::hash_prefix.eq(&self.hash_prefix))
                .select(HashedToken::as_select())
                .first(db.conn())
                .await
                .optional()?)
        })
    }
}

/// The token that an API key is the access token of; [`Error::NotFound`] if it is of none.
#[derive(Debug)]
pub struct GetTokenByKey {
    /// Identifier of the key.
    pub api_key_id: String,
}

impl Query for GetTokenByKey {
    const NAME: &'static str = "oauth2_tokens.get_token_by_key";
    type Out = Token;

    fn access(&self) -> Access<Self> {
        Access::After(|token: &Token| vec![check(Action::Read, token.object())])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Token> {
        Box::pin(async move {
            Ok(tokens::table
                .filter(tokens::api_key_id.assume_not_null().eq(&self.api_key_id))
                .select(Token::as_select())
                .first(db.conn())
                .await?)
        })
    }
}

/// What came of using a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It was replaced.
    Done {
        /// The one that was presented: rotated now, and without its key, which is deleted; the row before names it.
        old: Box<Change<Token>>,
        /// Its successor.
        new: Box<Change<Token>>,
    },
    /// It was replaced before, when it says: unless this is the same client again after it got no answer, somebody has
    /// it who should not, and the grant has to be revoked. Nothing was issued.
    Reused(Box<Token>),
    /// It is absent or expired, or its grant was revoked. Nothing was issued.
    Gone,
}

/// Replaces a refresh token and its access token. Of those who come at once, one does; the others wait for that one's
/// transaction.
#[derive(Debug)]
pub struct RotateToken {
    /// Which.
    pub id: Oauth2TokenId,
    /// What replaces it: of the same user, client and grant.
    pub successor: NewToken,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for RotateToken {
    const NAME: &'static str = "oauth2_tokens.rotate_token";
    /// [`Error::Missing`] as [`InsertToken`].
    type Out = Rotation;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        let tokens = of(self.successor.user_id.0);
        Access::Before(vec![check(Action::Delete, tokens), check(Action::Create, tokens)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Rotation> {
        Box::pin(async move {
            let NewToken { grant_id, user_id, app_id, .. } = self.successor;
            let grant = lock_live_of(db, grant_id, (user_id, app_id)).await;
            if Error::optional(grant)?.is_none() {
                return Ok(Rotation::Gone);
            }
            let presented: Option<Token> = tokens::table
                .find(Pk(self.id))
                .filter(tokens::grant_id.eq(grant_id))
                .filter(tokens::user_id.eq(user_id))
                .filter(tokens::app_id.eq(app_id))
                .select(Token::as_select())
                .for_update()
                .first(db.conn())
                .await
                .optional()?;
            let old = match presented {
                Some(token) if token.rotated_at.is_some() => {
                    return Ok(Rotation::Reused(Box::new(token)));
                }
                Some(token) if token.expires_at > self.now => token,
                Some(_) | None => return Ok(Rotation::Gone),
            };
            // Detached first: deleting a key takes along the token that names it.
            let rotated = diesel::update(tokens::table.find(old.id))
                .set((
                    tokens::rotated_at.eq(self.now),
                    tokens::api_key_id.eq(Option::<String>::None),
                ))
                .returning(Token::as_returning())
                .get_result(db.conn())
                .await?;
            if let Some(key) = &old.api_key_id {
                diesel::delete(api_keys::table.find(key)).execute(db.conn()).await?;
            }
            let new = insert(db, &self.successor, Some(old.id)).await?;
            Ok(Rotation::Done {
                old: Box::new(Change::updated(old, rotated)),
                new: Box::new(Change::created(new)),
            })
        })
    }
}

/// Deletes all tokens of a user for a client, with the API keys that are their access tokens. The rows name the keys.
#[derive(Debug)]
pub struct DeleteTokens {
    /// For whom.
    pub app_id: Oauth2AppId,
    /// Whose.
    pub user_id: UserId,
}

impl Query for DeleteTokens {
    const NAME: &'static str = "oauth2_tokens.delete_tokens";
    type Out = Vec<Change<Token>>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, of(self.user_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            // The keys go with the tokens: a trigger sees to that.
            let gone: Vec<Token> = diesel::delete(tokens::table)
                .filter(tokens::app_id.eq(Pk(self.app_id)))
                .filter(tokens::user_id.eq(Pk(self.user_id)))
                .returning(Token::as_returning())
                .get_results(db.conn())
                .await?;
            Ok(gone.into_iter().map(Change::deleted).collect())
        })
    }
}

crate::queries![InsertToken, FindToken, GetTokenByKey, RotateToken, DeleteTokens];
