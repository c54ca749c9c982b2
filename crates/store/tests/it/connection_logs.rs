//! The log of connections: one row for a beginning and an end, and who sees it.

use std::sync::Arc;
use std::time::Duration;

use rbac::{Catalog, Scope, Sharing, Subject, SubjectBuilder, system};
use stdx::ids::{ConnectionLogId, OrganizationId, UserId, WorkspaceAgentId, WorkspaceId};
use store::connection_logs::{
    App, BATCH_MAX, Connection, ConnectionEvent, ConnectionLog, CountConnectionLogs, Filter,
    ListConnectionLogs, NoteAppRequest, Recorded, State, Terminal, UpsertConnectionLogs,
};
use store::{Call, Error, Full, Store as _};
use testkit::TestDb;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::scene::{NOW, fixture, member, migrations, owner, user_id, value};

const WORKSPACE: WorkspaceId =
    WorkspaceId::new(Uuid::from_u128(0xa3000000_0000_4000_8000_000000000001));
const ORG: OrganizationId =
    OrganizationId::new(Uuid::from_u128(0x20000000_0000_4000_8000_000000000001));
const OWNER: UserId = UserId::new(Uuid::from_u128(0x10000000_0000_4000_8000_000000000001));

async fn scene() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for migration in migrations() {
        fixture(&db, &migration).await;
    }
    db.sql("DELETE FROM connection_logs").await.unwrap();
    (db, store)
}

fn at(seconds: u64) -> OffsetDateTime {
    NOW + Duration::from_secs(seconds)
}

fn event(n: u128, seconds: u64, connection: Connection) -> ConnectionEvent {
    ConnectionEvent {
        id: ConnectionLogId::new(Uuid::from_u128(0xb100 + n)),
        time: at(seconds),
        workspace_id: WORKSPACE,
        agent_name: "main".to_owned(),
        ip: Some("192.0.2.7/32".parse().unwrap()),
        connection,
    }
}

fn opened(n: u128, seconds: u64) -> ConnectionEvent {
    let connection_id = Uuid::from_u128(n);
    event(n, seconds, Connection::Opened { terminal: Terminal::Ssh, connection_id })
}

fn closed(n: u128, seconds: u64, reason: &str) -> ConnectionEvent {
    let ended = Connection::Closed {
        terminal: Terminal::Ssh,
        connection_id: Uuid::from_u128(n),
        reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
        exit_code: Some(i32::try_from(seconds).unwrap()),
    };
    // Events are told apart by more than their connection.
    event(n + 0x1000 + u128::from(seconds), seconds, ended)
}

fn web(n: u128, seconds: u64, user: Option<UserId>) -> ConnectionEvent {
    let page = Connection::Web {
        app: App::WorkspaceApp,
        user_agent: "é".repeat(200),
        user_id: user,
        slug_or_port: "code".to_owned(),
        status_code: 200,
    };
    event(n, seconds, page)
}

async fn record(store: &Full, events: Vec<ConnectionEvent>) -> Recorded {
    let by = Call::by(system::connection_logger());
    store.run(by, UpsertConnectionLogs(events)).await.unwrap()
}

async fn all(store: &Full, filter: Filter) -> Vec<ConnectionLog> {
    let list = ListConnectionLogs { filter: filter.clone(), after: None, offset: 0, limit: 0 };
    let listed = store.run(Call::by(&owner()), list).await.unwrap().unwrap();
    let count = CountConnectionLogs { filter, cap: 100 };
    let count = store.run(Call::by(&owner()), count).await.unwrap();
    assert_eq!(usize::try_from(count).unwrap(), listed.len(), "list and count agree");
    listed.into_iter().map(|listed| listed.log).collect()
}

