//! Keys of provisioner daemons: whose they are, and those that stand for no key.

use std::sync::Arc;

use rbac::{Catalog, Scope, Sharing, Subject, SubjectBuilder};
use serde_json::json;
use stdx::ids::{OrganizationId, ProvisionerKeyId};
use store::organizations::{CountResources, DeleteOrganization};
use store::provisioner_keys::{
    DeleteProvisionerKey, FindProvisionerKeyByHash, GetProvisionerKey, GetProvisionerKeyByName,
    InsertProvisionerKey, InsertReservedKeys, ListProvisionerKeys, ProvisionerKey, RESERVED,
};
use store::{Call, Constraint, Error, Full, Pk, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::meeting::{meet, refused};
use crate::people::{ORG, colleague, organization};
use crate::scene::{NOW, add_user, member, owner, user_id, value};

const fn key_id(n: u32) -> ProvisionerKeyId {
    ProvisionerKeyId::new(Uuid::from_u128(0x9300 + n as u128))
}

fn key(n: u32, name: &str) -> ProvisionerKey {
    ProvisionerKey {
        id: Pk(key_id(n)),
        created_at: NOW,
        organization_id: Pk(ORG),
        name: name.to_owned(),
        hashed_secret: n.to_be_bytes().repeat(8),
        tags: json!({ "site": "zurich" }),
    }
}

fn admin(org: OrganizationId) -> Arc<Subject> {
    let admin = SubjectBuilder::user(user_id(1)).site_role("member").scope(Scope::all());
    let admin = admin.membership(org, Sharing::None, false).org_role(org, "organization-admin");
    Arc::new(admin.compile(&Catalog::default()).unwrap())
}

async fn scene() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for (n, name) in [(1, "alice"), (2, "bob")] {
        add_user(&store, n, name).await;
    }
    organization(&store, &[1, 2]).await;
    (db, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_and_removed_by_admins_of_their_organization() {
    let (db, store) = scene().await;
    let (admin, stranger) = (admin(ORG), admin(OrganizationId::new(Uuid::from_u128(0x21))));
    let (colleague, outsider) = (colleague(2, Sharing::None), member(3));
    let by = Call::by(&admin);
    for other in [&stranger, &colleague, &outsider] {
        let refused = store.run(Call::by(other), InsertProvisionerKey(key(1, "builders"))).await;
        assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    }
    let made = store.run(by, InsertProvisionerKey(key(1, "Builders"))).await.unwrap();
    assert_eq!(made.new, Some(key(1, "Builders")));
    let wrong_tags = ProvisionerKey { tags: json!([]), ..key(2, "b") };
    let taken = InsertProvisionerKey(key(2, "BUILDERS"));
    let taken = store.run(by, taken).await;
    assert!(
        matches!(taken, Err(Error::Conflict(Constraint::ProvisionerKeysOrganizationNameLowerKey))),
        "{taken:?}"
    );
    for (wrong, constraint) in [
        (key(2, ""), Constraint::ProvisionerKeysNameCheck),
        (wrong_tags, Constraint::ProvisionerKeysTagsObject),
    ] {
        let refused = store.run(by, InsertProvisionerKey(wrong)).await;
        assert!(
            matches!(refused, Err(Error::Check(found)) if found == constraint),
            "{constraint:?}"
        );
    }

    let name = || GetProvisionerKeyByName { organization_id: ORG, name: "bUILDERS".to_owned() };
    let list = || ListProvisionerKeys { organization_id: ORG };
    for (who, reads) in [(&admin, true), (&colleague, true), (&stranger, false), (&outsider, false)]
    {
        let call = Call::by(who);
        for got in [
            store.run(call, name()).await,
            store.run(call, GetProvisionerKey { id: key_id(1) }).await,
        ] {
            match got {
                Ok(got) => assert!(reads && got == key(1, "Builders")),
                Err(error) => assert!(!reads && matches!(error, Error::Denied(_)), "{error:?}"),
            }
        }
        assert_eq!(store.run(call, list()).await.unwrap().len(), usize::from(reads));
        let absent = store.run(call, GetProvisionerKey { id: key_id(9) }).await;
        assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
    }

    for other in [&stranger, &colleague, &outsider] {
        let refused = store.run(Call::by(other), DeleteProvisionerKey { id: key_id(1) }).await;
        assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    }
    // An organization with keys stays.
    let kept = store.run(Call::by(&owner()), DeleteOrganization { id: ORG, now: NOW }).await;
    assert!(kept.is_err(), "{kept:?}");
    let gone = store.run(by, DeleteProvisionerKey { id: key_id(1) }).await.unwrap();
    assert_eq!((gone.old, gone.new), (Some(key(1, "Builders")), None));
    let absent = store.run(by, DeleteProvisionerKey { id: key_id(1) }).await;
    assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
    assert_eq!(value(&db, "SELECT count(*) FROM provisioner_keys").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_keys_are_neither_listed_nor_presented_nor_deleted() {
    let (db, store) = scene().await;
    let (owner, admin) = (owner(), admin(ORG));
    let by = Call::by(&owner);
    let reserve = || InsertReservedKeys { organization_id: ORG, now: NOW };
    for other in [colleague(2, Sharing::None), member(1)] {
        refused!(store.run(Call::by(&other), reserve()).await, Error::Denied(_));
    }
    // Two servers that start at once.
    let (one, two) = meet((&db, &store), (by, reserve), (by, reserve())).await;
    let made: Vec<_> = one.unwrap().into_iter().map(|change| change.new.unwrap()).collect();
    assert_eq!(two.unwrap(), []);
    let wanted = RESERVED.map(|(id, name)| (id, name.to_owned()));
    assert_eq!(made.iter().map(|key| (key.id.0, key.name.clone())).collect::<Vec<_>>(), wanted);
    for (n, (id, name)) in (10..).zip(RESERVED) {
        let kept = store.run(by, DeleteProvisionerKey { id }).await;
        assert!(matches!(kept, Err(Error::NotFound)), "{kept:?}");
        let found = FindProvisionerKeyByHash { hashed_secret: Vec::new() };
        assert_eq!(store.run(by, found).await.unwrap(), None);
        assert_eq!(store.run(by, GetProvisionerKey { id }).await.unwrap().name, name);
        let same = InsertProvisionerKey(key(n, &name.to_uppercase()));
        let same = store.run(Call::by(&admin), same).await;
        refused!(same, Error::Conflict(Constraint::ProvisionerKeysOrganizationNameLowerKey));
    }
    let held = store.run(by, CountResources { id: ORG }).await.unwrap();
    assert_eq!(held.provisioner_keys, 0, "they do not keep an organization");
    // One that went away comes back.
    db.sql("DELETE FROM provisioner_keys WHERE name = 'psk'").await.unwrap();
    let made = store.run(by, reserve()).await.unwrap();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].new.as_ref().unwrap().name, "psk");
    // An older version may have let somebody take a name.
    db.sql("UPDATE provisioner_keys SET id = gen_random_uuid() WHERE name = 'psk'").await.unwrap();
    let taken = store.run(by, reserve()).await;
    refused!(taken, Error::Conflict(Constraint::ProvisionerKeysOrganizationNameLowerKey));
    db.sql("DELETE FROM provisioner_keys WHERE name = 'psk'").await.unwrap();
    store.run(by, reserve()).await.unwrap();
    store.run(by, InsertProvisionerKey(key(1, "builders"))).await.unwrap();
    let listed = store.run(by, ListProvisionerKeys { organization_id: ORG }).await.unwrap();
    assert_eq!(listed, [key(1, "builders")]);
    let find = |n| FindProvisionerKeyByHash { hashed_secret: key(n, "").hashed_secret };
    assert_eq!(store.run(by, find(1)).await.unwrap(), Some(key(1, "builders")));
    assert_eq!(store.run(by, find(2)).await.unwrap(), None);
    let refused = store.run(Call::by(&admin), find(1)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "one organization is not all: {refused:?}");
    assert_eq!(value(&db, "SELECT count(*) FROM provisioner_keys").await, "4");
}
