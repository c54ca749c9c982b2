//! What a deployment needs before it serves: its identity and its first organization.

use audit::Context;
use rbac::system;
use stdx::ids::{OrganizationId, RequestId, UserId};
use stdx::{SharedClock, SharedRng};
use store::interceptions::EnsurePartitions;
use store::locks::{Acquire, Lock};
use store::organizations::{GetDefault, InsertOrganization};
use store::site_configs::{DEPLOYMENT_ID, GetOrInsert};
use store::{Call, Error, Full, Store as _, TxOptions};

/// Name of the organization that every deployment begins with.
const ORGANIZATION: &str = "coder";

/// Makes what is missing and returns the deployment's identifier. Several servers may start at once.
///
/// # Errors
/// What the store returns.
pub async fn prepare(store: &Full, clock: &SharedClock, rng: &SharedRng) -> Result<String, Error> {
    let now = clock.now();
    let by = Call::by(system::bootstrap());
    let deployment_id = store
        .tx(by, TxOptions::write("deployment_setup"), async |tx| {
            tx.run(Acquire(Lock::DeploymentSetup)).await?;
            let made = GetOrInsert { key: DEPLOYMENT_ID, value: rng.uuid_v4().to_string() };
            let deployment_id = tx.run(made).await?;
            if Error::optional(tx.run(GetDefault).await)?.is_none() {
                let organization = InsertOrganization {
                    id: OrganizationId::new(rng.uuid_v4()),
                    name: ORGANIZATION.to_owned(),
                    display_name: "Coder".to_owned(),
                    is_default: true,
                    now,
                };
                let change = tx.run(organization).await?;
                let context = Context {
                    user_id: UserId::nil(),
                    request_id: RequestId::new(rng.uuid_v4()),
                    ip: None,
                    user_agent: None,
                    status_code: 201,
                    time: now,
                    rng: &**rng,
                };
                audit::background(tx, &context, &change, "setup").await?;
            }
            Ok::<_, Error>(deployment_id)
        })
        .await?;
    ensure_partitions(store, clock).await?;
    Ok(deployment_id)
}

/// Makes the partitions of this month and the next two, where they are missing.
///
/// # Errors
/// What the store returns.
pub async fn ensure_partitions(store: &Full, clock: &SharedClock) -> Result<(), Error> {
    store.run(Call::by(system::gateway()), EnsurePartitions { at: clock.now() }).await
}
