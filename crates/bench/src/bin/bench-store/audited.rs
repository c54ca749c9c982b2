//! What the chain of the audit log costs: changes with their row, which commit one after the other, against the same
//! changes without.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rbac::system;
use serde_json::json;
use stdx::ids::{AuditId, OrganizationId, RequestId, UserId};
use stdx::{Clock as _, Rng as _, SystemClock, SystemRng};
use store::audit_logs::{AuditLog, InsertAuditLog};
use store::users::UpdateLastSeen;
use store::{Call, Error, Full, Pk, Tx, TxOptions};
use uuid::Uuid;

use super::table::{Bar, Table};

/// How long each is measured.
const LONG: Duration = Duration::from_secs(3);

pub(crate) async fn measure(store: &Full, table: &mut Table) -> Result<()> {
    for writers in [1, 8] {
        let (plain, audited) =
            (run(store, writers, false).await?, run(store, writers, true).await?);
        let what = format!("changes with their row in the audit log, {writers} at once");
        let besides = format!("{plain:.0}/s without");
        table.add(what, (audited, "/s"), besides, Bar::None);
    }
    Ok(())
}

async fn run(store: &Full, writers: u32, audited: bool) -> Result<f64> {
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        tasks.spawn(write(store.clone(), writer, audited, began + LONG));
    }
    let mut changes = 0_u32;
    while let Some(done) = tasks.join_next().await {
        changes += done.context("a writer panicked")??;
    }
    Ok(f64::from(changes) / began.elapsed().as_secs_f64())
}

async fn write(store: Full, writer: u32, audited: bool, until: Instant) -> Result<u32, Error> {
    // Everybody changes a row of his own.
    let id = UserId::new(testkit::volume::user(writer).parse::<Uuid>().unwrap_or_default());
    let mut changes = 0;
    while Instant::now() < until {
        let now = SystemClock.now();
        store
            .tx(
                Call::by(system::authenticator()),
                TxOptions::write("bench_audited"),
                async |tx: &mut Tx| {
                    tx.run(UpdateLastSeen { id, now }).await?;
                    if audited {
                        tx.run_by(Call::by(system::auditor()), InsertAuditLog(row(id))).await?;
                    }
                    Ok::<_, Error>(())
                },
            )
            .await?;
        changes += 1;
    }
    Ok(changes)
}

fn row(user: UserId) -> AuditLog {
    let now = SystemClock.now();
    AuditLog {
        id: Pk(AuditId::new(SystemRng.uuid_v7(now))),
        time: now,
        user_id: Pk(user),
        organization_id: Pk(OrganizationId::nil()),
        ip: None,
        user_agent: Some("bench/1".to_owned()),
        resource_type: "user".to_owned(),
        resource_id: user.uuid(),
        resource_target: "person".to_owned(),
        resource_icon: String::new(),
        action: "write".to_owned(),
        diff: json!({ "name": { "old": "a", "new": "b", "secret": false } }),
        status_code: 200,
        additional_fields: json!({}),
        request_id: Pk(RequestId::nil()),
    }
}
