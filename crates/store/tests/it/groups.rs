use std::sync::Arc;

use rbac::{Catalog, Scope, Sharing, Subject, SubjectBuilder};
use stdx::ids::{GroupId, OrganizationId};
use store::groups::GetGroup;
use store::{Call, Error, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::scene::{fixture, migrations, owner, user_id, value};

const GROUP: GroupId = GroupId::new(Uuid::from_u128(0x30000000_0000_4000_8000_000000000001));
const NONE: GroupId = GroupId::new(Uuid::from_u128(0x39000000_0000_4000_8000_000000000009));

/// A member of one organization, where members do not see all groups, in one group.
fn member(org: OrganizationId, group: GroupId) -> Arc<Subject> {
    let member = SubjectBuilder::user(user_id(7)).site_role("member").scope(Scope::all());
    let member = member.membership(org, Sharing::None, false).groups([group]);
    Arc::new(member.compile(&Catalog::default()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_read_by_its_members_and_those_who_read_all() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    fixture(&db, &migrations()[0]).await;
    let org = value(&db, &format!("SELECT organization_id FROM groups WHERE id = '{GROUP}'")).await;
    let org: OrganizationId = org.parse().unwrap();
    let other = OrganizationId::new(Uuid::from_u128(0x77));
    for (name, subject, read) in [
        ("owner", owner(), true),
        ("member of both", member(org, GROUP), true),
        ("not in the group", member(org, NONE), false),
        ("not in the organization", member(other, GROUP), false),
    ] {
        let outcome = store.run(Call::by(&subject), GetGroup { id: GROUP }).await;
        match outcome {
            Ok(group) => {
                assert!(read, "{name}");
                assert_eq!((group.id.0, group.organization_id.0), (GROUP, org));
            }
            Err(Error::Denied(denial)) => assert!(!read && !denial.readable, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
        let absent = store.run(Call::by(&subject), GetGroup { id: NONE }).await;
        assert!(matches!(absent, Err(Error::NotFound)), "{name}");
    }
    // The group of everyone has the organization's id and is everyone's.
    db.sql(&format!(
        "INSERT INTO groups (id, organization_id, name) VALUES ('{org}', '{org}', 'Everyone')"
    ))
    .await
    .unwrap();
    let everyone = GetGroup { id: GroupId::new(org.uuid()) };
    let group = store.run(Call::by(&member(org, NONE)), everyone).await.unwrap();
    assert_eq!(group.name, "Everyone");
}
