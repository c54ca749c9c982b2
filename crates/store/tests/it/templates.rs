//! Templates: who may use them, and who decides that.

use std::collections::BTreeMap;

use rbac::{Action, ActionSet, Catalog, Scope, Sharing, Subject, SubjectBuilder};
use serde_json::json;
use std::sync::Arc;
use stdx::ids::GroupId;
use store::templates::{GetTemplate, UpdateTemplateAcl};
use store::{Call, Error, Store as _};

use crate::meeting::{meet, refused};
use crate::people::ORG;
use crate::scene::{owner, user_id};
use crate::workspaces::{OTHER_ORG, person, scene, template_id};

const USE: ActionSet = ActionSet::of(&[Action::Read, Action::Use]);

fn admin(role: &str) -> Arc<Subject> {
    let admin = SubjectBuilder::user(user_id(2)).site_role("member").scope(Scope::all());
    let admin = admin.membership(ORG, Sharing::None, false).org_role(ORG, role);
    Arc::new(admin.compile(&Catalog::default()).unwrap())
}

fn with_users(n: u32, users: &[(u32, ActionSet)]) -> UpdateTemplateAcl {
    let users = users.iter().map(|(user, actions)| (user_id(*user), *actions)).collect();
    UpdateTemplateAcl { id: template_id(n), users, groups: BTreeMap::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_are_used_by_those_whom_their_admins_let() {
    let (db, store) = scene().await;
    let (alice, carol, admin_of_templates) =
        (person(1), person(3), admin("organization-template-admin"));
    let by = Call::by(&admin_of_templates);
    let get = |n| GetTemplate { id: template_id(n) };
    assert_eq!(store.run(by, get(1)).await.unwrap().name, "rust-1");
    for (who, n) in [(&alice, 1), (&admin_of_templates, 2)] {
        refused!(store.run(Call::by(who), get(n)).await, Error::Denied(_));
        refused!(store.run(Call::by(who), with_users(n, &[(1, USE)])).await, Error::Denied(_));
    }
    refused!(store.run(by, get(9)).await, Error::NotFound);
    refused!(store.run(by, with_users(9, &[])).await, Error::NotFound);
    assert_eq!(store.run(Call::by(&owner()), get(2)).await.unwrap().organization_id.0, OTHER_ORG);

    let change = store.run(by, with_users(1, &[(1, USE)])).await.unwrap();
    assert_eq!(change.old.unwrap().user_acl, json!({}));
    let alices = json!({ user_id(1).to_string(): ["read", "use"] });
    assert_eq!(change.new.unwrap().user_acl, alices);
    let template = store.run(Call::by(&alice), get(1)).await.unwrap();
    assert_eq!(template.user_acl, alices);
    // To use it is not to decide about it; to administrate it is.
    refused!(store.run(Call::by(&alice), with_users(1, &[(3, USE)])).await, Error::Denied(_));
    store.run(by, with_users(1, &[(1, ActionSet::ALL)])).await.unwrap();
    let everyone = GroupId::new(ORG.uuid());
    let groups = BTreeMap::from([(everyone, USE)]);
    let update = UpdateTemplateAcl { groups, ..with_users(1, &[]) };
    let new = store.run(Call::by(&alice), update).await.unwrap().new.unwrap();
    assert_eq!(new.group_acl, json!({ ORG.to_string(): ["read", "use"] }));
    assert_eq!(new.user_acl, json!({ user_id(1).to_string(): ["*"] }), "others stay");
    assert!(store.run(Call::by(&carol), get(1)).await.is_ok());
    let change = store.run(by, with_users(1, &[(1, ActionSet::EMPTY)])).await.unwrap();
    assert_eq!(change.new.unwrap().user_acl, json!({}));
    let unknown = with_users(1, &[(1, ActionSet::of(&[Action::Ssh]))]);
    refused!(store.run(by, unknown).await, Error::Unfit(_));

    db.sql("UPDATE templates SET deleted = true").await.unwrap();
    assert!(store.run(by, get(1)).await.unwrap().deleted, "deleted ones stay for history");
    refused!(store.run(by, with_users(1, &[(1, USE)])).await, Error::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_decide_at_once_do_not_undo_each_other() {
    let (db, store) = scene().await;
    let (owner, admin) = (owner(), admin("organization-admin"));
    for (one, two) in [(1, 2), (3, 4)] {
        let first = (Call::by(&owner), || with_users(1, &[(one, USE)]));
        let second = (Call::by(&admin), with_users(1, &[(two, USE)]));
        let (first, second) = meet((&db, &store), first, second).await;
        assert!(first.is_ok(), "{first:?}");
        let list = second.unwrap().new.unwrap().user_acl;
        for user in [one, two] {
            assert_eq!(list[user_id(user).to_string()], json!(["read", "use"]));
        }
    }
}
