use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crypt::token::ApiToken;
use ipnet::IpNet;
use stdx::ids::UserId;
use stdx::{Rng, Secret};
use store::Pk;
use store::api_keys::{ApiKey, InsertApiKey};
use time::OffsetDateTime;

/// What a new key is good for.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Whose.
    pub user_id: UserId,
    /// `password`, `token`, ...
    pub login_type: &'static str,
    /// From now on, and one slide.
    pub lifetime: Duration,
    /// Canonical names, never empty.
    pub scopes: Vec<String>,
    /// Entries `type:id`, never empty.
    pub allow_list: Vec<String>,
    /// Empty for sessions.
    pub token_name: String,
    /// Where the caller is.
    pub ip_address: Option<IpNet>,
}

impl Grant {
    /// An unrestricted session.
    #[must_use]
    pub fn session(user_id: UserId, lifetime: Duration, ip_address: Option<IpNet>) -> Self {
        Self {
            user_id,
            login_type: "password",
            lifetime,
            scopes: vec!["coder:all".to_owned()],
            allow_list: vec!["*:*".to_owned()],
            token_name: String::new(),
            ip_address,
        }
    }
}

/// A new key: its secret for the caller, once, and its row for the store.
#[derive(Debug)]
pub struct IssuedKey {
    /// `{id}-{secret}`; kept nowhere.
    pub token: Secret<String>,
    /// To be run in the caller's transaction.
    pub insert: InsertApiKey,
}

impl IssuedKey {
    /// Makes a key.
    #[must_use]
    pub fn new(grant: Grant, now: OffsetDateTime, rng: &dyn Rng) -> Self {
        let token = ApiToken::generate(rng);
        let lifetime_seconds = i64::try_from(grant.lifetime.as_secs()).unwrap_or(i64::MAX).max(1);
        let row = ApiKey {
            id: token.id().to_owned(),
            hashed_secret: token.hashed_secret().to_vec(),
            user_id: Pk(grant.user_id),
            last_used: OffsetDateTime::UNIX_EPOCH,
            expires_at: now + time::Duration::seconds(lifetime_seconds),
            created_at: now,
            updated_at: now,
            login_type: grant.login_type.to_owned(),
            lifetime_seconds,
            ip_address: grant
                .ip_address
                .unwrap_or_else(|| IpAddr::V4(Ipv4Addr::UNSPECIFIED).into()),
            token_name: grant.token_name,
            scopes: grant.scopes,
            allow_list: grant.allow_list,
        };
        Self { token: token.to_wire(), insert: InsertApiKey(row) }
    }
}
