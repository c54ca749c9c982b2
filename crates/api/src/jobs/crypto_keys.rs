//! Rotation of the keys by which the deployment signs and seals its own tokens.
//!
//! Each feature has a series of keys. The current one is the newest that has started. An hour before it is a month old
//! its successor is made, to start at that moment; the old one stays as long as tokens that it signed may be shown,
//! and then loses its secret.

use std::time::Duration;

use crypt::hex;
use rbac::system;
use stdx::{Rng, Secret, SharedClock, SharedRng};
use store::crypto_keys::{
    CryptoKey, DeleteCryptoKeys, InsertCryptoKey, ListCryptoKeys, RetireCryptoKey,
};
use store::locks::{Lock, TryAcquire};
use store::{Call, Error, Full, Tx, TxOptions};
use time::OffsetDateTime;

/// How long a key is the current one.
const AGE: Duration = Duration::from_hours(30 * 24);
/// How long before its time a key is made: servers that read keys less often have it by then.
const AHEAD: Duration = Duration::from_hours(1);
/// How long beyond the last token a key stays, for clocks that differ.
const MARGIN: Duration = Duration::from_hours(1);

struct Feature {
    name: &'static str,
    /// Bytes of a key.
    bytes: usize,
    /// Longest life of a token.
    token: Duration,
}

const FEATURES: [Feature; 4] = [
    Feature { name: "workspace_apps_token", bytes: 64, token: Duration::from_mins(1) },
    Feature { name: "workspace_apps_api_key", bytes: 32, token: Duration::from_mins(1) },
    Feature { name: "oidc_convert", bytes: 64, token: Duration::from_mins(5) },
    Feature { name: "tailnet_resume", bytes: 64, token: Duration::from_hours(24) },
];

/// Makes keys that are due, and forgets those whose time has come. Yields how many. Nothing, when another server is
/// at it.
///
/// # Errors
/// What the store returns.
pub(super) async fn rotate(
    store: &Full,
    clock: &SharedClock,
    rng: &SharedRng,
) -> Result<u64, Error> {
    let now = clock.now();
    let options = TxOptions::write("rotate_crypto_keys");
    store
        .tx(Call::by(system::key_rotator()), options, async |tx: &mut Tx| {
            if !tx.run(TryAcquire(Lock::CryptoKeys)).await? {
                return Ok(0);
            }
            let mut changed = 0;
            for feature in &FEATURES {
                changed += renew(tx, feature, now, &**rng).await?;
            }
            Ok(changed + tx.run(DeleteCryptoKeys { now }).await? as u64)
        })
        .await
}

async fn renew(
    tx: &mut Tx,
    feature: &Feature,
    now: OffsetDateTime,
    rng: &dyn Rng,
) -> Result<u64, Error> {
    let keys = tx.run(ListCryptoKeys { feature: feature.name }).await?;
    let (starts_at, sequence, old) = match keys.first() {
        None => (now, 1, None),
        Some(newest) => match due(newest, now) {
            None => return Ok(0),
            Some(starts_at) => (starts_at, newest.sequence + 1, Some(newest)),
        },
    };
    let mut bytes = vec![0; feature.bytes];
    rng.fill(&mut bytes);
    tx.run(InsertCryptoKey {
        id: rng.uuid_v4(),
        feature: feature.name,
        sequence,
        secret: Secret::new(hex(&bytes)),
        starts_at,
    })
    .await?;
    if let Some(old) = old.filter(|old| old.secret.is_some() && old.deletes_at.is_none()) {
        let deletes_at = starts_at + feature.token + MARGIN;
        tx.run(RetireCryptoKey { id: old.id, deletes_at }).await?;
    }
    tracing::info!(feature = feature.name, sequence, %starts_at, "made a key");
    Ok(1)
}

/// When the successor of the newest key of a series has to start, if it is time to make it.
fn due(newest: &CryptoKey, now: OffsetDateTime) -> Option<OffsetDateTime> {
    // A key that somebody deleted has no time left.
    if newest.secret.is_none() || newest.deletes_at.is_some_and(|at| at <= now) {
        return Some(now);
    }
    let over = newest.starts_at + AGE;
    (now + AHEAD >= over).then(|| over.max(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;
    use uuid::Uuid;

    const START: OffsetDateTime = datetime!(2031-01-01 00:00 UTC);

    fn key(secret: bool, deletes_at: Option<OffsetDateTime>) -> CryptoKey {
        CryptoKey {
            id: Uuid::nil(),
            feature: "oidc_convert".to_owned(),
            sequence: 1,
            secret: secret.then(|| Secret::from("00")),
            starts_at: START,
            deletes_at,
        }
    }

    #[test]
    fn a_successor_is_due_an_hour_before_a_month_is_over_or_at_once_without_a_key() {
        let month = START + AGE;
        let minute = Duration::from_mins(1);
        for (name, newest, now, wanted) in [
            ("young", key(true, None), START, None),
            ("not yet", key(true, None), month - AHEAD - minute, None),
            ("now", key(true, None), month - AHEAD, Some(month)),
            ("late", key(true, None), month + AHEAD, Some(month + AHEAD)),
            ("deleted", key(false, None), START + minute, Some(START + minute)),
            ("to be deleted", key(true, Some(month)), START, None),
            ("over", key(true, Some(START)), START + minute, Some(START + minute)),
        ] {
            assert_eq!(due(&newest, now), wanted, "{name}");
        }
    }
}
