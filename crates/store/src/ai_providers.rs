//! AI providers and the deployment's own keys for them.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use stdx::Secret;
use stdx::ids::{ProviderId, ProviderKeyId};
use time::OffsetDateTime;

use crate::error::Error;
use crate::query::{Access, Change, Db, Fut, Permit, Query, check};
use crate::schema::{ai_provider_keys, ai_providers};
use crate::sealed::columns::{PROVIDER_KEY, PROVIDER_SETTINGS};
use crate::sealed::{Keys, Sealed};
use crate::{Pk, sealed};

/// Most providers a deployment has; a list never returns more.
pub const PROVIDERS_MAX: i64 = 1_000;
/// Most keys of one provider that are read.
pub const KEYS_PER_PROVIDER_MAX: i64 = 100;

/// A row of `ai_providers`. `settings` is at rest; [`Provider::settings`] is in hand.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = ai_providers, check_for_backend(diesel::pg::Pg))]
struct ProviderRow {
    id: Pk<ProviderId>,
    type_: String,
    name: String,
    display_name: Option<String>,
    icon: String,
    enabled: bool,
    deleted: bool,
    base_url: String,
    settings: Option<Sealed>,
    settings_key_id: Option<String>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

/// A provider.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Provider {
    pub id: ProviderId,
    pub kind: String,
    pub name: String,
    pub display_name: Option<String>,
    pub icon: String,
    pub enabled: bool,
    pub deleted: bool,
    pub base_url: String,
    /// Options of the type as JSON text; holds secrets.
    pub settings: Option<Secret<String>>,
    /// Why there are settings that cannot be opened; then `settings` is absent.
    pub fault: Option<String>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

impl ProviderRow {
    fn settings(&self, keys: Keys<'_>) -> Result<Option<Secret<String>>, Error> {
        let key = self.settings_key_id.as_deref();
        let open = |value| keys.open(PROVIDER_SETTINGS, self.id.0.uuid(), value, key);
        self.settings.as_ref().map(open).transpose()
    }

