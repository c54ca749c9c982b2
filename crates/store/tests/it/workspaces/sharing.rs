//! With whom workspaces are shared, and who decides that.

use std::collections::BTreeMap;

use rbac::{Action, ActionSet, Sharing};
use serde_json::json;
use stdx::ids::{GroupId, UserId};
use store::organizations::UpdateSharing;
use store::workspaces::{
    DeleteWorkspaceAcl, ENTRIES_MAX, GetWorkspace, GetWorkspaceAcl, Sharer, UpdateWorkspaceAcl,
};
use store::{Call, Error, Store as _};
use uuid::Uuid;

use super::{GROUP, add_workspace, person, person_where, scene, set, shared_with, workspace_id};
use crate::meeting::{meet, refused};
use crate::people::ORG;
use crate::scene::{NOW, owner, user_id, value};

const READ: ActionSet = ActionSet::of(&[Action::Read]);
const USE: ActionSet = ActionSet::of(&[Action::Read, Action::Ssh]);

/// How many lists of workspaces name anybody.
const LISTS: &str = "SELECT (count(*) FILTER (WHERE user_acl <> '{}')
    + count(*) FILTER (WHERE group_acl <> '{}'))::text FROM workspaces";

fn with_users(n: u32, users: &[(u32, ActionSet)]) -> UpdateWorkspaceAcl {
    let users = users.iter().map(|(user, actions)| (user_id(*user), *actions)).collect();
    UpdateWorkspaceAcl { id: workspace_id(n), users, groups: BTreeMap::new() }
}

