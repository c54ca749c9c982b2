//! What the deployment keeps about itself: daemons, servers, settings, usage, reports.

use rbac::{Action, Resource};
use serde_json::json;
use stdx::ids::{ProvisionerDaemonId, ProvisionerKeyId, ReplicaId};
use store::Pk;
use store::provisioner_daemons::{
    Filter, ListProvisionerDaemons, ListWithStatus, ProvisionerDaemon, TouchProvisionerDaemon,
    UpsertProvisionerDaemon,
};
use store::replicas::{GetReplica, InsertReplica, ListReplicas, Replica, UpdateReplica};
use store::site_configs::{DeleteSetting, GetSetting, UpsertSetting};
use store::telemetry::{GetItem, TakePeriod, UpsertItem};
use store::usage_events::{
    ClaimUsageEvents, InsertUsageEvent, MarkFailed, MarkPublished, SumDaily,
};
use uuid::Uuid;

use super::{NEW, NOW, ORGANIZATION, Refusal, Visitor};

const DAEMON: ProvisionerDaemonId =
    ProvisionerDaemonId::new(Uuid::from_u128(0x94000000_0000_4000_8000_000000000001));
const KEY: ProvisionerKeyId =
    ProvisionerKeyId::new(Uuid::from_u128(0x93000000_0000_4000_8000_000000000001));
const REPLICA: ReplicaId = ReplicaId::new(Uuid::from_u128(0x92000000_0000_4000_8000_000000000001));

pub(super) fn visit(v: &mut impl Visitor) {
    daemons(v);
    replicas(v);
    let (key, value) = (|| "organization-sync-settings".to_owned(), || "{}".to_owned());
    v.visit(GetSetting { key: key() }, Refusal::Inputs);
    v.visit(UpsertSetting { key: key(), value: value() }, Refusal::Inputs);
    v.visit(DeleteSetting { key: key() }, Refusal::Inputs);
    usage(v);
    let event_type = "boundary_usage_summary";
    v.visit(TakePeriod { event_type, period_ending_at: NOW }, Refusal::Inputs);
    let key = || "enabled".to_owned();
    v.visit(GetItem { key: key() }, Refusal::Inputs);
    v.visit(UpsertItem { key: key(), value: value(), now: NOW }, Refusal::Inputs);
}

fn daemons(v: &mut impl Visitor) {
    let daemon = ProvisionerDaemon {
        id: Pk(ProvisionerDaemonId::new(NEW)),
        created_at: NOW,
        name: "builder-2".to_owned(),
        provisioners: vec!["terraform".to_owned()],
        replica_id: None,
        tags: json!({ "scope": "organization", "owner": "" }),
        last_seen_at: Some(NOW),
        version: "v2.0.0".to_owned(),
        api_version: "1.0".to_owned(),
        organization_id: Pk(ORGANIZATION),
        key_id: Pk(KEY),
    };
    v.visit(UpsertProvisionerDaemon(daemon), Refusal::Inputs);
    let filter = || Filter { organization_id: Some(ORGANIZATION), ..Filter::default() };
    v.visit(ListProvisionerDaemons { filter: filter() }, Refusal::Empty(Vec::is_empty));
    v.visit(ListWithStatus { filter: filter(), seen_since: NOW }, Refusal::Empty(Vec::is_empty));
    v.visit(
        TouchProvisionerDaemon { id: DAEMON, now: NOW },
        Refusal::Row(Action::Update, Resource::ProvisionerDaemon),
    );
}

fn replicas(v: &mut impl Visitor) {
    let replica = |id| Replica {
        id: Pk(id),
        created_at: NOW,
        started_at: NOW,
        stopped_at: None,
        updated_at: NOW,
        hostname: "bern".to_owned(),
        region_id: 0,
        relay_address: String::new(),
        database_latency: 0,
        version: "v2.0.0".to_owned(),
        error: String::new(),
        primary: true,
    };
    v.visit(GetReplica { id: REPLICA }, Refusal::Inputs);
    v.visit(ListReplicas { updated_after: NOW }, Refusal::Inputs);
    v.visit(InsertReplica(replica(ReplicaId::new(NEW))), Refusal::Inputs);
    v.visit(UpdateReplica(replica(REPLICA)), Refusal::Inputs);
}

fn usage(v: &mut impl Visitor) {
    let event_type = "dc_managed_agents_v1";
    let ids = || vec!["agents-1".to_owned()];
    v.visit(
        InsertUsageEvent {
            id: "agents-3".to_owned(),
            event_type,
            event_data: json!({ "count": 1 }),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(ClaimUsageEvents { now: NOW, limit: 10 }, Refusal::Inputs);
    v.visit(MarkPublished { ids: ids(), claimed_at: NOW, now: NOW }, Refusal::Inputs);
    let message = "no licence".to_owned();
    v.visit(MarkFailed { ids: ids(), message, final_at: None, claimed_at: NOW }, Refusal::Inputs);
    v.visit(SumDaily { event_type, from: NOW.date(), to: NOW.date() }, Refusal::Inputs);
}
