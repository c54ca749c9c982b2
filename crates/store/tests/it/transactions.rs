//! All or nothing, alone or in order, and the connection fit for use afterwards.

use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rbac::system;
use stdx::Lifecycle;
use stdx::ids::OrganizationId;
use store::ai_providers::{DeleteProvider, InsertKey};
use store::api_keys::{DeleteApiKey, InsertApiKey};
use store::audit_logs::InsertAuditLog;
use store::locks::{Acquire, Lock};
use store::organizations::InsertOrganization;
use store::users::{GetUser, UpdateStatus};
use store::{Call, Constraint, Error, Full, Isolation, Store as _, Transient, Tx, TxOptions};
use testkit::{Relay, TestDb};
use tokio::sync::{Barrier, Notify};
use tokio::time::Instant;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::scene::{
    NOW, add_user, eventually, member, new_key, new_user, owner, subject, user_id, value,
};
use crate::systems::{audit_log, provider, provider_key};

async fn fresh() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    (db, store)
}

const USERS: &str = "SELECT count(*) FROM users";
/// Statements that wait for a lock.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'";

async fn two_users<E: From<Error>>(tx: &mut Tx) -> Result<(), E> {
    tx.run(new_user(1, "alice")).await?;
    tx.run(new_user(2, "bob")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_committed_or_nothing() {
    let (db, store) = fresh().await;
    let owner = owner();
    let failed: Result<(), Error> = store
        .tx(Call::by(&owner), TxOptions::write("test"), async |tx| {
            two_users::<Error>(tx).await?;
            tx.run(new_user(3, "ALICE")).await?;
            Ok(())
        })
        .await;
    let taken = Constraint::UsersUsernameLowerKey;
    assert!(matches!(failed, Err(Error::Conflict(name)) if name == taken), "{failed:?}");
    assert_eq!(value(&db, USERS).await, "0");
    let done: Result<(), Error> =
        store.tx(Call::by(&owner), TxOptions::write("test"), two_users).await;
    done.unwrap();
    assert_eq!(value(&db, USERS).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_caller_rolls_back_and_comes_out_as_it_is() {
    #[derive(Debug)]
    struct Mine(&'static str);
    impl From<Error> for Mine {
        fn from(_: Error) -> Self {
            Self("store")
        }
    }
    impl Transient for Mine {
        fn is_transient(&self) -> bool {
            false
        }
    }
    let (db, store) = fresh().await;
    let failed: Result<(), Mine> = store
        .tx(Call::by(&owner()), TxOptions::write("test"), async |tx| {
            two_users::<Mine>(tx).await?;
            Err(Mine("changed my mind"))
        })
        .await;
    assert_eq!(failed.unwrap_err().0, "changed my mind");
    assert_eq!(value(&db, USERS).await, "0");
}

/// More often than there are connections: none may be left in a transaction, or lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_transaction_rolls_back_and_gives_its_connection_back() {
    let (db, store) = fresh().await;
    let owner = owner();
    for _ in 0..20 {
        let inserted = Notify::new();
        let hanging = store.tx(Call::by(&owner), TxOptions::write("test"), async |tx| {
            two_users::<Error>(tx).await?;
            inserted.notify_one();
            pending::<Result<(), Error>>().await
        });
        tokio::select! {
            outcome = hanging => panic!("{outcome:?}"),
            () = inserted.notified() => {}
        }
    }
    add_user(&store, 1, "alice").await;
    assert_eq!(value(&db, USERS).await, "1");
    let open = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    eventually(&db, open, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_serializable_transactions_in_conflict_both_succeed_in_the_end() {
    let (db, store) = fresh().await;
    add_user(&store, 1, "alice").await;
    let (runs, both_have_read) = (AtomicU32::new(0), Barrier::new(2));
    let set = async |status: &'static str| -> Result<(), Error> {
        let first = AtomicU32::new(0);
        store
            .tx(Call::by(&owner()), TxOptions::serializable("test"), async |tx| {
                runs.fetch_add(1, Ordering::Relaxed);
                tx.run(GetUser { id: user_id(1) }).await?;
                if first.fetch_add(1, Ordering::Relaxed) == 0 {
                    both_have_read.wait().await;
                }
                tx.run(UpdateStatus { id: user_id(1), status, now: NOW }).await?;
                Ok(())
            })
            .await
    };
    let (one, two) = tokio::join!(set("dormant"), set("suspended"));
    one.unwrap();
    two.unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 3, "one of them had to run again");
    assert_ne!(value(&db, "SELECT status FROM users").await, "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_tried_again() {
    let (_db, store) = fresh().await;
    add_user(&store, 1, "alice").await;
    add_user(&store, 2, "bob").await;
    let (runs, both_hold_one) = (AtomicU32::new(0), Barrier::new(2));
    let update = async |order: [u32; 2]| -> Result<(), Error> {
        let first = AtomicU32::new(0);
        store
            .tx(Call::by(&owner()), TxOptions::write("test"), async |tx| {
                runs.fetch_add(1, Ordering::Relaxed);
                let [one, other] = order.map(user_id);
                tx.run(UpdateStatus { id: one, status: "dormant", now: NOW }).await?;
                if first.fetch_add(1, Ordering::Relaxed) == 0 {
                    both_hold_one.wait().await;
                }
                tx.run(UpdateStatus { id: other, status: "dormant", now: NOW }).await?;
                Ok(())
            })
            .await
    };
    let (one, two) = tokio::join!(update([1, 2]), update([2, 1]));
    one.unwrap();
    two.unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_always_loses_gives_up() {
    let (_db, store) = fresh().await;
    let runs = AtomicU32::new(0);
    let lost: Result<(), Error> = store
        .tx(Call::by(&owner()), TxOptions::serializable("test"), async |_| {
            runs.fetch_add(1, Ordering::Relaxed);
            Err(Error::Serialization("lost".into()))
        })
        .await;
    assert!(matches!(lost, Err(Error::Serialization(_))));
    assert_eq!(runs.load(Ordering::Relaxed), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_transaction_refuses_writes_and_sees_one_state() {
    let (db, store) = fresh().await;
    let owner = owner();
    for isolation in [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable]
    {
        let options = TxOptions { name: "test", isolation, read_only: true };
        let refused: Result<(), Error> = store.tx(Call::by(&owner), options, two_users).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    }
    assert_eq!(value(&db, USERS).await, "0");
    let seen: Result<_, Error> = store
        .tx(Call::by(&owner), TxOptions::snapshot("test"), async |tx| {
            let before = Error::optional(tx.run(GetUser { id: user_id(1) }).await)?;
            add_user(&store, 1, "alice").await;
            let after = Error::optional(tx.run(GetUser { id: user_id(1) }).await)?;
            Ok((before, after))
        })
        .await;
    assert_eq!(seen.unwrap(), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_a_users_transaction_a_system_actor_does_what_the_user_may_not() {
    let (db, store) = fresh().await;
    add_user(&store, 1, "alice").await;
    let alice = member(1);
    let outcome: Result<(), Error> = store
        .tx(Call::by(&alice), TxOptions::write("test"), async |tx| {
            let forged = tx.run(InsertAuditLog(audit_log(1))).await;
            assert!(matches!(forged, Err(Error::Denied(_))), "{forged:?}");
            let auditor = Call::by(system::auditor());
            tx.run_by(auditor, InsertAuditLog(audit_log(2))).await?;
            assert_eq!(tx.subject().id(), user_id(1));
            // The actor of one query does not stay.
            let again = tx.run(InsertAuditLog(audit_log(3))).await;
            assert!(matches!(again, Err(Error::Denied(_))), "{again:?}");
            tx.run(InsertApiKey(new_key("key0000001", 1, "ci"))).await?;
            Ok(())
        })
        .await;
    outcome.unwrap();
    let both = "SELECT (SELECT count(*) FROM audit_logs) || '/' || (SELECT count(*) FROM api_keys)";
    assert_eq!(value(&db, both).await, "1/1");
}

/// The rule is asked about the row as it is when the query runs: a change in between is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_loads_rows_locks_them_until_the_query_ran() {
    let (db, store) = fresh().await;
    add_user(&store, 1, "alice").await;
    add_user(&store, 2, "bob").await;
    let alice = member(1);
    store.run(Call::by(&alice), InsertApiKey(new_key("key0000001", 1, ""))).await.unwrap();
    let lifecycle = Lifecycle::new();
    let (client, connection) = tokio_postgres::connect(db.url().expose(), NoTls).await.unwrap();
    lifecycle.spawn("connection", async move {
        connection.await.unwrap();
    });
    let give_away = format!("BEGIN; UPDATE api_keys SET user_id = '{}'", user_id(2));
    client.batch_execute(&give_away).await.unwrap();
    let delete = store.run(Call::by(&alice), DeleteApiKey { id: "key0000001".to_owned() });
    let (outcome, ()) = tokio::join!(delete, async {
        eventually(&db, WAITING, "1").await;
        client.batch_execute("COMMIT").await.unwrap();
    });
    assert!(matches!(outcome, Err(Error::Denied(_))), "{outcome:?}");
    assert_eq!(value(&db, "SELECT count(*) FROM api_keys").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advisory_lock_is_held_to_the_end_of_its_transaction() {
    let (db, store) = fresh().await;
    let free = "SELECT pg_try_advisory_xact_lock(4)";
    let nobody = subject(user_id(1), &[]);
    let held: Result<(), Error> = store
        .tx(Call::by(&nobody), TxOptions::write("test"), async |tx| {
            tx.run(Acquire(Lock::Purge)).await?;
            assert_eq!(value(&db, free).await, "f");
            tx.run(Acquire(Lock::Purge)).await?;
            assert_eq!(value(&db, free).await, "f");
            Ok(())
        })
        .await;
    held.unwrap();
    assert_eq!(value(&db, free).await, "t");
}

/// A query of several statements that is run by itself, without a transaction around it.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_several_statements_leaves_nothing_half_done() {
    let (db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    let organization = |n: u128, name: &str| InsertOrganization {
        id: OrganizationId::new(Uuid::from_u128(n)),
        name: name.to_owned(),
        display_name: String::new(),
        is_default: false,
        now: NOW,
    };
    store.run(by, organization(1, "one")).await.unwrap();
    // The group of everyone cannot be made: its identifier is taken.
    db.sql(&format!(
        "INSERT INTO groups (id, organization_id, name) VALUES ('{}', '{}', 'other')",
        Uuid::from_u128(2),
        Uuid::from_u128(1)
    ))
    .await
    .unwrap();
    let failed = store.run(by, organization(2, "two")).await;
    assert!(matches!(failed, Err(Error::Conflict(Constraint::GroupsPkey))), "{failed:?}");
    assert_eq!(value(&db, "SELECT count(*) FROM organizations").await, "1");

    store.run(by, provider(1, "openai")).await.unwrap();
    store.run(by, provider_key(1, 1, "sk-one")).await.unwrap();
    let id = InsertKey { ..provider_key(1, 1, "sk-one") }.provider_id;
    db.sql(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
         CREATE TRIGGER fail BEFORE UPDATE ON ai_providers FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    .await
    .unwrap();
    let failed = store.run(by, DeleteProvider { id, now: NOW }).await;
    assert!(matches!(failed, Err(Error::Internal(_))), "{failed:?}");
    assert_eq!(value(&db, "SELECT count(*) FROM ai_provider_keys").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_unavailability_and_the_next_query_gets_a_new_one() {
    let (db, store) = fresh().await;
    add_user(&store, 1, "alice").await;
    let owner = owner();
    // Several connections, all of them idle afterwards.
    let by = Call::by(&owner);
    let get = || store.run(by, GetUser { id: user_id(1) });
    let (one, two, three) = tokio::join!(get(), get(), get());
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    let hit: Result<(), Error> = store
        .tx(Call::by(&owner), TxOptions::write("test"), async |tx| {
            tx.run(GetUser { id: user_id(1) }).await?;
            db.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            .await
            .map_err(|_| Error::NotFound)?;
            tx.run(GetUser { id: user_id(1) }).await?;
            Ok(())
        })
        .await;
    assert!(matches!(hit, Err(Error::Unavailable(_))), "{hit:?}");
    // Of all that died at once one was found dead; the others are not handed out any more.
    let again = store.run(Call::by(&owner), GetUser { id: user_id(1) }).await;
    assert_eq!(again.unwrap().username, "alice");
}

const KILL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread")]
async fn what_only_reads_does_not_notice_that_the_server_restarted() {
    let (db, store) = fresh().await;
    add_user(&store, 1, "alice").await;
    let owner = owner();
    let by = Call::by(&owner);
    let get = || GetUser { id: user_id(1) };
    for round in 0..5 {
        store.run(by, get()).await.unwrap();
        db.sql(KILL).await.unwrap();
        assert_eq!(store.run(by, get()).await.unwrap().username, "alice", "{round}");
        // In the middle of a transaction that may not write, once.
        let runs = AtomicU32::new(0);
        let read: Result<String, Error> = store
            .tx(by, TxOptions::snapshot("test"), async |tx| {
                tx.run(get()).await?;
                if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                    db.sql(KILL).await.map_err(|_| Error::NotFound)?;
                }
                Ok(tx.run(get()).await?.username)
            })
            .await;
        assert_eq!((read.unwrap().as_str(), runs.load(Ordering::Relaxed)), ("alice", 2), "{round}");
        // Any transaction, as long as it has not begun.
        db.sql(KILL).await.unwrap();
        let status = if round % 2 == 0 { "dormant" } else { "active" };
        let written: Result<(), Error> = store
            .tx(by, TxOptions::write("test"), async |tx| {
                tx.run(UpdateStatus { id: user_id(1), status, now: NOW }).await.map(drop)
            })
            .await;
        written.unwrap();
    }
    // A database that stays away is told after two tries.
    let runs = AtomicU32::new(0);
    let away: Result<(), Error> = store
        .tx(by, TxOptions::snapshot("test"), async |tx| {
            runs.fetch_add(1, Ordering::Relaxed);
            tx.run(get()).await?;
            db.sql(KILL).await.map_err(|_| Error::NotFound)?;
            tx.run(get()).await.map(drop)
        })
        .await;
    assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_connection_waits_no_longer_than_for_an_answer() {
    let (_db, store) = fresh().await;
    let store = store.with_statement_deadline(Duration::from_secs(1));
    add_user(&store, 1, "alice").await;
    let owner = owner();
    let by = Call::by(&owner);
    let get = || store.run(by, GetUser { id: user_id(1) });
    // As many as the pool has, held.
    let (full, over) = (Barrier::new(9), Barrier::new(9));
    let hold = async || -> Result<(), Error> {
        store
            .tx(by, TxOptions::snapshot("test"), async |tx| {
                tx.run(GetUser { id: user_id(1) }).await?;
                full.wait().await;
                over.wait().await;
                Ok(())
            })
            .await
    };
    let holders = futures_util::future::join_all((0..8).map(|_| hold()));
    let waits = async {
        full.wait().await;
        let begun = Instant::now();
        let outcome = get().await;
        over.wait().await;
        (outcome, begun.elapsed())
    };
    let (holders, (outcome, took)) = tokio::join!(holders, waits);
    assert!(holders.iter().all(Result::is_ok), "{holders:?}");
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(get().await.unwrap().username, "alice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_by_itself_that_lost_is_run_again() {
    let (db, store) = fresh().await;
    add_user(&store, 1, "alice").await;
    db.sql(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
            IF nextval('tries') <= 3 THEN RAISE EXCEPTION 'lost' USING ERRCODE = 'serialization_failure'; END IF;
            RETURN NEW;
         END $$;
         CREATE TRIGGER lose BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION lose()",
    )
    .await
    .unwrap();
    let update = || UpdateStatus { id: user_id(1), status: "dormant", now: NOW };
    store.run(Call::by(&owner()), update()).await.unwrap();
    assert_eq!(
        value(&db, "SELECT status || last_value FROM users, tries WHERE username = 'alice'").await,
        "dormant4"
    );
    db.sql("ALTER SEQUENCE tries RESTART; ALTER SEQUENCE tries INCREMENT BY -1 MINVALUE -100")
        .await
        .unwrap();
    let lost = store.run(Call::by(&owner()), update()).await;
    assert!(matches!(lost, Err(Error::Serialization(_))), "{lost:?}");
}

/// A transaction whose server falls silent at some point.
async fn interrupted(store: &Full, relay: &Relay, when: &str, n: u32) -> Result<(), Error> {
    if when == "begin" {
        relay.fall_silent();
    }
    // Another one each time: the server still holds what it heard of in the rounds before.
    let name = format!("bob-{when}");
    store
        .tx(Call::by(&owner()), TxOptions::write("test"), async |tx| {
            assert_ne!(when, "begin");
            tx.run(new_user(n, &name)).await.unwrap();
            relay.fall_silent();
            match when {
                "statement" => tx.run(new_user(2, "carol")).await.map(drop),
                "swallowed" => {
                    for name in ["carol", "dave"] {
                        let lost = tx.run(new_user(2, name)).await;
                        assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
                    }
                    Ok(())
                }
                "rollback" => Err(Error::NotFound),
                _ => Ok(()),
            }
        })
        .await
}

/// Neither an end of the connection nor an answer ever comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_holds_nobody_up_and_its_connections_are_not_used_again() {
    let db = TestDb::new().await;
    let (relay, url) = db.relayed().await.unwrap();
    let store = TestDb::store_at(&url).await.unwrap();
    let deadline = Duration::from_secs(1);
    let store = store.with_statement_deadline(deadline);
    add_user(&store, 1, "alice").await;
    let owner = owner();
    let ask = async || store.run(Call::by(&owner), GetUser { id: user_id(1) }).await;
    let rounds = ["begin", "statement", "swallowed", "commit", "rollback", "alone"];
    for (when, n) in rounds.into_iter().zip(10..) {
        assert_eq!(ask().await.unwrap().username, "alice", "{when}");
        let begun = Instant::now();
        let outcome = if when == "alone" {
            relay.fall_silent();
            ask().await.map(drop)
        } else {
            interrupted(&store, &relay, when, n).await
        };
        let took = begun.elapsed();
        assert!(took >= deadline && took < Duration::from_secs(10), "{when}: {took:?}");
        match outcome {
            Err(Error::NotFound) if when == "rollback" => {}
            Err(Error::Unavailable(_)) if when != "rollback" => {}
            other => panic!("{when}: {other:?}"),
        }
        relay.carry_again();
    }
    assert_eq!(ask().await.unwrap().username, "alice");
    assert_eq!(value(&db, USERS).await, "1", "nothing was committed");
}