    /// A row whose settings cannot be opened is shown, changed and deleted without them.
    fn open(self, keys: Keys<'_>) -> Provider {
        let (settings, fault) = told(self.settings(keys));
        Provider {
            id: self.id.0,
            kind: self.type_,
            name: self.name,
            display_name: self.display_name,
            icon: self.icon,
            enabled: self.enabled,
            deleted: self.deleted,
            base_url: self.base_url,
            settings: settings.flatten(),
            fault,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// What was opened, or why not.
fn told<T>(opened: Result<T, Error>) -> (Option<T>, Option<String>) {
    match opened {
        Ok(opened) => (Some(opened), None),
        Err(error) => (None, Some(stdx::chain(&error).to_string())),
    }
}

/// A row of `ai_provider_keys`, at rest.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = ai_provider_keys, check_for_backend(diesel::pg::Pg))]
struct KeyRow {
    id: Pk<ProviderKeyId>,
    provider_id: Pk<ProviderId>,
    api_key: Sealed,
    api_key_key_id: Option<String>,
    created_at: OffsetDateTime,
}

/// A provider's key, in hand.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct ProviderKey {
    pub id: ProviderKeyId,
    pub provider_id: ProviderId,
    /// Empty if it cannot be opened.
    pub api_key: Secret<String>,
    /// Why it cannot be opened.
    pub fault: Option<String>,
    pub created_at: OffsetDateTime,
}

impl KeyRow {
    fn api_key(&self, keys: Keys<'_>) -> Result<Secret<String>, Error> {
        keys.open(PROVIDER_KEY, self.id.0.uuid(), &self.api_key, self.api_key_key_id.as_deref())
    }

    /// A key that cannot be opened is listed and deleted without its text.
    fn open(self, keys: Keys<'_>) -> ProviderKey {
        let (api_key, fault) = told(self.api_key(keys));
        ProviderKey {
            id: self.id.0,
            provider_id: self.provider_id.0,
            api_key: api_key.unwrap_or_else(|| Secret::from("")),
            fault,
            created_at: self.created_at,
        }
    }
}

const fn object(id: ProviderId) -> Object<'static> {
    Object::new(Resource::AiProvider).id(id.uuid())
}

const ANY: Object<'static> = Object::new(Resource::AiProvider);

fn seal_settings(
    keys: Keys<'_>,
    id: ProviderId,
    settings: Option<&Secret<String>>,
) -> Result<Option<sealed::SealedPair>, Error> {
    settings.map(|text| keys.seal(PROVIDER_SETTINGS, id.uuid(), text)).transpose()
}

/// Live providers by name, disabled ones included.
#[derive(Debug)]
pub struct ListProviders {
    /// Deleted ones too.
    pub include_deleted: bool,
}

impl Query for ListProviders {
    const NAME: &'static str = "ai_providers.list_providers";
    type Out = Vec<Provider>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<Provider>> {
        Box::pin(async move {
            let mut query = ai_providers::table
                .order((ai_providers::name, ai_providers::id))
                .limit(PROVIDERS_MAX)
                .select(ProviderRow::as_select())
                .into_boxed();
            if !self.include_deleted {
                query = query.filter(ai_providers::deleted.eq(false));
            }
            let rows: Vec<ProviderRow> = query.load(db.conn()).await?;
            Ok(rows.into_iter().map(|row| row.open(db.keys())).collect())
        })
    }
}

/// Names a provider by either of its two names.
#[derive(Clone, Debug)]
pub enum ProviderRef {
    /// By identifier.
    Id(ProviderId),
    /// By unique name.
    Name(String),
}

/// A live provider.
#[derive(Debug)]
pub struct GetProvider(pub ProviderRef);

impl Query for GetProvider {
    const NAME: &'static str = "ai_providers.get_provider";
    type Out = Provider;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Provider> {
        Box::pin(async move {
            let query = ai_providers::table
                .filter(ai_providers::deleted.eq(false))
                .select(ProviderRow::as_select())
                .into_boxed();
            let query = match &self.0 {
                ProviderRef::Id(id) => query.filter(ai_providers::id.eq(Pk(*id))),
                ProviderRef::Name(name) => query.filter(ai_providers::name.eq(name)),
            };
            let row: ProviderRow = query.first(db.conn()).await?;
            Ok(row.open(db.keys()))
        })
    }
}

/// A provider to be created, without keys.
#[derive(Debug)]
pub struct InsertProvider {
    /// Identifier.
    pub id: ProviderId,
    /// Provider type.
    pub kind: String,
    /// Unique among live providers.
    pub name: String,
    /// For people.
    pub display_name: Option<String>,
    /// Picture.
    pub icon: String,
    /// Whether it serves.
    pub enabled: bool,
    /// Where it is.
    pub base_url: String,
    /// Options of the type as JSON text.
    pub settings: Option<Secret<String>>,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for InsertProvider {
    const NAME: &'static str = "ai_providers.insert_provider";
    type Out = Change<Provider>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Provider>> {
        Box::pin(async move {
            let settings = seal_settings(db.keys(), self.id, self.settings.as_ref())?;
            let row: ProviderRow = diesel::insert_into(ai_providers::table)
                .values((
                    ai_providers::id.eq(Pk(self.id)),
                    ai_providers::type_.eq(&self.kind),
                    ai_providers::name.eq(&self.name),
                    ai_providers::display_name.eq(&self.display_name),
                    ai_providers::icon.eq(&self.icon),
                    ai_providers::enabled.eq(self.enabled),
                    ai_providers::base_url.eq(&self.base_url),
                    ai_providers::settings.eq(settings.as_ref().map(|pair| &pair.value)),
                    ai_providers::settings_key_id
                        .eq(settings.as_ref().and_then(|pair| pair.key_id.as_ref())),
                    ai_providers::created_at.eq(self.now),
                    ai_providers::updated_at.eq(self.now),
                ))
                .returning(ProviderRow::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(row.open(db.keys())))
        })
    }
}

/// Replaces what may change of a live provider. Type and name may not.
#[derive(Debug)]
pub struct UpdateProvider {
    /// Which.
    pub id: ProviderId,
    /// For people.
    pub display_name: Option<String>,
    /// Picture.
    pub icon: String,
    /// Whether it serves.
    pub enabled: bool,
    /// Where it is.
    pub base_url: String,
    /// Options of the type as JSON text.
    pub settings: NewSettings,
    /// When.
    pub now: OffsetDateTime,
}

/// What becomes of a provider's settings.
#[derive(Clone, Debug)]
pub enum NewSettings {
    /// They stay, also if they cannot be opened.
    Keep,
    /// They are these, or none.
    Set(Option<Secret<String>>),
}

impl Query for UpdateProvider {
    const NAME: &'static str = "ai_providers.update_provider";
    type Out = Change<Provider>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<Provider>> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            let settings = match &self.settings {
                NewSettings::Keep => None,
                NewSettings::Set(settings) => {
                    Some(seal_settings(db.keys(), self.id, settings.as_ref())?)
                }
            };
            let settings = settings.as_ref().map(|new| {
                let (value, key) =
                    new.as_ref().map(|pair| (&pair.value, pair.key_id.as_ref())).unzip();
                (ai_providers::settings.eq(value), ai_providers::settings_key_id.eq(key.flatten()))
            });
            let row: ProviderRow = diesel::update(ai_providers::table.find(Pk(self.id)))
                .set((
                    ai_providers::display_name.eq(&self.display_name),
                    ai_providers::icon.eq(&self.icon),
                    ai_providers::enabled.eq(self.enabled),
                    ai_providers::base_url.eq(&self.base_url),
                    settings,
                    ai_providers::updated_at.eq(self.now),
                ))
                .returning(ProviderRow::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::updated(old, row.open(db.keys())))
        })
    }
}

