use std::sync::Arc;
use std::time::Duration;

use aibridge::{Gateway, ProviderKind, ProviderSpec};
use rbac::system;
use stdx::Lifecycle;
use store::ai_providers::ListServed;
use store::pubsub::{Channel, Pubsub, Subscription};
use store::{Call, Error, Full, Store as _};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::daemon::{ProviderSet, to_wire};

/// How long a lost notice can go unhealed.
const POLL: Duration = Duration::from_mins(1);
/// How soon a failed load is repeated.
const RETRY: Duration = Duration::from_secs(2);

/// Reads all live providers and their keys as the gateway wants them, in one state of the database.
///
/// # Errors
/// What the store returns.
pub async fn load_specs(store: &Full) -> Result<Vec<ProviderSpec>, Error> {
    let served = store.run(Call::by(system::gateway()), ListServed).await?;
    let specs = served.into_iter().filter_map(|row| {
        let Some(kind) = ProviderKind::parse(&row.kind) else {
            tracing::error!(provider = row.name, kind = row.kind, "unknown type");
            return None;
        };
        Some(ProviderSpec {
            id: row.id,
            kind,
            name: row.name,
            enabled: row.enabled,
            base_url: row.base_url,
            keys: row.keys.map_err(|error| format!("api_keys: {}", stdx::chain(&error))),
        })
    });
    Ok(specs.collect())
}

/// Keeps the providers of the gateway and of its daemons as the database has them: read once for all.
#[derive(Debug)]
pub struct ProviderFeed {
    store: Full,
    gateway: Arc<Gateway>,
    notices: Subscription,
    daemons: watch::Sender<ProviderSet>,
}

impl ProviderFeed {
    /// Subscribes before it reads, so that no change falls in between.
    #[must_use]
    pub fn new(store: Full, gateway: Arc<Gateway>, pubsub: &Pubsub) -> Self {
        let notices = pubsub.subscribe(Channel::AiProviders);
        Self { store, gateway, notices, daemons: watch::Sender::new(None) }
    }

    /// What daemons get.
    pub(crate) fn daemons(&self) -> watch::Receiver<ProviderSet> {
        self.daemons.subscribe()
    }

    /// Loads once, then follows the notices in the background. A failed load keeps the previous providers;
    /// failing at start is a warning, because zero providers are fine.
    pub async fn start(self, lifecycle: &Lifecycle) {
        let pause = self.reload().await;
        let stopping = lifecycle.stopping();
        lifecycle.spawn("ai-providers", async move {
            tokio::select! {
                () = self.follow(pause) => {}
                () = stopping.wait() => {}
            }
        });
    }

    async fn follow(mut self, mut pause: Duration) {
        let mut listening = true;
        loop {
            tokio::select! {
                // Without notices there is still the poll.
                notice = self.notices.next(), if listening => listening = notice.is_some(),
                () = sleep(pause) => {}
            }
            pause = self.reload().await;
        }
    }

    /// Returns when to look again, if nobody says earlier.
    async fn reload(&self) -> Duration {
        match load_specs(&self.store).await {
            Ok(specs) => {
                let statuses = self.gateway.install(&specs);
                tracing::debug!(count = statuses.len(), "AI providers loaded");
                let set = to_wire(specs);
                self.daemons.send_if_modified(|last| {
                    let is_new = last.as_ref().is_none_or(|last| last.version != set.version);
                    if is_new {
                        *last = Some(Arc::new(set));
                    }
                    is_new
                });
                POLL
            }
            Err(error) => {
                tracing::warn!(error = %stdx::chain(&error), "AI providers could not be loaded");
                RETRY
            }
        }
    }
}
