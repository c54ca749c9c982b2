//! MCP servers: their secrets and the tokens of users, at rest and in hand.

use std::time::Duration;

use rbac::system;
use stdx::Secret;
use stdx::ids::McpServerId;
use store::mcp_servers::{
    DeleteMcpServer, DeleteUserToken, GetMcpServer, GetUserToken, InsertMcpServer, ListMcpServers,
    McpServer, McpSettings, NewSecrets, UpdateMcpServer, UpsertUserToken, UserToken,
};
use store::user_links::Tokens;
use store::users::DeleteUser;
use store::{Call, Constraint, Error, Full, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::meeting::{meet, refused};
use crate::scene::{NOW, add_user, member, owner, user_id, value};
use crate::sealed::{digest, ring};

const SECRETS: [&str; 3] = ["client-not-to-be-seen", "key-not-to-be-seen", "{\"x\":\"not seen\"}"];

const fn server_id(n: u32) -> McpServerId {
    McpServerId::new(Uuid::from_u128(0xb200 + n as u128))
}

fn settings(slug: &str) -> McpSettings {
    McpSettings {
        display_name: "Docs".to_owned(),
        slug: slug.to_owned(),
        description: String::new(),
        url: "https://mcp.example.com/".to_owned(),
        auth_type: "oauth2".to_owned(),
        oauth2_client_id: "us".to_owned(),
        api_key_header: "X-Key".to_owned(),
        enabled: true,
    }
}

fn all() -> NewSecrets {
    let [client, key, headers] = SECRETS.map(|secret| Some(Secret::from(secret)));
    NewSecrets { oauth2_client_secret: client, api_key_value: key, custom_headers: headers }
}

fn server(n: u32, slug: &str, secrets: NewSecrets) -> InsertMcpServer {
    InsertMcpServer { id: server_id(n), settings: settings(slug), secrets, now: NOW }
}

fn in_hand(server: &McpServer) -> [&str; 3] {
    let secrets = &server.secrets;
    [&secrets.oauth2_client_secret, &secrets.api_key_value, &secrets.custom_headers]
        .map(|secret| secret.expose().as_str())
}

/// Alice and Bob, in a deployment that encrypts.
async fn scene() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store_with(ring(&[1])).await.unwrap();
    add_user(&store, 1, "alice").await;
    add_user(&store, 2, "bob").await;
    (db, store)
}

/// Every text of a table, as stored.
async fn at_rest(db: &TestDb, table: &str) -> String {
    value(db, &format!("SELECT string_agg(t::text, '|') FROM {table} t")).await
}

