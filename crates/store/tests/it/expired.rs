//! What goes because it has expired, and what that leaves.

use rbac::system;
use store::purge::DeleteExpiredApiKeys;
use store::{Call, Store as _};
use testkit::TestDb;

use crate::scene::{fixture, migrations, value};

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