/// Marks a live provider as deleted. Its keys are deleted for good: what is not used is not kept.
#[derive(Debug)]
pub struct DeleteProvider {
    /// Which.
    pub id: ProviderId,
    /// When.
    pub now: OffsetDateTime,
}

impl Query for DeleteProvider {
    const NAME: &'static str = "ai_providers.delete_provider";
    type Out = (Change<Provider>, Vec<Change<ProviderKey>>);
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            let old = lock(db, self.id).await?;
            let keys: Vec<KeyRow> = diesel::delete(ai_provider_keys::table)
                .filter(ai_provider_keys::provider_id.eq(Pk(self.id)))
                .returning(KeyRow::as_returning())
                .get_results(db.conn())
                .await?;
            let row: ProviderRow = diesel::update(ai_providers::table.find(Pk(self.id)))
                .set((
                    ai_providers::deleted.eq(true),
                    ai_providers::enabled.eq(false),
                    ai_providers::updated_at.eq(self.now),
                ))
                .returning(ProviderRow::as_returning())
                .get_result(db.conn())
                .await?;
            let gone = keys.into_iter().map(|key| Change::deleted(key.open(db.keys()))).collect();
            Ok((Change::updated(old, row.open(db.keys())), gone))
        })
    }
}

async fn lock(db: &mut Db<'_>, id: ProviderId) -> Result<Provider, Error> {
    let row: ProviderRow = ai_providers::table
        .find(Pk(id))
        .filter(ai_providers::deleted.eq(false))
        .select(ProviderRow::as_select())
        .for_update()
        .first(db.conn())
        .await?;
    Ok(row.open(db.keys()))
}

/// Keys of live providers, oldest first: the order in which the key pool tries them.
#[derive(Debug)]
pub struct ListKeys {
    /// Of one provider, or of all.
    pub provider_id: Option<ProviderId>,
}

impl Query for ListKeys {
    const NAME: &'static str = "ai_providers.list_keys";
    type Out = Vec<ProviderKey>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<ProviderKey>> {
        Box::pin(async move {
            let mut query = ai_provider_keys::table
                .inner_join(
                    ai_providers::table.on(ai_providers::id.eq(ai_provider_keys::provider_id)),
                )
                .filter(ai_providers::deleted.eq(false))
                .order((ai_provider_keys::created_at, ai_provider_keys::id))
                .limit(PROVIDERS_MAX * KEYS_PER_PROVIDER_MAX)
                .select(KeyRow::as_select())
                .into_boxed();
            if let Some(provider) = self.provider_id {
                query = query.filter(ai_provider_keys::provider_id.eq(Pk(provider)));
            }
            let rows: Vec<KeyRow> = query.load(db.conn()).await?;
            Ok(rows.into_iter().map(|row| row.open(db.keys())).collect())
        })
    }
}

/// A live provider as the gateway serves it.
#[derive(Debug)]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Served {
    pub id: ProviderId,
    pub kind: String,
    pub name: String,
    pub enabled: bool,
    pub base_url: String,
    /// In the order of failover. One that cannot be opened is the fault of this row alone.
    pub keys: Result<Vec<Secret<String>>, Error>,
}

