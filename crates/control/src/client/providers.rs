use std::sync::Arc;
use std::time::Duration;

use aibridge::{Gateway, ProviderKind, ProviderSpec};
use stdx::{Lifecycle, SharedRng};

use super::call::CallError;
use super::http::Coderd;
use super::link::Link;
use super::pace::Pace;
use crate::wire::{Keys, Provider};

/// How long coderd may keep us waiting for another set.
const WAIT_SECONDS: u32 = 45;

/// Between two sets, so that replicas of coderd that do not agree, as during an upgrade, are not asked without
/// end. A change that follows at once on another is known so much later.
const SETTLE: Duration = Duration::from_millis(250);

/// Keeps the gateway's providers as coderd has them, in the background. While coderd is away, the last set
/// stays in use.
pub fn follow_providers(
    coderd: Coderd,
    gateway: Arc<Gateway>,
    link: Link,
    rng: SharedRng,
    lifecycle: &Lifecycle,
) {
    let stopping = lifecycle.stopping();
    lifecycle.spawn("providers", async move {
        tokio::select! {
            () = follow(&coderd, &gateway, &link, Pace::new(rng)) => {}
            () = stopping.wait() => {}
        }
    });
}

async fn follow(coderd: &Coderd, gateway: &Gateway, link: &Link, mut pace: Pace) {
    let mut version: Option<String> = None;
    loop {
        let wait_seconds = if version.is_some() { WAIT_SECONDS } else { 0 };
        match coderd.providers(version.as_deref(), wait_seconds).await {
            Ok(None) => pace.reset(),
            Ok(Some(set)) if version.as_ref() == Some(&set.version) => {
                // Otherwise a coderd that answers at once with what is known would be asked without end.
                let again = CallError::Away("coderd repeats itself".to_owned());
                link.rest_until_up(pace.pause(&again)).await;
            }
            Ok(Some(set)) => {
                let specs: Vec<_> = set.providers.into_iter().filter_map(spec).collect();
                let statuses = gateway.install(&specs);
                tracing::info!(
                    count = statuses.len(),
                    version = set.version,
                    "AI providers loaded"
                );
                version = Some(set.version);
                link.loaded();
                pace.reset();
                tokio::time::sleep(SETTLE).await;
            }
            Err(CallError::Ended(why)) => return link.end(why),
            Err(error) => {
                tracing::debug!(%error, "AI providers could not be asked for");
                link.rest_until_up(pace.pause(&error)).await;
            }
        }
    }
}

/// The gateway's view of a row. One of a type that only a newer release knows is left out.
fn spec(row: Provider) -> Option<ProviderSpec> {
    let Some(kind) = ProviderKind::parse(&row.kind) else {
        let kind = stdx::cut(&row.kind, 64);
        tracing::error!(provider = row.name, kind, "this release does not know the type");
        return None;
    };
    Some(ProviderSpec {
        id: row.id,
        kind,
        name: row.name,
        enabled: row.enabled,
        base_url: row.base_url,
        keys: match row.keys {
            Keys::Open(keys) => Ok(keys),
            Keys::Error(why) => Err(why),
        },
    })
}