const PAIRS: &str = "SELECT concat_ws(' ',
    left(oauth2_client_secret, 3), oauth2_client_secret_key_id IS NULL,
    left(api_key_value, 3), api_key_value_key_id IS NULL,
    left(custom_headers, 3), custom_headers_key_id IS NULL) FROM mcp_server_configs WHERE slug = 'docs'";

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_servers_are_sealed_at_rest_and_open_in_every_answer() {
    let (db, store) = scene().await;
    let owner = owner();
    let by = Call::by(&owner);
    let made = store.run(by, server(1, "docs", all())).await.unwrap().new.unwrap();
    assert_eq!(in_hand(&made), SECRETS);
    let stored = at_rest(&db, "mcp_server_configs").await;
    assert!(SECRETS.iter().all(|secret| !stored.contains(secret)), "in the clear: {stored}");
    assert_eq!(stored.matches(&digest(1)).count(), 3, "each says which key sealed it");
    let get = || GetMcpServer { id: server_id(1) };
    let got = store.run(by, get()).await.unwrap();
    assert_eq!((in_hand(&got), &got.settings), (SECRETS, &settings("docs")));
    let shown = format!("{made:?}{:?}", server(1, "docs", all()));
    assert!(SECRETS.iter().all(|secret| !shown.contains(secret)), "{shown}");

    // What is not spoken of is kept as it is; an empty one takes the old one away, and is not sealed.
    let update = |secrets| UpdateMcpServer {
        id: server_id(1),
        settings: McpSettings { enabled: false, ..settings("docs") },
        secrets,
        now: NOW + Duration::from_secs(1),
    };
    let change = store.run(by, update(NewSecrets::default())).await.unwrap();
    let (old, new) = (change.old.unwrap(), change.new.unwrap());
    assert_eq!((in_hand(&old), in_hand(&new)), (SECRETS, SECRETS));
    assert_eq!((old.settings.enabled, new.settings.enabled), (true, false));
    assert_eq!(new.updated_at, NOW + Duration::from_secs(1));
    let some = NewSecrets {
        api_key_value: Some(Secret::from("another")),
        custom_headers: Some(Secret::from("")),
        ..NewSecrets::default()
    };
    let new = store.run(by, update(some)).await.unwrap().new.unwrap();
    assert_eq!(in_hand(&new), [SECRETS[0], "another", ""]);
    assert_eq!(value(&db, PAIRS).await, "v1: f v1: f  t");
    let gone = store.run(by, DeleteMcpServer { id: server_id(1) }).await.unwrap();
    assert_eq!(in_hand(&gone.old.unwrap()), [SECRETS[0], "another", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_secrets_do_not_open_says_so_and_can_be_mended() {
    let (db, store) = scene().await;
    let owner = owner();
    let by = Call::by(&owner);
    for (n, slug) in [(1, "docs"), (2, "wiki")] {
        store.run(by, server(n, slug, all())).await.unwrap();
    }
    db.sql(
        "UPDATE mcp_server_configs d SET api_key_value = w.api_key_value FROM mcp_server_configs w
          WHERE d.slug = 'docs' AND w.slug = 'wiki'",
    )
    .await
    .unwrap();
    let refused = store.run(by, GetMcpServer { id: server_id(1) }).await;
    refused!(refused, Error::Keyring { table: "mcp_server_configs", column: "api_key_value", .. });
    let list = || ListMcpServers { only_enabled: true, ids: None };
    let listed = store.run(by, list()).await.unwrap();
    let fault = listed[0].fault.clone().unwrap();
    assert!(fault.contains("mcp_server_configs.api_key_value"), "{fault}");
    assert_eq!((in_hand(&listed[0]), in_hand(&listed[1])), ([""; 3], SECRETS));
    let mend =
        UpdateMcpServer { id: server_id(1), settings: settings("docs"), secrets: all(), now: NOW };
    let change = store.run(by, mend).await.unwrap();
    assert!(change.old.unwrap().fault.is_some());
    assert_eq!(in_hand(&change.new.unwrap()), SECRETS);
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_offer_servers_and_chats_reach_them() {
    let (_db, store) = scene().await;
    let (owner, member) = (owner(), member(1));
    let (by, other, chatd) = (Call::by(&owner), Call::by(&member), Call::by(system::chatd()));
    let none = NewSecrets::default;
    let update = |n, slug| UpdateMcpServer {
        id: server_id(n),
        settings: McpSettings { enabled: false, ..settings(slug) },
        secrets: none(),
        now: NOW,
    };
    let delete = |n| DeleteMcpServer { id: server_id(n) };
    for (n, slug) in [(1, "docs"), (2, "code"), (3, "wiki")] {
        refused!(store.run(other, server(n, slug, none())).await, Error::Denied(_));
        refused!(store.run(chatd, server(n, slug, none())).await, Error::Denied(_));
        store.run(by, server(n, slug, none())).await.unwrap();
    }
    let taken = store.run(by, server(4, "docs", none())).await;
    refused!(taken, Error::Conflict(Constraint::McpServerConfigsSlugKey));
    let taken = store.run(by, update(2, "docs")).await;
    refused!(taken, Error::Conflict(Constraint::McpServerConfigsSlugKey));
    let auth_type = McpSettings { auth_type: "trust".to_owned(), ..settings("new") };
    let auth_type = InsertMcpServer { settings: auth_type, ..server(4, "", none()) };
    let unknown = store.run(by, auth_type).await;
    refused!(unknown, Error::Check(Constraint::McpServerConfigsAuthTypeKnown));
    refused!(store.run(other, update(2, "code")).await, Error::Denied(_));
    refused!(store.run(by, update(9, "code")).await, Error::NotFound);
    store.run(by, update(2, "code")).await.unwrap();

    let slugs = async |call, only_enabled, ids: Option<Vec<McpServerId>>| {
        let listed = store.run(call, ListMcpServers { only_enabled, ids }).await.unwrap();
        listed.into_iter().map(|server| server.settings.slug).collect::<Vec<_>>()
    };
    assert_eq!(slugs(by, false, None).await, ["code", "docs", "wiki"]);
    assert_eq!(slugs(chatd, true, None).await, ["docs", "wiki"]);
    let some = Some(vec![server_id(2), server_id(3), server_id(9)]);
    assert_eq!(slugs(chatd, true, some).await, ["wiki"]);
    assert_eq!(slugs(other, false, None).await, [""; 0]);
    refused!(store.run(other, GetMcpServer { id: server_id(1) }).await, Error::Denied(_));
    refused!(store.run(chatd, GetMcpServer { id: server_id(9) }).await, Error::NotFound);
    assert!(store.run(chatd, GetMcpServer { id: server_id(1) }).await.is_ok());
    refused!(store.run(other, delete(1)).await, Error::Denied(_));
    store.run(by, delete(1)).await.unwrap();
    refused!(store.run(by, delete(1)).await, Error::NotFound);
}

fn tokens(access: &str, refresh: &str) -> Tokens {
    Tokens { access: Secret::from(access), refresh: Secret::from(refresh), expiry: Some(NOW) }
}

fn upsert(n: u32, user: u32, tokens: Tokens) -> UpsertUserToken {
    UpsertUserToken {
        id: Uuid::from_u128(0xb300 + u128::from(n)),
        user_id: user_id(user),
        server_id: server_id(1),
        tokens,
        token_type: "Bearer".to_owned(),
        now: NOW + Duration::from_secs(n.into()),
    }
}

fn of(user: u32) -> GetUserToken {
    GetUserToken { user_id: user_id(user), server_id: server_id(1) }
}

fn shown(token: &UserToken) -> (&str, &str) {
    (token.tokens.access.expose(), token.tokens.refresh.expose())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_sealed_replaced_and_forgotten_by_their_user() {
    let (db, store) = scene().await;
    let (owner, alice, bob) = (owner(), member(1), member(2));
    let by = Call::by(&alice);
    let first = || upsert(1, 1, tokens("access-secret", "refresh-secret"));
    let absent = store.run(by, first()).await;
    refused!(absent, Error::Missing(Constraint::McpServerUserTokensServerFk));
    store.run(Call::by(&owner), server(1, "docs", NewSecrets::default())).await.unwrap();
    refused!(store.run(Call::by(&bob), first()).await, Error::Denied(_));
    refused!(store.run(by, of(1)).await, Error::NotFound);
    let made = store.run(by, first()).await.unwrap();
    assert_eq!(shown(&made), ("access-secret", "refresh-secret"));
    let debug = format!("{made:?}{:?}", first());
    assert!(!debug.contains("-secret"), "{debug}");
    let stored = at_rest(&db, "mcp_server_user_tokens").await;
    assert!(!stored.contains("-secret"), "in the clear: {stored}");
    assert_eq!(stored.matches(&digest(1)).count(), 2);

    // The row stays the same one, so what is sealed for it opens.
    let second = UpsertUserToken {
        token_type: "DPoP".to_owned(),
        ..upsert(2, 1, Tokens { expiry: None, ..tokens("another-secret", "") })
    };
    let again = store.run(by, second).await.unwrap();
    assert_eq!(
        (again.id, again.created_at, again.updated_at),
        (made.id, made.created_at, NOW + Duration::from_secs(2))
    );
    for token in [&again, &store.run(by, of(1)).await.unwrap()] {
        assert_eq!(shown(token), ("another-secret", ""));
        assert_eq!((token.token_type.as_str(), token.tokens.expiry), ("DPoP", None));
    }
    let pair = "SELECT concat_ws(' ', left(access_token, 3), access_token_key_id IS NULL,
        left(refresh_token, 3), refresh_token_key_id IS NULL) FROM mcp_server_user_tokens";
    assert_eq!(value(&db, pair).await, "v1: f  t");
    let chatd = Call::by(system::chatd());
    assert_eq!(shown(&store.run(chatd, of(1)).await.unwrap()), ("another-secret", ""));
    refused!(store.run(chatd, first()).await, Error::Denied(_));
    refused!(store.run(Call::by(&bob), of(1)).await, Error::Denied(_));

    let forget = |user| DeleteUserToken { user_id: user_id(user), server_id: server_id(1) };
    refused!(store.run(Call::by(&bob), forget(1)).await, Error::Denied(_));
    store.run(by, forget(1)).await.unwrap();
    refused!(store.run(by, forget(1)).await, Error::NotFound);

    // They go with the server, and with the user.
    for user in [1, 2] {
        store.run(Call::by(&member(user)), upsert(user, user, tokens("a", "r"))).await.unwrap();
    }
    store.run(Call::by(&owner), DeleteUser { id: user_id(2), now: NOW }).await.unwrap();
    let count = "SELECT count(*) FROM mcp_server_user_tokens";
    assert_eq!(value(&db, count).await, "1");
    let gone = store.run(Call::by(&bob), upsert(3, 2, tokens("a", "r"))).await;
    refused!(gone, Error::NotFound);
    store.run(Call::by(&owner), DeleteMcpServer { id: server_id(1) }).await.unwrap();
    assert_eq!(value(&db, count).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tokens_that_come_at_once_the_second_stays_and_opens() {
    let (db, store) = scene().await;
    let alice = member(1);
    let by = Call::by(&alice);
    store.run(Call::by(&owner()), server(1, "docs", NewSecrets::default())).await.unwrap();
    // The first time there is no row, the second time there is one.
    for n in [1, 3] {
        let first = || upsert(n, 1, tokens("one", "one"));
        let second = upsert(n + 1, 1, tokens("two", "two"));
        let (one, two) = meet((&db, &store), (by, first), (by, second)).await;
        assert_eq!(one.unwrap().id, two.unwrap().id);
        assert_eq!(shown(&store.run(by, of(1)).await.unwrap()), ("two", "two"));
    }
    let forget = || DeleteUserToken { user_id: user_id(1), server_id: server_id(1) };
    let (gone, new) =
        meet((&db, &store), (by, forget), (by, upsert(5, 1, tokens("three", "")))).await;
    assert!(gone.is_ok());
    assert_eq!(shown(&new.unwrap()), ("three", ""));
    let (new, gone) =
        meet((&db, &store), (by, || upsert(6, 1, tokens("four", ""))), (by, forget())).await;
    assert!(new.is_ok() && gone.is_ok());
    refused!(store.run(by, of(1)).await, Error::NotFound);
}
