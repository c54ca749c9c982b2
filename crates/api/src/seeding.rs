//! Providers that the environment describes, written to the database once.
//!
//! The environment only ever adds. What exists stays as it is; what exists and *differs* stops the start, with
//! a text that says where and what to do, because neither side can be taken for the right one. A provider that
//! was deleted stays deleted. Keys are not compared: they are changed through the API.
//!
//! All of it is one transaction under one lock, so replicas that start together seed once, and a failure leaves
//! nothing behind. Doing it again does nothing.

mod canonical;

pub use canonical::Difference;

use std::collections::HashSet;
use std::fmt;

use audit::Context;
use canonical::Canonical;
use config::EnvProvider;
use rbac::system;
use stdx::ids::{ProviderId, ProviderKeyId, RequestId, UserId};
use stdx::{SharedClock, SharedRng};
use store::ai_providers::{
    GetProvider, InsertKey, InsertProvider, ListProviders, PROVIDERS_MAX, ProviderRef,
};
use store::locks::{Acquire, Lock};
use store::{Call, Constraint, Error, Full, Transient, Tx, TxOptions};
use time::{Duration, OffsetDateTime};

/// The subsystem that audit rows name.
const SUBSYSTEM: &str = "env_seed";
const CREATED: u16 = 201;

/// What became of the environment's providers, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeedReport {
    /// Inserted now.
    pub created: Vec<String>,
    /// Present and the same.
    pub unchanged: Vec<String>,
    /// Deleted some time ago, and left so.
    pub deleted: Vec<String>,
}

/// Why the environment's providers could not be seeded. Nothing was written.
#[derive(Debug)]
#[non_exhaustive]
pub enum SeedError {
    /// Providers of the environment contradict those of the same names in the database.
    Differs(Vec<Conflict>),
    /// What the store returned.
    Store(Error),
}

/// A provider of which environment and database say different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its name.
    pub provider: String,
    /// Where they differ. Secrets are shown as the beginning of their SHA-256.
    pub fields: Vec<Difference>,
}

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Differs(conflicts) = self else {
            return f.write_str("the AI providers of the environment could not be seeded");
        };
        for (place, Conflict { provider, fields }) in conflicts.iter().enumerate() {
            if place > 0 {
                f.write_str(" ")?;
            }
            write!(f, "AI provider \"{provider}\" differs between environment and database:")?;
            for (place, field) in fields.iter().enumerate() {
                write!(f, "{} {field}", if place > 0 { ";" } else { "" })?;
            }
            f.write_str(".")?;
        }
        f.write_str(
            " The environment only seeds and never overwrites. Change its CODER_AI_GATEWAY_* variables to what \
             the database holds or remove them; or start without them and change the provider through the API \
             (PATCH /api/v2/ai/providers/NAME); or delete it there (DELETE), after which the environment is \
             ignored for that name.",
        )
    }
}

impl std::error::Error for SeedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Differs(_) => None,
        }
    }
}

impl From<Error> for SeedError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Transient for SeedError {
    fn is_transient(&self) -> bool {
        match self {
            // Somebody created a provider of that name just now: look again.
            Self::Store(Error::Conflict(Constraint::AiProvidersNameUnique)) => true,
            Self::Store(error) => error.is_transient(),
            Self::Differs(_) => false,
        }
    }
}

/// Brings the database in line with the environment, or says why not.
///
/// # Errors
/// [`SeedError::Differs`] with all contradictions at once; otherwise what the store returns.
pub async fn seed(
    store: &Full,
    providers: &[EnvProvider],
    clock: &SharedClock,
    rng: &SharedRng,
) -> Result<SeedReport, SeedError> {
    if providers.is_empty() {
        return Ok(SeedReport::default());
    }
    let by = Call::by(system::ai_provider_seeder());
    let report = store
        .tx(by, TxOptions::write("seed_ai_providers"), async |tx| {
            tx.run(Acquire(Lock::AiProvidersEnvSeed)).await?;
            sow(tx, providers, clock.now(), rng).await
        })
        .await?;
    for name in &report.created {
        tracing::info!(provider = name, "AI provider seeded from the environment");
    }
    for name in &report.deleted {
        tracing::warn!(
            provider = name,
            "the AI provider was deleted and is not seeded again; remove its variables, or create it through \
             the API"
        );
    }
    Ok(report)
}

async fn sow(
    tx: &mut Tx,
    providers: &[EnvProvider],
    now: OffsetDateTime,
    rng: &SharedRng,
) -> Result<SeedReport, SeedError> {
    let mut report = SeedReport::default();
    let mut conflicts = Vec::new();
    let deleted = Deleted::read(tx).await?;
    for wanted in providers {
        let name = wanted.name.clone();
        let live = tx.run(GetProvider(ProviderRef::Name(name.clone()))).await;
        match Error::optional(live)? {
            Some(row) => {
                let (here, there) = (Canonical::of_env(wanted), Canonical::of_row(&row));
                if here.hash() == there.hash() {
                    report.unchanged.push(name);
                } else {
                    conflicts.push(Conflict { provider: name, fields: here.differences(&there) });
                }
            }
            None if deleted.may_contain(&name) => report.deleted.push(name),
            None => {
                insert(tx, wanted, now, rng).await?;
                report.created.push(name);
            }
        }
    }
    if conflicts.is_empty() { Ok(report) } else { Err(SeedError::Differs(conflicts)) }
}

/// Names of deleted providers.
struct Deleted {
    names: HashSet<String>,
    /// There were more rows than a list returns.
    cut: bool,
}

impl Deleted {
    async fn read(tx: &mut Tx) -> Result<Self, Error> {
        let rows = tx.run(ListProviders { include_deleted: true }).await?;
        let cut = i64::try_from(rows.len()).is_ok_and(|count| count >= PROVIDERS_MAX);
        let names = rows.into_iter().filter(|row| row.deleted).map(|row| row.name).collect();
        Ok(Self { names, cut })
    }

    /// In doubt a provider counts as deleted: seeding one that an administrator removed is the worse mistake.
    fn may_contain(&self, name: &str) -> bool {
        self.cut || self.names.contains(name)
    }
}

async fn insert(
    tx: &mut Tx,
    wanted: &EnvProvider,
    now: OffsetDateTime,
    rng: &SharedRng,
) -> Result<(), Error> {
    let context = Context {
        user_id: UserId::nil(),
        request_id: RequestId::nil(),
        ip: None,
        user_agent: None,
        status_code: CREATED,
        time: now,
        rng: &**rng,
    };
    let provider_id = ProviderId::new(rng.uuid_v4());
    let provider = InsertProvider {
        id: provider_id,
        kind: wanted.provider_type.as_str().to_owned(),
        name: wanted.name.clone(),
        display_name: Some(wanted.name.clone()),
        icon: String::new(),
        enabled: true,
        base_url: wanted.base_url.to_string(),
        settings: wanted.bedrock.as_ref().map(|bedrock| canonical::settings(bedrock).to_stored()),
        now,
    };
    let change = tx.run(provider).await?;
    audit::background(tx, &context, &change, SUBSYSTEM).await?;
    let mut created_at = now;
    for api_key in &wanted.keys {
        let id = ProviderKeyId::new(rng.uuid_v4());
        let key = InsertKey { id, provider_id, api_key: api_key.clone(), created_at };
        let change = tx.run(key).await?;
        audit::background(tx, &context, &change, SUBSYSTEM).await?;
        // The order of the variable is the order of failover.
        created_at += Duration::MICROSECOND;
    }
    Ok(())
}
