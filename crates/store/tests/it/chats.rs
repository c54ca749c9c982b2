//! Chats: whose they are, what they are part of, and how they are found.

mod messages;
mod work;

use std::sync::Arc;
use std::time::Duration;

use rbac::{Sharing, Subject};
use serde_json::{Value, json};
use stdx::ids::{ChatId, McpServerId, OrganizationId, UserId};
use store::chats::{Chat, GetChat, InsertChat, ListChats, UpdateChat};
use store::organizations::InsertOrganization;
use store::{Call, Constraint, Error, Full, Pk, Store as _};
use testkit::TestDb;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::chat_models::{model, model_id};
use crate::meeting::{meet, refused};
use crate::people::{ORG, colleague, organization};
use crate::scene::{NOW, add_user, member, owner, user_id};

const OTHER_ORG: OrganizationId = OrganizationId::new(Uuid::from_u128(0x21));
const MINUTE: Duration = Duration::from_mins(1);

const fn chat_id(n: u32) -> ChatId {
    ChatId::new(Uuid::from_u128(0xb100 + n as u128))
}

/// A chat of user `user`.
fn new_chat(n: u32, user: u32) -> InsertChat {
    InsertChat {
        id: chat_id(n),
        owner_id: user_id(user),
        organization_id: ORG,
        workspace_id: None,
        parent: None,
        title: format!("Chat {n}"),
        status: "waiting",
        client_type: "api",
        model_config_id: model_id(1),
        mode: None,
        plan_mode: None,
        mcp_server_ids: Vec::new(),
        labels: json!({}),
        dynamic_tools: None,
        now: NOW,
    }
}

/// Alice and Bob in an organization, and a model.
async fn scene() -> (TestDb, Full, Arc<Subject>, Arc<Subject>) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for (n, name) in [(1, "alice"), (2, "bob")] {
        add_user(&store, n, name).await;
    }
    organization(&store, &[1, 2]).await;
    for (n, name) in [(1, "sonnet"), (2, "opus")] {
        store.run(Call::by(&owner()), model(n, name)).await.unwrap();
    }
    let person = |n| colleague(n, Sharing::None);
    (db, store, person(1), person(2))
}

