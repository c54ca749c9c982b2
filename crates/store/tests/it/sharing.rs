//! What is shared ends when it may not be shared any longer.

use rbac::Sharing;
use stdx::ids::OrganizationId;
use store::organizations::{InsertOrganization, UpdateSharing};
use store::{Call, Error, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::people::{ORG, colleague, organization};
use crate::scene::{NOW, add_user, owner, user_id, value};

/// Names of the workspaces that are shared with somebody, each with how many lists say so.
const SHARED: &str = "SELECT coalesce(string_agg(name || ':' ||
        ((user_acl <> '{}')::int + (group_acl <> '{}')::int), ' ' ORDER BY name), '')
    FROM workspaces WHERE user_acl <> '{}' OR group_acl <> '{}'";

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_workspaces_are_emptied_where_sharing_ends() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    let owner = owner();
    let by = Call::by(&owner);
    for (n, name) in [(1, "alice"), (2, "robot")] {
        add_user(&store, n, name).await;
    }
    organization(&store, &[1, 2]).await;
    let other = OrganizationId::new(Uuid::from_u128(0x21));
    let new = InsertOrganization {
        id: other,
        name: "other".to_owned(),
        display_name: String::new(),
        is_default: false,
        now: NOW,
    };
    store.run(by, new).await.unwrap();
    let (alice, robot) = (user_id(1), user_id(2));
    let list = format!("'{{\"{alice}\": {{\"permissions\": [\"read\"]}}}}'");
    let mut rows = vec![format!(
        "UPDATE users SET email = '', login_type = 'none', is_service_account = true WHERE id = '{robot}'"
    )];
    for (n, org) in [(1, ORG), (2, other)] {
        rows.push(format!(
            "INSERT INTO templates (id, organization_id, created_at, updated_at, name, active_version_id, created_by)
             VALUES ('{}', '{org}', now(), now(), 'rust', '{}', '{alice}')",
            Uuid::from_u128(n),
            Uuid::from_u128(9)
        ));
    }
    for (n, owned_by, org, template, name, users, groups) in [
        (1, alice, ORG, 1, "both", &*list, &*list),
        (2, alice, ORG, 1, "group", "'{}'", &*list),
        (3, robot, ORG, 1, "service", &*list, "'{}'"),
        (4, alice, other, 2, "elsewhere", &*list, "'{}'"),
        (5, alice, ORG, 1, "private", "'{}'", "'{}'"),
    ] {
        rows.push(format!(
            "INSERT INTO workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, name,
                 last_used_at, user_acl, group_acl)
             VALUES ('{}', now(), now(), '{owned_by}', '{org}', '{}', '{name}', now(), {users}, {groups})",
            Uuid::from_u128(n),
            Uuid::from_u128(template)
        ));
    }
    for row in rows {
        db.sql(&row).await.unwrap();
    }
    let all = "both:2 elsewhere:1 group:1 service:1";
    assert_eq!(value(&db, SHARED).await, all);
    let colleague = colleague(1, Sharing::Everyone);
    let update = |sharing| UpdateSharing { id: ORG, sharing, now: NOW };
    let refused = store.run(Call::by(&colleague), update(Sharing::None)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    assert_eq!(value(&db, SHARED).await, all, "a refusal changes nothing");
    for (sharing, left) in [
        (Sharing::Everyone, all),
        (Sharing::ServiceAccounts, "elsewhere:1 service:1"),
        (Sharing::None, "elsewhere:1"),
        (Sharing::Everyone, "elsewhere:1"),
    ] {
        store.run(by, update(sharing)).await.unwrap();
        assert_eq!(value(&db, SHARED).await, left, "{sharing:?}");
    }
    assert_eq!(value(&db, "SELECT count(*) FROM workspaces").await, "5");
}