/// What a row says of a connection's beginning and end, in seconds from `NOW`.
fn told(log: &ConnectionLog) -> (i64, Option<i64>, Option<&str>, Option<i32>) {
    let seconds = |time: OffsetDateTime| (time - NOW).whole_seconds();
    let end = log.disconnect_time.map(seconds);
    (seconds(log.connect_time), end, log.disconnect_reason.as_deref(), log.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn beginning_and_end_become_one_row_in_any_order_at_once_or_one_by_one() {
    let (db, store) = scene().await;
    let orders: [(&str, Vec<ConnectionEvent>, _); 5] = [
        ("only opened", vec![opened(1, 10)], (10, None, None, None)),
        (
            "opened, closed",
            vec![opened(2, 10), closed(2, 20, "left")],
            (10, Some(20), Some("left"), Some(20)),
        ),
        (
            "closed, opened",
            vec![closed(3, 20, "left"), opened(3, 10)],
            (10, Some(20), Some("left"), Some(20)),
        ),
        ("only closed", vec![closed(4, 20, "")], (20, Some(20), None, Some(20))),
        (
            "closed twice, opened twice",
            vec![opened(5, 10), closed(5, 20, "first"), closed(5, 30, "second"), opened(5, 15)],
            (10, Some(20), Some("first"), Some(20)),
        ),
    ];
    for (name, events, wanted) in orders {
        for together in [true, false] {
            db.sql("DELETE FROM connection_logs").await.unwrap();
            let batches = if together {
                vec![events.clone()]
            } else {
                events.chunks(1).map(Vec::from).collect()
            };
            for batch in batches {
                let stored = batch.len();
                assert_eq!(record(&store, batch).await, Recorded { stored, left_out: 0 });
            }
            let rows = all(&store, Filter::default()).await;
            assert_eq!(rows.len(), 1, "{name}");
            assert_eq!(told(&rows[0]), wanted, "{name}, together: {together}");
            assert_eq!((rows[0].workspace_owner_id.0, rows[0].organization_id.0), (OWNER, ORG));
            assert_eq!((rows[0].workspace_name.as_str(), rows[0].kind.as_str()), ("dev", "ssh"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn web_connections_are_rows_of_their_own_and_lost_workspaces_hold_nobody_up() {
    let (_db, store) = scene().await;
    let gone =
        ConnectionEvent { workspace_id: WorkspaceId::new(Uuid::from_u128(404)), ..opened(9, 0) };
    let events = vec![web(1, 1, None), web(2, 2, Some(OWNER)), gone, opened(3, 3)];
    assert_eq!(record(&store, events).await, Recorded { stored: 3, left_out: 1 });
    let rows = all(&store, Filter::default()).await;
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[2].user_agent.as_ref().unwrap().len(), 256, "cut between letters");
    assert_eq!((rows[1].user_id.unwrap().0, rows[2].user_id), (OWNER, None));
    assert_eq!(record(&store, Vec::new()).await, Recorded::default());
    let too_many = UpsertConnectionLogs(vec![opened(1, 1); BATCH_MAX + 1]);
    let refused = store.run(Call::by(system::connection_logger()), too_many).await;
    assert!(matches!(refused, Err(Error::Unfit(_))), "{refused:?}");
    for other in [member(1), owner()] {
        let allowed = store.run(Call::by(&other), UpsertConnectionLogs(Vec::new())).await.is_ok();
        assert_eq!(allowed, other.has_site_role("owner"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_filter_narrows_and_auditors_see_their_organizations() {
    let (db, store) = scene().await;
    let events = vec![opened(1, 10), closed(1, 40, "left"), opened(2, 20), web(3, 30, Some(OWNER))];
    record(&store, events).await;
    let username = value(&db, &format!("SELECT username FROM users WHERE id = '{OWNER}'")).await;
    let email = value(&db, &format!("SELECT email FROM users WHERE id = '{OWNER}'")).await;
    let some = |text: &str| Some(text.to_uppercase());
    let ids = async |filter: Filter| -> Vec<u128> {
        let rows = all(&store, filter).await;
        rows.iter().map(|row| row.id.0.uuid().as_u128() - 0xb100).collect()
    };
    let none = Filter::default;
    let cases: Vec<(&str, Filter, &[u128])> = vec![
        ("all", none(), &[3, 2, 1]),
        ("organization", Filter { organization_id: Some(ORG), ..none() }, &[3, 2, 1]),
        ("no organization", Filter { organization_id: Some(OrganizationId::nil()), ..none() }, &[]),
        ("owner", Filter { workspace_owner_id: Some(OWNER), ..none() }, &[3, 2, 1]),
        ("another's", Filter { workspace_owner_id: Some(user_id(7)), ..none() }, &[]),
        ("owner's name", Filter { workspace_owner: some(&username), ..none() }, &[3, 2, 1]),
        ("owner's address", Filter { workspace_owner_email: some(&email), ..none() }, &[3, 2, 1]),
        ("nobody's name", Filter { workspace_owner: some("nobody"), ..none() }, &[]),
        ("kind", Filter { kind: Some("ssh".to_owned()), ..none() }, &[2, 1]),
        ("user", Filter { user_id: Some(OWNER), ..none() }, &[3]),
        ("user's name", Filter { username: some(&username), ..none() }, &[3]),
        ("user's address", Filter { user_email: some(&email), ..none() }, &[3]),
        ("after", Filter { connected_after: Some(at(20)), ..none() }, &[3, 2]),
        ("before", Filter { connected_before: Some(at(20)), ..none() }, &[2, 1]),
        ("workspace", Filter { workspace_id: Some(WORKSPACE), ..none() }, &[3, 2, 1]),
        ("connection", Filter { connection_id: Some(Uuid::from_u128(2)), ..none() }, &[2]),
        ("ongoing", Filter { state: Some(State::Ongoing), ..none() }, &[2]),
        ("completed", Filter { state: Some(State::Completed), ..none() }, &[1]),
    ];
    for (name, filter, wanted) in cases {
        assert_eq!(ids(filter).await, wanted, "{name}");
    }
    for (org, sees) in [(ORG, 3), (OrganizationId::new(Uuid::from_u128(0x21)), 0)] {
        let list = ListConnectionLogs { filter: none(), after: None, offset: 0, limit: 0 };
        let listed = store.run(Call::by(&auditor(org)), list).await.unwrap().unwrap();
        assert_eq!(listed.len(), sees, "auditor of {org}");
        assert!(listed.iter().all(|listed| listed.workspace_owner == username));
    }
    let page = ListConnectionLogs { filter: none(), after: None, offset: 1, limit: 1 };
    let page = store.run(Call::by(&owner()), page).await.unwrap().unwrap();
    assert_eq!(page[0].log.connection_id, Some(Uuid::from_u128(2)));
    let after = |id: ConnectionLogId| ListConnectionLogs {
        filter: none(),
        after: Some(id),
        offset: 0,
        limit: 0,
    };
    let rest = store.run(Call::by(&owner()), after(page[0].log.id.0)).await.unwrap().unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].log.connection_id, Some(Uuid::from_u128(1)));
    let unknown = after(ConnectionLogId::new(Uuid::from_u128(404)));
    assert_eq!(store.run(Call::by(&owner()), unknown).await.unwrap(), None);
    let elsewhere = auditor(OrganizationId::new(Uuid::from_u128(0x21)));
    let unseen = store.run(Call::by(&elsewhere), after(page[0].log.id.0)).await.unwrap();
    assert_eq!(unseen, None, "a row that may not be read is no place to go on from");
}

fn auditor(org: OrganizationId) -> Arc<Subject> {
    let auditor = SubjectBuilder::user(user_id(1)).site_role("member").scope(Scope::all());
    let auditor =
        auditor.membership(org, Sharing::None, false).org_role(org, "organization-auditor");
    Arc::new(auditor.compile(&Catalog::default()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_tell_of_the_same_connections_at_once_both_come_through() {
    let (db, store) = scene().await;
    let (opens, closes): (Vec<_>, Vec<_>) =
        (1..=200).map(|n| (opened(n, 10), closed(n, 20, "left"))).unzip();
    let mut backwards = closes;
    backwards.reverse();
    let one = record(&store, opens);
    let other = record(&store, backwards);
    let (one, other) = tokio::join!(one, other);
    assert_eq!((one.stored, other.stored), (200, 200));
    let complete = "SELECT count(*) FROM connection_logs
        WHERE disconnect_time - connect_time = interval '10 seconds'";
    assert_eq!(value(&db, complete).await, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_requests_that_are_alike_the_first_begins_a_use_until_none_came_for_a_while() {
    let (db, store) = scene().await;
    db.sql("DELETE FROM workspace_app_audit_sessions").await.unwrap();
    let by = Call::by(system::connection_logger());
    let request = |n: u128, seconds: u64| NoteAppRequest {
        id: Uuid::from_u128(n),
        agent_id: WorkspaceAgentId::new(Uuid::from_u128(0xa6000000_0000_4000_8000_000000000001)),
        app_id: None,
        user_id: Some(OWNER),
        ip: Some("192.0.2.7/32".parse().unwrap()),
        user_agent: "Firefox".to_owned(),
        slug_or_port: "code".to_owned(),
        status_code: 200,
        now: at(seconds),
        window: time::Duration::seconds(60),
    };
    for (n, seconds, begins) in [
        (1, 0, true),
        (2, 30, false),
        (3, 90, false),
        (4, 80, false),
        (5, 150, false),
        (6, 211, true),
    ] {
        assert_eq!(store.run(by, request(n, seconds)).await.unwrap(), begins, "{seconds} s");
    }
    // Whatever differs is another use; nobody and nowhere are like themselves.
    let others: [fn(&mut NoteAppRequest); 6] = [
        |r| r.app_id = Some(Uuid::from_u128(1)),
        |r| r.user_id = None,
        |r| r.ip = None,
        |r| r.user_agent = "curl".to_owned(),
        |r| r.slug_or_port = "8080".to_owned(),
        |r| r.status_code = 404,
    ];
    for (n, change) in (10..).step_by(2).zip(others) {
        for (n, begins) in [(n, true), (n + 1, false)] {
            let mut other = request(n, 211);
            change(&mut other);
            assert_eq!(store.run(by, other).await.unwrap(), begins, "{n}");
        }
    }
    let at_once = futures_util::future::join_all(
        (100..110).map(|n| store.run(by, NoteAppRequest { status_code: 500, ..request(n, 300) })),
    );
    let begun = at_once.await.into_iter().filter(|begins| matches!(begins, Ok(true))).count();
    assert_eq!(begun, 1, "of ten at once one begins");
    let refused = store.run(Call::by(&member(1)), request(200, 0)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
}
