use std::time::Duration;

use audit::ConnectionLogger;
use stdx::Lifecycle;
use stdx::ids::{ConnectionLogId, WorkspaceId};
use store::Full;
use store::connection_logs::{Connection, ConnectionEvent, Terminal};
use testkit::TestDb;
use time::macros::datetime;
use tokio::time::Instant;
use uuid::Uuid;

const WORKSPACE: Uuid = Uuid::from_u128(0xa3);

async fn scene() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    db.sql(
        "INSERT INTO users (id, email, username, created_at, updated_at)
         VALUES ('00000000-0000-0000-0000-0000000000a0', 'a@example.com', 'ann', now(), now());
         INSERT INTO organizations (id, name, display_name, created_at, updated_at)
         VALUES ('00000000-0000-0000-0000-0000000000a1', 'one', 'One', now(), now());
         INSERT INTO templates (id, organization_id, created_at, updated_at, name, active_version_id, created_by)
         VALUES ('00000000-0000-0000-0000-0000000000a2', '00000000-0000-0000-0000-0000000000a1', now(), now(), 'rust',
                 gen_random_uuid(), '00000000-0000-0000-0000-0000000000a0');
         INSERT INTO workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, name, last_used_at)
         VALUES ('00000000-0000-0000-0000-0000000000a3', now(), now(), '00000000-0000-0000-0000-0000000000a0',
                 '00000000-0000-0000-0000-0000000000a1', '00000000-0000-0000-0000-0000000000a2', 'dev', now())",
    )
    .await
    .unwrap();
    (db, store)
}

fn opened(n: u128, agent_name: &str) -> ConnectionEvent {
    ConnectionEvent {
        id: ConnectionLogId::new(Uuid::from_u128(n)),
        time: datetime!(2031-01-01 12:00 UTC),
        workspace_id: WorkspaceId::new(WORKSPACE),
        agent_name: agent_name.to_owned(),
        ip: None,
        connection: Connection::Opened {
            terminal: Terminal::Ssh,
            connection_id: Uuid::from_u128(n),
        },
    }
}

async fn stored(db: &TestDb) -> u64 {
    let rows = db.sql("SELECT count(*) FROM connection_logs").await.unwrap();
    rows[0][0].as_ref().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_written_also_when_the_process_stops_at_once() {
    let (db, store) = scene().await;
    let lifecycle = Lifecycle::new();
    let logger = ConnectionLogger::start(store, &lifecycle);
    for n in 1..=2_500 {
        logger.log(opened(n, "main")).await.unwrap();
    }
    lifecycle.stop(Duration::from_secs(20)).await;
    assert_eq!(stored(&db).await, 2_500);
    let refused = logger.log(opened(9, "late")).await.unwrap_err();
    assert_eq!(refused.agent_name, "late", "nothing is taken that nobody would write");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_the_database_and_one_that_cannot_be_stored_takes_no_other_with_it() {
    let (db, store) = scene().await;
    let lifecycle = Lifecycle::new();
    let logger = ConnectionLogger::start(store, &lifecycle);
    // A sequence counts also what is rolled back.
    db.sql(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION refuse_at_first() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
            IF nextval('tries') < 3 THEN RAISE EXCEPTION 'the database system is starting up'; END IF;
            RETURN NULL;
         END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON connection_logs FOR EACH STATEMENT EXECUTE FUNCTION refuse_at_first()",
    )
    .await
    .unwrap();
    for n in 1..=50 {
        let agent = if n == 17 { "ma\0in" } else { "main" };
        logger.log(opened(n, agent)).await.unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while stored(&db).await < 49 {
        assert!(Instant::now() < deadline, "{}", stored(&db).await);
    }
    let tries = db.sql("SELECT last_value FROM tries").await.unwrap();
    assert_ne!(tries[0][0].as_deref(), Some("1"), "it was tried again");
    lifecycle.stop(Duration::from_secs(20)).await;
    assert_eq!(stored(&db).await, 49);
}
