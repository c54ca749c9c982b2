use rbac::{Action, Resource};
use serde_json::json;
use stdx::ids::ProvisionerKeyId;
use store::Pk;
use store::provisioner_keys::{
    DeleteProvisionerKey, FindProvisionerKeyByHash, GetProvisionerKey, GetProvisionerKeyByName,
    InsertProvisionerKey, InsertReservedKeys, ListProvisionerKeys, ProvisionerKey,
};
use uuid::Uuid;

use super::{NEW, NOW, ORGANIZATION, Refusal, Visitor};

const KEY: ProvisionerKeyId =
    ProvisionerKeyId::new(Uuid::from_u128(0x93000000_0000_4000_8000_000000000001));

pub(super) fn visit(v: &mut impl Visitor) {
    let key = ProvisionerKey {
        id: Pk(ProvisionerKeyId::new(NEW)),
        created_at: NOW,
        organization_id: Pk(ORGANIZATION),
        name: "more-builders".to_owned(),
        hashed_secret: vec![7; 32],
        tags: json!({}),
    };
    v.visit(InsertProvisionerKey(key), Refusal::Inputs);
    v.visit(InsertReservedKeys { organization_id: ORGANIZATION, now: NOW }, Refusal::Inputs);
    v.visit(GetProvisionerKey { id: KEY }, Refusal::Row(Action::Read, Resource::ProvisionerDaemon));
    let name = "builders".to_owned();
    v.visit(
        GetProvisionerKeyByName { organization_id: ORGANIZATION, name },
        Refusal::Row(Action::Read, Resource::ProvisionerDaemon),
    );
    v.visit(FindProvisionerKeyByHash { hashed_secret: vec![0x5e; 32] }, Refusal::Inputs);
    v.visit(ListProvisionerKeys { organization_id: ORGANIZATION }, Refusal::Empty(Vec::is_empty));
    v.visit(
        DeleteProvisionerKey { id: KEY },
        Refusal::Row(Action::Delete, Resource::ProvisionerDaemon),
    );
}