/// Live providers with their keys, by name.
#[derive(Debug)]
pub struct ListServed;

impl Query for ListServed {
    const NAME: &'static str = "ai_providers.list_served";
    type Out = Vec<Served>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<Served>> {
        Box::pin(async move {
            // One statement: providers and keys of one state.
            let rows: Vec<(ProviderRow, Option<KeyRow>)> = ai_providers::table
                .left_join(
                    ai_provider_keys::table.on(ai_provider_keys::provider_id.eq(ai_providers::id)),
                )
                .filter(ai_providers::deleted.eq(false))
                .order((
                    ai_providers::name,
                    ai_providers::id,
                    ai_provider_keys::created_at,
                    ai_provider_keys::id,
                ))
                .limit(PROVIDERS_MAX * KEYS_PER_PROVIDER_MAX)
                .select((ProviderRow::as_select(), Option::<KeyRow>::as_select()))
                .load(db.conn())
                .await?;
            let ring = db.keys();
            let mut served: Vec<Served> = Vec::new();
            for (row, key) in rows {
                let key = key.map(|key| key.api_key(ring)).transpose();
                match served.last_mut().filter(|last| last.id == row.id.0) {
                    Some(last) => match (&mut last.keys, key) {
                        (Ok(keys), Ok(key)) => keys.extend(key),
                        (Ok(_), Err(error)) => last.keys = Err(error),
                        (Err(_), _) => {}
                    },
                    None => served.push(Served {
                        id: row.id.0,
                        kind: row.type_,
                        name: row.name,
                        enabled: row.enabled,
                        base_url: row.base_url,
                        keys: key.map(|key| key.into_iter().collect()),
                    }),
                }
            }
            Ok(served)
        })
    }
}

/// A key to be added to a live provider; [`Error::NotFound`] if there is none.
#[derive(Debug)]
pub struct InsertKey {
    /// Identifier.
    pub id: ProviderKeyId,
    /// Whose.
    pub provider_id: ProviderId,
    /// The key.
    pub api_key: Secret<String>,
    /// Decides the order of failover.
    pub created_at: OffsetDateTime,
}

impl Query for InsertKey {
    const NAME: &'static str = "ai_providers.insert_key";
    type Out = Change<ProviderKey>;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Create, object(self.provider_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<ProviderKey>> {
        Box::pin(async move {
            // Held to the end: the provider cannot be deleted meanwhile.
            ai_providers::table
                .find(Pk(self.provider_id))
                .filter(ai_providers::deleted.eq(false))
                .select(ai_providers::id)
                .for_key_share()
                .first::<Pk<ProviderId>>(db.conn())
                .await?;
            let sealed = db.keys().seal(PROVIDER_KEY, self.id.uuid(), &self.api_key)?;
            let row: KeyRow = diesel::insert_into(ai_provider_keys::table)
                .values((
                    ai_provider_keys::id.eq(Pk(self.id)),
                    ai_provider_keys::provider_id.eq(Pk(self.provider_id)),
                    ai_provider_keys::api_key.eq(sealed.value),
                    ai_provider_keys::api_key_key_id.eq(sealed.key_id),
                    ai_provider_keys::created_at.eq(self.created_at),
                    ai_provider_keys::updated_at.eq(self.created_at),
                ))
                .returning(KeyRow::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::created(row.open(db.keys())))
        })
    }
}

/// Deletes a key for good.
#[derive(Debug)]
pub struct DeleteKey {
    /// Whose, as a guard against naming another provider's key.
    pub provider_id: ProviderId,
    /// Which.
    pub id: ProviderKeyId,
}

impl Query for DeleteKey {
    const NAME: &'static str = "ai_providers.delete_key";
    type Out = Change<ProviderKey>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, object(self.provider_id))])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Change<ProviderKey>> {
        Box::pin(async move {
            let row: KeyRow = diesel::delete(ai_provider_keys::table.find(Pk(self.id)))
                .filter(ai_provider_keys::provider_id.eq(Pk(self.provider_id)))
                .returning(KeyRow::as_returning())
                .get_result(db.conn())
                .await?;
            Ok(Change::deleted(row.open(db.keys())))
        })
    }
}

crate::queries![
    ListProviders,
    GetProvider,
    InsertProvider,
    UpdateProvider,
    DeleteProvider,
    ListKeys,
    ListServed,
    InsertKey,
    DeleteKey,
];
