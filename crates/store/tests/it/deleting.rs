//! What goes with a user who is deleted, which is a mark on the row and fires no cascade.

use rbac::system;
use store::purge::DeleteExpiredApiKeys;
use store::{Call, Store as _};
use testkit::TestDb;

use crate::scene::{fixture, migrations, value};

enum Fate {
    /// Does not outlive the account.
    Removed,
    /// Stays, for this reason.
    Kept(&'static str),
}

/// Every column that refers to a user.
const OF_USERS: [(&str, Fate); 32] = [
    ("ai_seat_state.user_id", Fate::Kept("who ever used AI")),
    ("ai_user_daily_spend.user_id", Fate::Kept("what was spent stays spent")),
    ("aibridge_interceptions.initiator_id", Fate::Kept("what was recorded stays recorded")),
    ("api_keys.user_id", Fate::Removed),
    ("audit_logs.user_id", Fate::Kept("history")),
    ("chat_model_configs.created_by", Fate::Kept("who made it")),
    ("chat_model_configs.updated_by", Fate::Kept("who changed it")),
    ("chats.owner_id", Fate::Kept("history")),
    ("connection_logs.user_id", Fate::Kept("history")),
    ("connection_logs.workspace_owner_id", Fate::Kept("history")),
    ("external_auth_links.user_id", Fate::Removed),
    ("gitsshkeys.user_id", Fate::Removed),
    ("group_members.user_id", Fate::Removed),
    ("mcp_server_user_tokens.user_id", Fate::Removed),
    ("oauth2_grants.user_id", Fate::Removed),
    ("oauth2_provider_app_codes.user_id", Fate::Removed),
    ("oauth2_provider_app_tokens.user_id", Fate::Removed),
    ("organization_members.user_id", Fate::Removed),
    ("provisioner_jobs.initiator_id", Fate::Kept("who did it")),
    ("tasks.owner_id", Fate::Kept("history")),
    ("template_versions.created_by", Fate::Kept("who made it")),
    ("templates.created_by", Fate::Kept("who made it")),
    ("user_ai_budget_overrides.user_id", Fate::Removed),
    ("user_ai_provider_keys.user_id", Fate::Removed),
    ("user_configs.user_id", Fate::Removed),
    ("user_deleted.user_id", Fate::Kept("says when")),
    ("user_links.user_id", Fate::Removed),
    ("user_secrets.user_id", Fate::Removed),
    ("user_skills.user_id", Fate::Removed),
    ("user_status_changes.user_id", Fate::Kept("history")),
    ("workspace_builds.initiator_id", Fate::Kept("who did it")),
    ("workspaces.owner_id", Fate::Kept("to be removed before the account")),
];

/// What has a foreign key, and what is called as if it could have one.
const REFERENCES: &str = "
    SELECT name FROM (
        SELECT format('%s.%s', c.conrelid::regclass, a.attname) AS name
          FROM pg_constraint c
          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
         WHERE c.contype = 'f' AND c.confrelid = 'users'::regclass AND c.conparentid = 0
        UNION
        SELECT format('%s.%s', t.relname, a.attname)
          FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid
         WHERE t.relnamespace = 'public'::regnamespace AND t.relkind IN ('r', 'p') AND NOT t.relispartition
           AND a.attname IN ('user_id', 'initiator_id', 'owner_id')
    ) names ORDER BY name COLLATE \"C\"";

#[tokio::test(flavor = "multi_thread")]
async fn what_refers_to_a_deleted_user_is_removed_or_kept_as_declared() {
    let db = TestDb::new().await;
    let found: Vec<String> =
        db.sql(REFERENCES).await.unwrap().into_iter().map(|row| row[0].clone().unwrap()).collect();
    let declared: Vec<&str> = OF_USERS.iter().map(|(column, _)| *column).collect();
    assert_eq!(found, declared, "left: the catalogue, right: declared here");

    for name in migrations() {
        fixture(&db, &name).await;
    }
    let user = "10000000-0000-4000-8000-000000000001";
    let count = |column: &str| {
        let (table, column) = column.split_once('.').unwrap();
        format!("SELECT count(*) FROM {table} WHERE {column} = '{user}'")
    };
    let mut before = Vec::new();
    for (column, _) in &OF_USERS {
        before.push(value(&db, &count(column)).await);
    }
    db.sql(&format!("UPDATE users SET deleted = true WHERE id = '{user}'")).await.unwrap();
    for ((column, fate), before) in OF_USERS.iter().zip(before) {
        let after = value(&db, &count(column)).await;
        match fate {
            Fate::Removed => {
                assert_ne!(before, "0", "no fixture has a row in {column}");
                assert_eq!(after, "0", "{column}");
            }
            // That the user is deleted adds a line to the history.
            Fate::Kept(why) => assert!(after >= before, "{column}: {why}"),
        }
    }
    let members = "SELECT count(*) FROM group_members_expanded e JOIN users u ON u.id = e.user_id WHERE u.deleted";
    assert_eq!(value(&db, members).await, "0");
}

/// A refresh token lives longer than the access token that came with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_expired_leaves_its_refresh_token_and_one_that_is_deleted_does_not() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for name in migrations() {
        fixture(&db, &name).await;
    }
    let (tokens, keys) = (
        "SELECT count(*) FROM oauth2_provider_app_tokens",
        "SELECT count(*) FROM api_keys WHERE id = 'oauthtoken'",
    );
    db.sql("UPDATE oauth2_provider_app_tokens SET expires_at = now() + interval '30 days'")
        .await
        .unwrap();
    db.sql("UPDATE api_keys SET expires_at = now() - interval '8 days' WHERE id = 'oauthtoken'")
        .await
        .unwrap();
    let before = stdx::Clock::now(&stdx::SystemClock);
    let purged = DeleteExpiredApiKeys { before, limit: 10 };
    assert_eq!(store.run(Call::by(system::dbpurge()), purged).await.unwrap(), 1);
    assert_eq!((value(&db, keys).await, value(&db, tokens).await), ("0".into(), "1".into()));

    let again = "INSERT INTO api_keys SELECT 'oauthtoken', hashed_secret, user_id, last_used, expires_at, created_at,
            updated_at, login_type, lifetime_seconds, ip_address, token_name, scopes, allow_list
          FROM api_keys WHERE id = 'abcdefghij';
        UPDATE oauth2_provider_app_tokens SET api_key_id = 'oauthtoken'";
    db.sql(again).await.unwrap();
    db.sql("DELETE FROM api_keys WHERE id = 'oauthtoken'").await.unwrap();
    assert_eq!(value(&db, tokens).await, "0");
}