/// A workspace of Alice.
async fn workspace(db: &TestDb, n: u32, org: OrganizationId, deleted: bool) -> Uuid {
    let (id, user) = (Uuid::from_u128(0xa300 + u128::from(n)), user_id(1));
    db.sql(&format!(
        "INSERT INTO templates (id, organization_id, created_at, updated_at, name, active_version_id, created_by)
         VALUES ('{id}', '{org}', now(), now(), 'rust-{n}', '{id}', '{user}');
         INSERT INTO workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, name,
            last_used_at, deleted)
         VALUES ('{id}', now(), now(), '{user}', '{org}', '{id}', 'dev-{n}', now(), {deleted});"
    ))
    .await
    .unwrap();
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn members_begin_chats_of_their_own() {
    let (db, store, alice, bob) = scene().await;
    let by = Call::by(&alice);
    for other in [&bob, &member(1)] {
        refused!(store.run(Call::by(other), new_chat(1, 1)).await, Error::Denied(_));
    }
    let elsewhere = InsertChat { organization_id: OTHER_ORG, ..new_chat(1, 1) };
    refused!(store.run(by, elsewhere).await, Error::Denied(_));
    let server = McpServerId::new(Uuid::from_u128(5));
    let new = InsertChat {
        status: "pending",
        client_type: "ui",
        mode: Some("explore".to_owned()),
        plan_mode: Some("plan".to_owned()),
        mcp_server_ids: vec![server],
        labels: json!({ "team": "core" }),
        dynamic_tools: Some(json!([])),
        workspace_id: Some(workspace(&db, 1, ORG, false).await),
        ..new_chat(1, 1)
    };
    let chat = store.run(by, new.clone()).await.unwrap().new.unwrap();
    let wanted = Chat {
        id: Pk(chat_id(1)),
        owner_id: Pk(user_id(1)),
        organization_id: Pk(ORG),
        workspace_id: new.workspace_id,
        title: "Chat 1".to_owned(),
        status: "pending".to_owned(),
        worker_id: None,
        started_at: None,
        heartbeat_at: None,
        created_at: NOW,
        updated_at: NOW,
        parent_chat_id: None,
        root_chat_id: None,
        last_model_config_id: Pk(model_id(1)),
        archived: false,
        last_error: None,
        mode: Some("explore".to_owned()),
        plan_mode: Some("plan".to_owned()),
        mcp_server_ids: vec![Pk(server)],
        labels: json!({ "team": "core" }),
        pin_order: 0,
        last_read_message_id: None,
        last_injected_context: None,
        dynamic_tools: Some(json!([])),
        client_type: "ui".to_owned(),
    };
    assert_eq!(chat, wanted);
    refused!(store.run(by, new_chat(1, 1)).await, Error::Conflict(Constraint::ChatsPkey));

    let get = |n| GetChat { id: chat_id(n) };
    assert_eq!(store.run(by, get(1)).await.unwrap(), chat);
    assert_eq!(store.run(Call::by(&owner()), get(1)).await.unwrap(), chat);
    for other in [&bob, &member(1)] {
        refused!(store.run(Call::by(other), get(1)).await, Error::Denied(_));
    }
    refused!(store.run(by, get(9)).await, Error::NotFound);

    let wrong = |new: InsertChat| store.run(by, new);
    let model_config_id = model_id(9);
    refused!(
        wrong(InsertChat { model_config_id, ..new_chat(9, 1) }).await,
        Error::Missing(Constraint::ChatsLastModelConfigFk)
    );
    let known = [
        (InsertChat { status: "asleep", ..new_chat(9, 1) }, Constraint::ChatsStatusKnown),
        (InsertChat { client_type: "fax", ..new_chat(9, 1) }, Constraint::ChatsClientTypeKnown),
        (InsertChat { labels: json!([]), ..new_chat(9, 1) }, Constraint::ChatsLabelsObject),
        (
            InsertChat { mode: Some("idle".to_owned()), ..new_chat(9, 1) },
            Constraint::ChatsModeKnown,
        ),
        (
            InsertChat { plan_mode: Some("none".to_owned()), ..new_chat(9, 1) },
            Constraint::ChatsPlanModeKnown,
        ),
    ];
    for (new, constraint) in known {
        let refused = wrong(new).await;
        assert!(matches!(refused, Err(Error::Check(found)) if found == constraint), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_one_of_the_same_organization() {
    let (db, store, alice, _bob) = scene().await;
    let other = InsertOrganization {
        id: OTHER_ORG,
        name: "other".to_owned(),
        display_name: String::new(),
        is_default: false,
        now: NOW,
    };
    store.run(Call::by(&owner()), other).await.unwrap();
    for (n, org, deleted) in [(1, OTHER_ORG, false), (2, ORG, true)] {
        let workspace_id = Some(workspace(&db, n, org, deleted).await);
        let refused = store.run(Call::by(&alice), InsertChat { workspace_id, ..new_chat(n, 1) });
        refused!(refused.await, Error::Missing(Constraint::ChatsWorkspaceFk));
    }
    let absent = InsertChat { workspace_id: Some(Uuid::nil()), ..new_chat(3, 1) };
    let absent = store.run(Call::by(&alice), absent).await;
    refused!(absent, Error::Missing(Constraint::ChatsWorkspaceFk));
    let workspace_id = Some(workspace(&db, 4, ORG, false).await);
    let with = InsertChat { workspace_id, ..new_chat(4, 1) };
    let chat = store.run(Call::by(&alice), with).await.unwrap().new.unwrap();
    assert_eq!(chat.workspace_id, workspace_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_chat_was_begun_by_whom_the_chat_was() {
    let (_db, store, alice, bob) = scene().await;
    let by = Call::by(&alice);
    store.run(by, InsertChat { client_type: "ui", ..new_chat(1, 1) }).await.unwrap();
    for (n, parent) in [(2, 1), (3, 2)] {
        let part = InsertChat { parent: Some(chat_id(parent)), ..new_chat(n, 1) };
        let part = store.run(by, part).await.unwrap().new.unwrap();
        assert_eq!(part.client_type, "ui");
        assert_eq!(part.parent_chat_id, Some(Pk(chat_id(parent))));
        assert_eq!(part.root_chat_id, Some(Pk(chat_id(1))));
    }
    // Neither of somebody else's, nor of one that is not there.
    for (by, new) in [
        (Call::by(&bob), InsertChat { parent: Some(chat_id(1)), ..new_chat(4, 2) }),
        (by, InsertChat { parent: Some(chat_id(9)), ..new_chat(4, 1) }),
    ] {
        refused!(store.run(by, new).await, Error::Missing(Constraint::ChatsParentFk));
    }
}

fn list(user: u32) -> ListChats {
    let owner_id: UserId = user_id(user);
    ListChats { owner_id, archived: None, labels: None, after: None, offset: 0, limit: 100 }
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_are_listed_from_the_latest_change_on() {
    let (_db, store, alice, bob) = scene().await;
    let by = Call::by(&alice);
    for (n, labels) in [
        (1, json!({ "team": "core", "area": "ui" })),
        (2, json!({ "team": "core" })),
        (3, json!({})),
        (4, json!({ "team": "edge" })),
    ] {
        // Two of them at the same time.
        let now = NOW + MINUTE * if n == 3 { 2 } else { n };
        store.run(by, InsertChat { labels, now, ..new_chat(n, 1) }).await.unwrap();
    }
    let archived = UpdateChat { archived: Some(true), ..UpdateChat::of(chat_id(1), NOW + MINUTE) };
    store.run(by, archived).await.unwrap();
    store.run(Call::by(&bob), new_chat(5, 2)).await.unwrap();
    let after = |minutes: u32, n| Some((NOW + MINUTE * minutes, chat_id(n)));
    let labels = |labels: Value| Some(labels);
    let core = || labels(json!({ "team": "core" }));
    let cases = [
        (list(1), vec![4, 3, 2, 1]),
        (ListChats { archived: Some(false), ..list(1) }, vec![4, 3, 2]),
        (ListChats { archived: Some(true), ..list(1) }, vec![1]),
        (ListChats { labels: core(), ..list(1) }, vec![2, 1]),
        (ListChats { labels: core(), archived: Some(true), ..list(1) }, vec![1]),
        (ListChats { labels: labels(json!({ "area": "ui", "team": "edge" })), ..list(1) }, vec![]),
        (ListChats { labels: labels(json!({})), ..list(1) }, vec![4, 3, 2, 1]),
        (ListChats { limit: 2, ..list(1) }, vec![4, 3]),
        (ListChats { limit: 2, after: after(2, 3), ..list(1) }, vec![2, 1]),
        (ListChats { limit: 2, after: after(2, 2), ..list(1) }, vec![1]),
        (ListChats { offset: 1, limit: 2, ..list(1) }, vec![3, 2]),
        (ListChats { offset: -1, limit: -1, ..list(1) }, vec![]),
        (list(2), vec![5]),
        (list(3), vec![]),
    ];
    for (list, wanted) in cases {
        let shown = format!("{list:?}");
        let mine = list.owner_id == user_id(1);
        let by_owner = ListChats { labels: list.labels.clone(), ..list };
        let wanted: Vec<_> = wanted.into_iter().map(chat_id).collect();
        let ids = |chats: Vec<Chat>| chats.into_iter().map(|chat| chat.id.0).collect::<Vec<_>>();
        let seen = ids(store.run(by, list).await.unwrap());
        assert_eq!(seen, if mine { wanted.clone() } else { vec![] }, "{shown}");
        assert_eq!(ids(store.run(Call::by(&owner()), by_owner).await.unwrap()), wanted, "{shown}");
    }
    for other in [&bob, &member(1)] {
        assert_eq!(store.run(Call::by(other), list(1)).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_change_is_changed_and_nothing_else() {
    let (_db, store, alice, bob) = scene().await;
    let by = Call::by(&alice);
    let new = InsertChat { mode: Some("explore".to_owned()), ..new_chat(1, 1) };
    let mut known = store.run(by, new).await.unwrap().new.unwrap();
    let later: OffsetDateTime = NOW + MINUTE;
    let none = || UpdateChat::of(chat_id(1), later);
    for other in [&bob, &member(1)] {
        refused!(store.run(Call::by(other), none()).await, Error::Denied(_));
    }
    let absent = store.run(by, UpdateChat { id: chat_id(9), ..none() }).await;
    refused!(absent, Error::NotFound);
    let server = McpServerId::new(Uuid::from_u128(5));
    let text = |text: &str| Some(Some(text.to_owned()));
    let cases: [(UpdateChat, fn(Chat) -> Chat); 9] = [
        (none(), |chat| chat),
        (UpdateChat { title: Some("New".to_owned()), ..none() }, |chat| Chat {
            title: "New".to_owned(),
            ..chat
        }),
        (UpdateChat { archived: Some(true), ..none() }, |chat| Chat { archived: true, ..chat }),
        (UpdateChat { labels: Some(json!({ "a": "b" })), ..none() }, |chat| Chat {
            labels: json!({ "a": "b" }),
            ..chat
        }),
        (UpdateChat { pin_order: Some(3), ..none() }, |chat| Chat { pin_order: 3, ..chat }),
        (UpdateChat { mode: text("computer_use"), ..none() }, |chat| Chat {
            mode: Some("computer_use".to_owned()),
            ..chat
        }),
        (UpdateChat { mode: Some(None), ..none() }, |chat| Chat { mode: None, ..chat }),
        (UpdateChat { plan_mode: text("plan"), ..none() }, |chat| Chat {
            plan_mode: Some("plan".to_owned()),
            ..chat
        }),
        (UpdateChat { mcp_server_ids: Some(vec![server]), ..none() }, |chat| Chat {
            mcp_server_ids: vec![Pk(McpServerId::new(Uuid::from_u128(5)))],
            ..chat
        }),
    ];
    for (update, change) in cases {
        let shown = format!("{update:?}");
        let changed = store.run(by, update).await.unwrap();
        let wanted = Chat { updated_at: later, ..change(known.clone()) };
        assert_eq!((changed.old, changed.new), (Some(known), Some(wanted.clone())), "{shown}");
        known = wanted;
    }
    let wrong = store.run(by, UpdateChat { mode: text("idle"), ..none() }).await;
    refused!(wrong, Error::Check(Constraint::ChatsModeKnown));
    let wrong = store.run(by, UpdateChat { labels: Some(json!("a")), ..none() }).await;
    refused!(wrong, Error::Check(Constraint::ChatsLabelsObject));
    assert_eq!(store.run(by, GetChat { id: chat_id(1) }).await.unwrap(), known);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_the_second_starts_from_the_first() {
    let (db, store, alice, _bob) = scene().await;
    let by = Call::by(&alice);
    store.run(by, new_chat(1, 1)).await.unwrap();
    let update = |title: &str| UpdateChat {
        title: Some(title.to_owned()),
        ..UpdateChat::of(chat_id(1), NOW)
    };
    let pin = || UpdateChat { pin_order: Some(1), ..UpdateChat::of(chat_id(1), NOW) };
    let (one, two) = meet((&db, &store), (by, || update("A")), (by, pin())).await;
    assert_eq!(one.unwrap().new, two.as_ref().unwrap().old);
    let pinned = two.unwrap().new.unwrap();
    assert_eq!((pinned.title.as_str(), pinned.pin_order), ("A", 1));
    let unpin = || UpdateChat { pin_order: Some(0), ..pin() };
    let (one, two) = meet((&db, &store), (by, unpin), (by, update("B"))).await;
    assert_eq!(one.unwrap().new, two.as_ref().unwrap().old);
    let named = two.unwrap().new.unwrap();
    assert_eq!((named.title.as_str(), named.pin_order), ("B", 0));
}
