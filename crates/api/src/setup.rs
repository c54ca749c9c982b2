//! What a deployment needs before it serves: its identity and its first organization.

use audit::Context;
use rbac::{RoleOptions, system};
use stdx::ids::{OrganizationId, RequestId, UserId};
use stdx::{Rng, SharedClock, SharedRng};
use store::interceptions::EnsurePartitions;
use store::locks::{Acquire, Lock};
use store::organizations::{GetDefault, InsertOrganization};
use store::provisioner_keys::InsertReservedKeys;
use store::site_configs::{DEPLOYMENT_ID, GetOrInsert};
use store::system_roles::ReconcileSystemRoles;
use store::{Call, Error, Full, Store as _, Tx, TxOptions};
use time::OffsetDateTime;

/// Name of the organization that every deployment begins with.
const ORGANIZATION: &str = "coder";

/// Makes what is missing and returns the deployment's identifier. Several servers may start at once.
///
/// # Errors
/// What the store returns.
pub async fn prepare(
    store: &Full,
    clock: &SharedClock,
    rng: &SharedRng,
    roles: RoleOptions,
) -> Result<String, Error> {
    let now = clock.now();
    let by = Call::by(system::bootstrap());
    let deployment_id = store
        .tx(by, TxOptions::write("deployment_setup"), async |tx| {
            tx.run(Acquire(Lock::DeploymentSetup)).await?;
            let made = GetOrInsert { key: DEPLOYMENT_ID, value: rng.uuid_v4().to_string() };
            let deployment_id = tx.run(made).await?;
            let organization_id = match Error::optional(tx.run(GetDefault).await)? {
                Some(organization) => organization.id.0,
                None => first_organization(tx, now, &**rng).await?,
            };
            tx.run(InsertReservedKeys { organization_id, now }).await?;
            Ok::<_, Error>(deployment_id)
        })
        .await?;
    reconcile_system_roles(store, clock, roles).await?;
    ensure_partitions(store, clock).await?;
    Ok(deployment_id)
}

async fn first_organization(
    tx: &mut Tx,
    now: OffsetDateTime,
    rng: &dyn Rng,
) -> Result<OrganizationId, Error> {
    let id = OrganizationId::new(rng.uuid_v4());
    let (name, display_name) = (ORGANIZATION.to_owned(), "Coder".to_owned());
    let organization = InsertOrganization { id, name, display_name, is_default: true, now };
    let change = tx.run(organization).await?;
    let context = Context {
        user_id: UserId::nil(),
        request_id: RequestId::new(rng.uuid_v4()),
        ip: None,
        user_agent: None,
        status_code: 201,
        time: now,
        rng,
    };
    audit::background(tx, &context, &change, "setup").await?;
    Ok(id)
}

/// Brings the stored copies of the implied roles in line with what decisions are made by. Yields how many were not.
pub(crate) async fn reconcile_system_roles(
    store: &Full,
    clock: &SharedClock,
    options: RoleOptions,
) -> Result<u64, Error> {
    let mut changed = 0;
    let reconcile = ReconcileSystemRoles { organization_id: None, options, now: clock.now() };
    for role in store.run(Call::by(system::role_reconciler()), reconcile).await? {
        changed += 1;
        let (organization_id, role_name) = (role.organization_id, role.name);
        if role.was_missing {
            tracing::error!(%organization_id, role_name, "a system role was missing; it was made again");
        } else {
            tracing::info!(%organization_id, role_name, "the stored copy of a system role was brought up to date");
        }
    }
    Ok(changed)
}

/// Makes the partitions of this month and the next two, where they are missing.
///
/// # Errors
/// What the store returns.
pub(crate) async fn ensure_partitions(store: &Full, clock: &SharedClock) -> Result<(), Error> {
    store.run(Call::by(system::gateway()), EnsurePartitions { at: clock.now() }).await
}
