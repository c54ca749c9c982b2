//! OAuth2 clients that registered themselves and then nobody wanted: registration is open, the table is not for ever.

use std::time::Duration;

use audit::Context;
use rbac::system;
use stdx::ids::{RequestId, UserId};
use stdx::{SharedClock, SharedRng};
use store::locks::{Lock, TryAcquire};
use store::oauth2_apps::DeleteUnusedApps;
use store::{Call, Error, Full, Tx, TxOptions};

/// How long a client may go without being used or granted anything.
const UNUSED: Duration = Duration::from_hours(30 * 24);
/// Clients of one transaction.
const BATCH: i64 = 1_000;

/// Removes one batch. Yields how many; nothing, when another server is at it.
///
/// # Errors
/// What the store returns.
pub(super) async fn remove(
    store: &Full,
    clock: &SharedClock,
    rng: &SharedRng,
) -> Result<u64, Error> {
    let now = clock.now();
    let options = TxOptions::write("remove_unused_oauth2_clients");
    store
        .tx(Call::by(system::oauth2()), options, async |tx: &mut Tx| {
            if !tx.run(TryAcquire(Lock::Purge)).await? {
                return Ok(0);
            }
            let unused = DeleteUnusedApps { before: now - UNUSED, limit: BATCH };
            let gone = tx.run(unused).await?;
            let context = Context {
                user_id: UserId::nil(),
                request_id: RequestId::new(rng.uuid_v4()),
                ip: None,
                user_agent: None,
                status_code: 200,
                time: now,
                rng: &**rng,
            };
            for change in &gone {
                audit::background(tx, &context, change, "oauth2_clients").await?;
            }
            Ok(gone.len() as u64)
        })
        .await
}
