use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aibridge::{Gateway, ProviderKind, ProviderSpec};
use rbac::system;
use stdx::Lifecycle;
use stdx::Secret;
use stdx::ids::ProviderId;
use store::ai_providers::{ListKeys, ListProviders};
use store::pubsub::{Channel, Pubsub, Subscription};
use store::{Call, Error, Full, TxOptions};
use tokio::time::{MissedTickBehavior, interval};

/// How long a lost notice can go unhealed.
const POLL: Duration = Duration::from_mins(1);

/// Reads all live providers and their keys as the gateway wants them, in one state of the database.
///
/// # Errors
/// What the store returns.
pub async fn load_specs(store: &Full) -> Result<Vec<ProviderSpec>, Error> {
    let by = Call::by(system::gateway());
    let (providers, keys) = store
        .tx(by, TxOptions::snapshot("load_ai_providers"), async |tx| {
            let providers = tx.run(ListProviders { include_deleted: false }).await?;
            let keys = tx.run(ListKeys { provider_id: None }).await?;
            Ok::<_, Error>((providers, keys))
        })
        .await?;
    let mut keys_of: HashMap<ProviderId, Vec<Secret<String>>> = HashMap::new();
    for key in keys {
        keys_of.entry(key.provider_id).or_default().push(key.api_key);
    }
    let specs = providers.into_iter().filter_map(|provider| {
        let Some(kind) = ProviderKind::parse(&provider.kind) else {
            tracing::error!(provider = provider.name, kind = provider.kind, "unknown type");
            return None;
        };
        Some(ProviderSpec {
            id: provider.id,
            kind,
            keys: keys_of.remove(&provider.id).unwrap_or_default(),
            name: provider.name,
            enabled: provider.enabled,
            base_url: provider.base_url,
        })
    });
    Ok(specs.collect())
}

/// Keeps a gateway's providers as the database has them.
#[derive(Debug)]
pub struct ProviderFeed {
    store: Full,
    gateway: Arc<Gateway>,
    notices: Subscription,
}

impl ProviderFeed {
    /// Subscribes before it reads, so that no change falls in between.
    #[must_use]
    pub fn new(store: Full, gateway: Arc<Gateway>, pubsub: &Pubsub) -> Self {
        Self { store, gateway, notices: pubsub.subscribe(Channel::AiProviders) }
    }

    /// Loads once, then follows the notices in the background. A failed load keeps the previous providers;
    /// failing at start is a warning, because zero providers are fine.
    pub async fn start(self, lifecycle: &Lifecycle) {
        self.reload().await;
        let stopping = lifecycle.stopping();
        lifecycle.spawn("ai-providers", async move {
            tokio::select! {
                () = self.follow() => {}
                () = stopping.wait() => {}
            }
        });
    }

    async fn follow(mut self) {
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        poll.tick().await;
        let mut listening = true;
        loop {
            tokio::select! {
                // Without notices there is still the poll.
                notice = self.notices.next(), if listening => listening = notice.is_some(),
                _ = poll.tick() => {}
            }
            self.reload().await;
        }
    }

    async fn reload(&self) {
        match load_specs(&self.store).await {
            Ok(specs) => {
                let statuses = self.gateway.install(&specs);
                tracing::debug!(count = statuses.len(), "AI providers loaded");
            }
            Err(error) => {
                tracing::warn!(error = %stdx::chain(&error), "AI providers could not be loaded");
            }
        }
    }
}