fn with_groups(n: u32, groups: &[(GroupId, ActionSet)]) -> UpdateWorkspaceAcl {
    let groups = groups.iter().copied().collect();
    UpdateWorkspaceAcl { id: workspace_id(n), users: BTreeMap::new(), groups }
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_share_and_others_only_where_they_may() {
    let (db, store) = scene().await;
    let id = add_workspace(&db, 1, 1, "dev").await;
    let (alice, bob, carol) = (person(1), person(2), person(3));
    let (by, get) = (Call::by(&alice), || GetWorkspace { id });
    refused!(store.run(Call::by(&bob), with_users(1, &[(2, READ)])).await, Error::Denied(_));
    refused!(store.run(Call::by(&bob), get()).await, Error::Denied(_));

    let change = store.run(by, with_users(1, &[(2, USE)])).await.unwrap();
    let (old, new) = (change.old.unwrap(), change.new.unwrap());
    assert_eq!((old.user_acl, old.group_acl), (json!({}), json!({})));
    let bobs = json!({ user_id(2).to_string(): { "permissions": ["read", "ssh"] } });
    assert_eq!((&new.user_acl, &new.group_acl), (&bobs, &json!({})));
    assert_eq!(store.run(Call::by(&bob), get()).await.unwrap().0, new);
    // What Bob got is not the right to go on sharing.
    refused!(store.run(Call::by(&bob), with_users(1, &[(3, READ)])).await, Error::Denied(_));

    // Others on the list stay as they are.
    let share = ActionSet::of(&[Action::Read, Action::Share]);
    let change = store.run(by, with_groups(1, &[(GROUP, share)])).await.unwrap();
    assert_eq!(change.new.unwrap().user_acl, bobs);
    let dev = person_where(3, Sharing::Everyone, &[GROUP]);
    let change = store.run(Call::by(&dev), with_users(1, &[(2, ActionSet::EMPTY), (3, READ)]));
    let new = change.await.unwrap().new.unwrap();
    let carols = json!({ user_id(3).to_string(): { "permissions": ["read"] } });
    assert_eq!(new.user_acl, carols, "Bob is off the list, by a member of the group");
    refused!(store.run(Call::by(&bob), get()).await, Error::Denied(_));
    assert!(store.run(Call::by(&carol), get()).await.is_ok());

    // What was refused is not written.
    let unknown = with_users(1, &[(2, ActionSet::of(&[Action::Use]))]);
    refused!(store.run(by, unknown).await, Error::Unfit(_));
    let users = (0..=ENTRIES_MAX).map(|n| u128::try_from(n).unwrap());
    let users = users.map(|n| (UserId::new(Uuid::from_u128(n)), READ)).collect();
    let endless = UpdateWorkspaceAcl { users, ..with_users(1, &[]) };
    refused!(store.run(by, endless).await, Error::Unfit(_));
    refused!(store.run(by, with_users(9, &[])).await, Error::NotFound);
    assert_eq!(value(&db, LISTS).await, "2");

    let delete = |n| DeleteWorkspaceAcl { id: workspace_id(n) };
    refused!(store.run(Call::by(&carol), delete(1)).await, Error::Denied(_));
    refused!(store.run(by, delete(9)).await, Error::NotFound);
    let change = store.run(by, delete(1)).await.unwrap();
    assert_eq!((change.old.unwrap().user_acl, change.new.unwrap().user_acl), (carols, json!({})));
    assert_eq!(value(&db, LISTS).await, "0");
    set(&db, 1, "deleted = true").await;
    refused!(store.run(by, with_users(1, &[(2, READ)])).await, Error::NotFound);
    refused!(store.run(by, delete(1)).await, Error::NotFound);
    refused!(store.run(by, GetWorkspaceAcl { id }).await, Error::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_shown_with_names() {
    let (db, store) = scene().await;
    let id = add_workspace(&db, 1, 2, "dev").await;
    let owner = owner();
    let by = Call::by(&owner);
    let gone = 7;
    store.run(by, with_users(1, &[(1, USE), (gone, READ)])).await.unwrap();
    let everyone = GroupId::new(ORG.uuid());
    store.run(by, with_groups(1, &[(GROUP, READ), (everyone, ActionSet::ALL)])).await.unwrap();
    let shared = store.run(Call::by(&person(1)), GetWorkspaceAcl { id }).await.unwrap();
    let described =
        |name: &str, avatar_url: &str, actions| (name.to_owned(), avatar_url.to_owned(), actions);
    let shown = |s: &Sharer<UserId>| (s.id, described(&s.name, &s.avatar_url, s.actions));
    let users: Vec<_> = shared.users.iter().map(shown).collect();
    let alice = (user_id(1), described("alice", "/alice.png", USE));
    assert_eq!(users, [alice, (user_id(gone), described("", "", READ))]);
    let shown = |s: &Sharer<GroupId>| (s.id, described(&s.name, &s.avatar_url, s.actions));
    let groups: Vec<_> = shared.groups.iter().map(shown).collect();
    let all = (everyone, described("Everyone", "", ActionSet::ALL));
    assert_eq!(groups, [all, (GROUP, described("Devs", "", READ))]);
    assert_eq!(shared.workspace.id.0, id);

    let outsider = crate::scene::member(1);
    refused!(store.run(Call::by(&outsider), GetWorkspaceAcl { id }).await, Error::Denied(_));
    let absent = GetWorkspaceAcl { id: workspace_id(9) };
    refused!(store.run(by, absent).await, Error::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_shares_what_is_dormant() {
    let (db, store) = scene().await;
    let id = add_workspace(&db, 1, 1, "dev").await;
    let list = shared_with(&user_id(2), &["read", "share"]);
    set(&db, 1, &format!("dormant_at = now(), user_acl = '{list}'")).await;
    for by in [person(1), person(2), owner()] {
        let by = Call::by(&by);
        refused!(store.run(by, with_users(1, &[(3, READ)])).await, Error::Denied(_));
        refused!(store.run(by, DeleteWorkspaceAcl { id }).await, Error::Denied(_));
    }
    refused!(store.run(Call::by(&person(2)), GetWorkspaceAcl { id }).await, Error::Denied(_));
    let shared = store.run(Call::by(&person(1)), GetWorkspaceAcl { id }).await.unwrap();
    assert_eq!(shared.users.len(), 1, "it is there for when it wakes up");
}

#[tokio::test(flavor = "multi_thread")]
async fn organizations_decide_whose_workspaces_are_shared() {
    let (db, store) = scene().await;
    for (n, owner, name) in [(1, 1, "dev"), (4, 4, "service")] {
        add_workspace(&db, n, owner, name).await;
    }
    let owner = owner();
    let by = Call::by(&owner);
    for (sharing, of_alice, of_robot) in [
        (Sharing::Everyone, true, true),
        (Sharing::ServiceAccounts, false, true),
        (Sharing::None, false, false),
    ] {
        store.run(by, UpdateSharing { id: ORG, sharing, now: NOW }).await.unwrap();
        for (n, allowed) in [(1, of_alice), (4, of_robot)] {
            // The owner may share everything, and a list may say that somebody may: it takes the organization, too.
            for who in [owner.clone(), person(n)] {
                let outcome = store.run(Call::by(&who), with_users(n, &[(2, READ)])).await;
                match outcome {
                    Ok(_) => assert!(allowed, "{sharing:?}"),
                    Err(error) => {
                        let Error::Denied(denial) = error else { panic!("{error}") };
                        assert!(!allowed, "{sharing:?}");
                        assert_eq!((denial.action, denial.readable), (Action::Share, true));
                    }
                }
            }
            let delete = DeleteWorkspaceAcl { id: workspace_id(n) };
            store.run(by, delete).await.unwrap();
        }
        assert_eq!(value(&db, LISTS).await, "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_list_outlives_the_end_of_sharing() {
    let (db, store) = scene().await;
    for (n, owner, name) in [(1, 1, "dev"), (4, 4, "service")] {
        add_workspace(&db, n, owner, name).await;
    }
    let at = (&db, &store);
    let (owner, alice) = (owner(), person(1));
    let (by, as_alice) = (Call::by(&owner), Call::by(&alice));
    let decide = |sharing| UpdateSharing { id: ORG, sharing, now: NOW };
    for end in [Sharing::None, Sharing::ServiceAccounts] {
        store.run(by, decide(Sharing::Everyone)).await.unwrap();
        let share = || with_users(1, &[(2, READ)]);
        let (shared, ended) = meet(at, (as_alice, share), (by, decide(end))).await;
        assert_eq!(shared.unwrap().new.unwrap().user_acl.as_object().unwrap().len(), 1);
        assert_eq!(ended.unwrap().new.unwrap().shareable_workspace_owners, end.as_str());
        assert_eq!(value(&db, LISTS).await, "0", "{end:?}: shared before, and emptied");

        store.run(by, decide(Sharing::Everyone)).await.unwrap();
        let (ended, shared) = meet(at, (by, || decide(end)), (as_alice, share())).await;
        assert!(ended.is_ok(), "{ended:?}");
        refused!(shared, Error::Denied(_));
        assert_eq!(value(&db, LISTS).await, "0", "{end:?}: refused afterwards");
    }
    // What is opened at the same time may be shared as soon as that is so.
    store.run(by, decide(Sharing::None)).await.unwrap();
    let opened = || decide(Sharing::Everyone);
    let (opened, shared) = meet(at, (by, opened), (as_alice, with_users(1, &[(2, READ)]))).await;
    assert!(opened.is_ok() && shared.is_ok(), "{opened:?} {shared:?}");
    assert_eq!(value(&db, LISTS).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_share_at_once_do_not_undo_each_other() {
    let (db, store) = scene().await;
    add_workspace(&db, 1, 1, "dev").await;
    let (alice, owner) = (person(1), owner());
    let (one, two) = (Call::by(&alice), Call::by(&owner));
    let bob = || with_users(1, &[(2, READ)]);
    let (first, second) = meet((&db, &store), (one, bob), (two, with_users(1, &[(3, USE)]))).await;
    assert!(first.is_ok(), "{first:?}");
    let new = second.unwrap().new.unwrap();
    let both = json!({
        user_id(2).to_string(): { "permissions": ["read"] },
        user_id(3).to_string(): { "permissions": ["read", "ssh"] },
    });
    assert_eq!(new.user_acl, both);
    // Who ends sharing, and who shares once more.
    let id = workspace_id(1);
    let delete = || DeleteWorkspaceAcl { id };
    let (ended, shared) = meet((&db, &store), (one, delete), (two, bob())).await;
    assert!(ended.is_ok(), "{ended:?}");
    let bobs = json!({ user_id(2).to_string(): { "permissions": ["read"] } });
    assert_eq!(shared.unwrap().new.unwrap().user_acl, bobs);
    let (shared, ended) = meet((&db, &store), (one, bob), (two, delete())).await;
    assert!(shared.is_ok() && ended.is_ok(), "{shared:?} {ended:?}");
    assert_eq!(value(&db, LISTS).await, "0");
}
