//! A provider's own keys: what may be stored, and how a list of wishes becomes inserts and deletes.

use aibridge::ProviderKind;
use audit::Action;
use http::StatusCode;
use sdk::AiProviderKeyMutation;
use serde_json::{Value, json};
use stdx::ids::{ProviderId, ProviderKeyId};
use stdx::{Secret, mask};
use store::ai_providers::{DeleteKey, InsertKey, ProviderKey};
use store::{Change, Error, Tx};
use time::Duration;

use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::rules::Rules;

/// Most keys of one provider.
const KEYS_MAX: usize = 5;
/// Longest key. Headers of providers take no more.
const KEY_BYTES_MAX: usize = 8_192;

/// Notes what is wrong with new keys, given with their places in the request, beside those that stay.
pub(super) fn check<'a>(
    kept: &'a [ProviderKey],
    added: impl Iterator<Item = (usize, &'a Secret<String>)>,
    rules: &mut Rules,
) {
    let mut seen: Vec<&str> = kept.iter().map(|key| key.api_key.expose().as_str()).collect();
    for (place, key) in added {
        let key = key.expose().as_str();
        let field = format!("api_keys[{place}]");
        if key.trim().is_empty() {
            rules.broken(&field, "must not be empty");
        } else if key.trim() != key {
            rules.broken(&field, "must not have leading or trailing white space");
        } else if key.len() > KEY_BYTES_MAX {
            rules.broken(&field, format!("must have at most {KEY_BYTES_MAX} bytes"));
        } else if !key.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            rules.broken(&field, "must consist of printable ASCII characters");
        } else if seen.contains(&key) {
            rules.broken(&field, "duplicate key");
        }
        seen.push(key);
    }
    if seen.len() > KEYS_MAX {
        let found = seen.len();
        rules.broken("api_keys", format!("too many keys ({found}), maximum is {KEYS_MAX}"));
    }
}

/// What is to become of a provider's keys.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) kept: Vec<ProviderKey>,
    pub(super) removed: Vec<ProviderKey>,
    pub(super) added: Vec<Secret<String>>,
}

impl Plan {
    /// The stored keys as they are.
    pub(super) fn keep(stored: Vec<ProviderKey>) -> Self {
        Self { kept: stored, ..Self::default() }
    }

    /// From the stored keys to the full list that is wanted.
    pub(super) fn towards(
        kind: ProviderKind,
        stored: Vec<ProviderKey>,
        wanted: &[AiProviderKeyMutation],
        rules: &mut Rules,
    ) -> ApiResult<Self> {
        if !wanted.is_empty() {
            match kind {
                ProviderKind::Copilot => {
                    return Err(refused(
                        "Copilot providers do not accept api_keys; they authenticate via request-time GitHub \
                     OAuth tokens.",
                    ));
                }
                ProviderKind::Bedrock => {
                    return Err(refused(
                        "Bedrock providers do not accept api_keys; they authenticate via AWS credentials.",
                    ));
                }
                _ => {}
            }
        }
        let mut ids = Vec::new();
        let mut added = Vec::new();
        for (place, entry) in wanted.iter().enumerate() {
            match (&entry.id, &entry.api_key) {
                (Some(id), None) if ids.contains(id) => {
                    return Err(refused("api_keys references the same id more than once"));
                }
                (Some(id), None) if !stored.iter().any(|key| key.id.uuid() == *id) => {
                    return Err(refused("api_keys references an unknown id for this provider"));
                }
                (Some(id), None) => ids.push(*id),
                (None, Some(key)) => added.push((place, key)),
                _ => {
                    let field = format!("api_keys[{place}]");
                    rules.broken(&field, "must have either id or api_key");
                }
            }
        }
        let (kept, removed): (Vec<_>, Vec<_>) =
            stored.into_iter().partition(|key| ids.contains(&key.id.uuid()));
        check(&kept, added.iter().copied(), rules);
        let added = added.into_iter().map(|(_, key)| key.clone()).collect();
        Ok(Self { kept, removed, added })
    }

    /// Whether the provider has keys afterwards.
    pub(super) const fn leaves_keys(&self) -> bool {
        !self.kept.is_empty() || !self.added.is_empty()
    }

    /// Carries it out, with one audit row per key. Yields the keys in the order of failover, and what the
    /// provider's own audit row is to tell.
    pub(super) async fn apply(
        &self,
        cx: &Cx,
        tx: &mut Tx,
        provider_id: ProviderId,
        status: StatusCode,
    ) -> Result<(Vec<ProviderKey>, Value), Error> {
        for key in &self.removed {
            let change = tx.run(DeleteKey { provider_id, id: key.id }).await?;
            record(cx, tx, status, &change).await?;
        }
        let mut keys = self.kept.clone();
        // Each a microsecond after the one before: the order of the request is the order of failover, also
        // when the clock was set back.
        let last = keys.iter().map(|key| key.created_at + Duration::MICROSECOND).max();
        let mut created_at = last.map_or(cx.now, |last| last.max(cx.now));
        for api_key in &self.added {
            let id = ProviderKeyId::new(cx.app.rng.uuid_v4());
            let insert = InsertKey { id, provider_id, api_key: api_key.clone(), created_at };
            let change = tx.run(insert).await?;
            record(cx, tx, status, &change).await?;
            keys.extend(change.new);
            created_at += Duration::MICROSECOND;
        }
        let added = keys.get(self.kept.len()..).unwrap_or_default();
        let fields = if added.is_empty() && self.removed.is_empty() {
            json!({})
        } else {
            told(added, &self.removed, self.kept.len())
        };
        Ok((keys, fields))
    }
}

fn refused(message: &str) -> ApiError {
    ApiError::bad_request(message, "")
}

/// What the provider's audit row tells of its keys.
pub(super) fn told(added: &[ProviderKey], removed: &[ProviderKey], kept: usize) -> Value {
    let list = |keys: &[ProviderKey]| -> Vec<Value> {
        keys.iter()
            .map(|key| json!({ "id": key.id, "masked": mask(key.api_key.expose()) }))
            .collect()
    };
    json!({ "added": list(added), "removed": list(removed), "kept": kept })
}

/// Writes the audit row of a key.
pub(super) async fn record(
    cx: &Cx,
    tx: &mut Tx,
    status: StatusCode,
    change: &Change<ProviderKey>,
) -> Result<(), Error> {
    let action = if change.new.is_some() { Action::Create } else { Action::Delete };
    let key = change.new.as_ref().or(change.old.as_ref());
    let fields = json!({ "masked": key.map(|key| mask(key.api_key.expose())) });
    audit::write_with(tx, &cx.context(status), change, action, fields).await
}
