use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use audit::Context;
use crypt::token;
use ipnet::IpNet;
use rbac::{Catalog, Subject, system};
use stdx::ids::{RequestId, UserId};
use stdx::{Secret, SharedClock, SharedRng};
use store::api_keys::{ApiKey, GetApiKey, TouchApiKey};
use store::users::{GetAuthorization, UpdateLastSeen, UpdateStatus, User};
use store::{Call, Error, Full, Store as _, TxOptions};
use time::OffsetDateTime;

use crate::failure::Failure;
use crate::roles::Roles;
use crate::subject;

/// How far a recorded use may lie behind: a write per request would cost more than the request.
const USE_GRANULARITY: time::Duration = time::Duration::HOUR;

/// A caller whose credential holds.
#[derive(Clone, Debug)]
pub struct Authenticated {
    /// The key that was presented.
    pub key: ApiKey,
    /// Whose it is.
    pub user: Arc<User>,
    /// What the two may do together.
    pub subject: Arc<Subject>,
}

/// How sessions last.
#[derive(Clone, Copy, Debug)]
pub struct SessionRules {
    /// One slide of a session.
    pub duration: Duration,
    /// Whether use prolongs a key.
    pub sliding: bool,
}

/// Checks credentials.
#[derive(Clone)]
pub struct Authn {
    pub(crate) store: Full,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) clock: SharedClock,
    pub(crate) rng: SharedRng,
    rules: SessionRules,
    roles: Roles,
}

impl fmt::Debug for Authn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authn").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Authn {
    /// Checks credentials against `store`.
    #[must_use]
    pub fn new(
        store: Full,
        catalog: Arc<Catalog>,
        clock: SharedClock,
        rng: SharedRng,
        rules: SessionRules,
    ) -> Self {
        Self { store, catalog, clock, rng, rules, roles: Roles::default() }
    }

    /// How sessions last.
    #[must_use]
    pub const fn session_rules(&self) -> SessionRules {
        self.rules
    }

    /// Checks a token wholly: form, secret, expiry, user, roles. Notes the use, at most hourly, and wakes a
    /// dormant user.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn validate(
        &self,
        presented: Option<&Secret<String>>,
        from: Option<IpNet>,
    ) -> Result<Authenticated, Failure> {
        let presented = presented.ok_or(Failure::Absent)?;
        let (id, secret) = token::parse(presented.expose())
            .map_err(|error| Failure::Malformed(error.to_string()))?;
        let by = Call::by(system::authenticator());
        let key = match self.store.run(by, GetApiKey { id: id.to_owned() }).await {
            Ok(key) => key,
            Err(Error::NotFound) => return Err(Failure::Unknown),
            Err(error) => return Err(Failure::Store(error)),
        };
        if !token::secret_matches(&key.hashed_secret, secret) {
            return Err(Failure::WrongSecret);
        }
        self.admit(key, from).await
    }

    /// What follows once the secret is known to match.
    async fn admit(&self, key: ApiKey, from: Option<IpNet>) -> Result<Authenticated, Failure> {
        let now = self.clock.now();
        if key.expires_at <= now {
            return Err(Failure::Expired(key.expires_at));
        }
        let by = Call::by(system::authenticator());
        let authorization = match self.store.run(by, GetAuthorization { id: key.user_id.0 }).await {
            Ok(authorization) => authorization,
            Err(Error::NotFound) => return Err(Failure::Unknown),
            Err(error) => return Err(Failure::Store(error)),
        };
        let mut user = Arc::clone(&authorization.user);
        if user.deleted || user.is_system {
            return Err(Failure::Unknown);
        }
        match user.status.as_str() {
            "active" => {}
            "dormant" => match self.wake(user.id.0, now).await {
                Ok(awake) => user = Arc::new(awake),
                Err(Error::NotFound) => return Err(Failure::Inactive("suspended".to_owned())),
                Err(error) => return Err(Failure::Store(error)),
            },
            status => return Err(Failure::Inactive(status.to_owned())),
        }
        let custom = self.roles.expand(&self.store, &self.catalog, &authorization.memberships);
        let custom = custom.await.map_err(Failure::Store)?;
        let subject = subject::compile(&self.catalog, &authorization, &custom, &key)
            .map_err(Failure::Subject)?;
        let key = match self.note_use(key.clone(), now, from).await {
            Ok(key) => key,
            // That nobody can note it is no reason to refuse: the next request tries again.
            Err(error) => {
                tracing::warn!(api_key_id = %key.id, error = %stdx::chain(&error), "the use of a key was not noted");
                key
            }
        };
        Ok(Authenticated { key, user, subject })
    }

    /// Records the use and slides the session.
    async fn note_use(
        &self,
        mut key: ApiKey,
        now: OffsetDateTime,
        from: Option<IpNet>,
    ) -> Result<ApiKey, Error> {
        let lifetime = time::Duration::seconds(key.lifetime_seconds);
        let slides = self.rules.sliding && key.expires_at - now <= lifetime - USE_GRANULARITY;
        if now - key.last_used <= USE_GRANULARITY && !slides {
            return Ok(key);
        }
        let known_expires_at = key.expires_at;
        key.last_used = now;
        if slides {
            key.expires_at = now + lifetime;
        }
        if let Some(from) = from {
            key.ip_address = from;
        }
        let by = Call::by(system::authenticator());
        let touch = TouchApiKey {
            id: key.id.clone(),
            user_id: key.user_id.0,
            now,
            known_expires_at,
            expires_at: key.expires_at,
            ip_address: key.ip_address,
        };
        self.store.run(by, touch).await?;
        self.store.run(by, UpdateLastSeen { id: key.user_id.0, now }).await?;
        Ok(key)
    }

    /// Makes a dormant user active, with an audit row of the subsystem that did it.
    ///
    /// # Errors
    /// `NotFound` if the account was closed since it was read, otherwise what the store returns.
    pub async fn wake(&self, id: UserId, now: OffsetDateTime) -> Result<User, Error> {
        let by = Call::by(system::authenticator());
        let change = self
            .store
            .tx(by, TxOptions::write("wake_dormant_user"), async |tx| {
                let change = tx.run(UpdateStatus { id, status: "active", now }).await?;
                match change.old.as_ref().filter(|old| !old.deleted).map(|old| &*old.status) {
                    Some("dormant") => {}
                    // Another request was faster.
                    Some("active") => return Ok(change),
                    // An error undoes the update: who was suspended meanwhile stays so.
                    _ => return Err(Error::NotFound),
                }
                let context = Context {
                    user_id: id,
                    request_id: RequestId::new(self.rng.uuid_v4()),
                    ip: None,
                    user_agent: None,
                    status_code: 200,
                    time: now,
                    rng: &*self.rng,
                };
                audit::background(tx, &context, &change, "dormancy").await?;
                Ok::<_, Error>(change)
            })
            .await?;
        change.new.ok_or(Error::NotFound)
    }
}
