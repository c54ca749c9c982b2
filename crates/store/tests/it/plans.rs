//! How lists are found in tables of a million rows: by the plans that the server really ran, not by the time they took.

use std::sync::Arc;
use std::time::Duration;

use rbac::{Catalog, Scope, Sharing, Subject, SubjectBuilder};
use serde_json::Value;
use stdx::ids::{AuditId, InterceptionId, OrganizationId, UserId};
use store::audit_logs::{self, CountAuditLogs, ListAuditLogs};
use store::interceptions::{
    self, CountInterceptions, CountSessions, GetSession, ListClients, ListInterceptions,
    ListModels, ListProviderNames, ListSessions,
};
use store::{Call, Full, Query, Store as _};
use testkit::{TestDb, volume};
use time::macros::datetime;
use tokio::time::Instant;

use crate::scene::value;

const ROWS: u32 = 1_000_000;
/// More rows than that a page or a count with its cap need not look at.
const LOOKED_AT_MAX: f64 = 100_000.0;
const PAGE: i64 = 100;
const CAP: i64 = 2_000;

/// The server writes the plans of all statements of new connections into its log.
const EXPLAINED: &str = "
    DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET session_preload_libraries = auto_explain', current_database());
        EXECUTE format('ALTER DATABASE %I SET auto_explain.log_min_duration = 0', current_database());
        EXECUTE format('ALTER DATABASE %I SET auto_explain.log_analyze = on', current_database());
        EXECUTE format('ALTER DATABASE %I SET auto_explain.log_timing = off', current_database());
        EXECUTE format('ALTER DATABASE %I SET auto_explain.log_format = json', current_database());
    END $$";

/// Runs queries, and looks at what the server did for each.
struct Watched {
    db: TestDb,
    store: Full,
    /// What was read of the log so far, in characters.
    read: usize,
    faults: Vec<String>,
}

impl Watched {
    async fn log(&self) -> String {
        let log = self.db.sql("SELECT pg_read_file(pg_current_logfile())").await.unwrap();
        log[0][0].clone().unwrap_or_default()
    }

    async fn see<Q: Query>(&mut self, what: &str, by: &Arc<Subject>, query: Q) {
        self.store.run(Call::by(by), query).await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let own = loop {
            let log = self.log().await;
            // Reading the log is a statement, too.
            let mut plans = plans(&log[self.read..]);
            plans.retain(|plan| !plan.to_string().contains("pg_read_file"));
            if !plans.is_empty() {
                break plans;
            }
            // The server's log is written by a process of its own.
            assert!(Instant::now() < deadline, "{}: no plan in {log}", Q::NAME);
        };
        self.read = self.log().await.len();
        for plan in own {
            look(&format!("{} ({what})", Q::NAME), &plan["Plan"], &mut self.faults);
        }
    }
}

/// The plans in a piece of the log: an object in JSON each, on lines that begin with a tabulator.
fn plans(log: &str) -> Vec<Value> {
    log.split("  plan:\n")
        .skip(1)
        .map(|rest| {
            let lines = rest.lines().take_while(|line| line.starts_with('\t'));
            let text: String = lines.collect::<Vec<_>>().join("\n");
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
        })
        .collect()
}

/// Notes nodes of a plan that look at too many rows.
fn look(what: &str, node: &Value, faults: &mut Vec<String>) {
    let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
    let rows = (number("Actual Rows") + number("Rows Removed by Filter")) * number("Actual Loops");
    if rows > LOOKED_AT_MAX {
        let (kind, table) = (&node["Node Type"], &node["Relation Name"]);
        faults.push(format!("{what}: {kind} of {table} looks at {rows} rows"));
    }
    for inner in node["Plans"].as_array().into_iter().flatten() {
        look(what, inner, faults);
    }
}

fn people() -> (Arc<Subject>, Arc<Subject>, Arc<Subject>) {
    let org = OrganizationId::new(volume::organization(3).parse().unwrap());
    let of = |number| {
        SubjectBuilder::user(UserId::new(volume::user(number).parse().unwrap())).site_role("member")
    };
    let compile = |builder: SubjectBuilder| {
        Arc::new(builder.scope(Scope::all()).compile(&Catalog::default()).unwrap())
    };
    (
        compile(of(0).site_role("owner")),
        compile(
            of(23).membership(org, Sharing::Everyone, false).org_role(org, "organization-auditor"),
        ),
        compile(of(43).membership(org, Sharing::Everyone, false)),
    )
}

#[test]
fn plans_are_read_out_of_a_log_and_large_scans_are_named() {
    let log = "LOG:  duration: 1 ms  plan:\n\t{\n\t  \"Plan\": {\"Node Type\": \"Limit\", \"Actual Rows\": 1, \"Actual Loops\": 1,\n\t  \
         \"Plans\": [{\"Node Type\": \"Seq Scan\", \"Relation Name\": \"t\", \"Actual Rows\": 1, \
         \"Rows Removed by Filter\": 160000, \"Actual Loops\": 1}]}\n\t}\nLOG:  other\n";
    let found = plans(log);
    let mut faults = Vec::new();
    look("list", &found[0]["Plan"], &mut faults);
    assert_eq!(faults, ["list: \"Seq Scan\" of \"t\" looks at 160001 rows"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_look_at_few_of_a_million_rows() {
    let db = TestDb::new().await;
    db.sql(&volume::people()).await.unwrap();
    tokio::join!(async { db.sql(&volume::audit_logs(0, ROWS)).await.unwrap() }, async {
        db.sql(&volume::interceptions(0, ROWS)).await.unwrap()
    });
    db.sql("ANALYZE").await.unwrap();
    let half =
        "SELECT id FROM aibridge_interceptions WHERE client_session_id = 'session-500000' LIMIT 1";
    let after = Some(InterceptionId::new(value(&db, half).await.parse().unwrap()));
    db.sql(EXPLAINED).await.unwrap();
    let store = db.store().await.unwrap();
    let mut watched = Watched { store, read: 0, faults: Vec::new(), db };
    watched.read = watched.log().await.len();
    let (owner, auditor, member) = people();
    let user = UserId::new(volume::user(17).parse().unwrap());

    let none = audit_logs::Filter::default;
    let cases = [
        ("all", &owner, none()),
        ("of a user", &owner, audit_logs::Filter { user_id: Some(user), ..none() }),
        ("of a name", &owner, audit_logs::Filter { username: Some("Person17".into()), ..none() }),
        (
            "of a kind",
            &owner,
            audit_logs::Filter { resource_type: Some("kind-3".into()), ..none() },
        ),
        (
            "of no kind",
            &owner,
            audit_logs::Filter { resource_type: Some("kind-x".into()), ..none() },
        ),
        (
            "of an organization",
            &owner,
            audit_logs::Filter {
                organization_id: Some(OrganizationId::new(
                    volume::organization(3).parse().unwrap(),
                )),
                ..none()
            },
        ),
        (
            "of the past",
            &owner,
            audit_logs::Filter { date_to: Some(datetime!(2020-01-01 00:00 UTC)), ..none() },
        ),
        ("as an auditor of one organization", &auditor, none()),
        ("as somebody who may not", &member, none()),
    ];
    let deep = AuditId::new(volume::audit_log(ROWS / 2).parse().unwrap());
    let list = ListAuditLogs { filter: none(), after: Some(deep), offset: 0, limit: PAGE };
    watched.see("after half of all", &owner, list).await;
    for (what, by, filter) in cases {
        let list = ListAuditLogs { filter: filter.clone(), after: None, offset: 0, limit: PAGE };
        watched.see(what, by, list).await;
        watched.see(what, by, CountAuditLogs { filter, cap: CAP }).await;
    }

    let none = interceptions::Filter::default;
    let cases = [
        ("all", &owner, none()),
        ("of a user", &owner, interceptions::Filter { initiator: Some(user), ..none() }),
        ("of a model", &owner, interceptions::Filter { model: Some("model-3".into()), ..none() }),
        ("of no model", &owner, interceptions::Filter { model: Some("model-x".into()), ..none() }),
        ("of a client", &owner, interceptions::Filter { client: Some("Codex".into()), ..none() }),
        ("as one of many users", &member, none()),
    ];
    for (what, by, filter) in cases {
        let list =
            ListInterceptions { filter: filter.clone(), after: None, offset: 0, limit: PAGE };
        watched.see(what, by, list).await;
        watched.see(what, by, CountInterceptions { filter: filter.clone(), cap: CAP }).await;
        let list = ListSessions { filter: filter.clone(), after: None, offset: 0, limit: PAGE };
        watched.see(what, by, list).await;
        watched.see(what, by, CountSessions { filter, cap: CAP }).await;
    }
    let list = ListInterceptions { filter: none(), after, offset: 0, limit: PAGE };
    watched.see("after half of all", &owner, list).await;
    let session_id = "session-500000".to_owned();
    watched.see("one", &owner, GetSession { session_id }).await;
    let (prefix, offset, limit) = (String::new, 0, PAGE);
    for (what, by) in [("all", &owner), ("as one of many users", &member)] {
        watched.see(what, by, ListModels { prefix: prefix(), offset, limit }).await;
        watched.see(what, by, ListClients { prefix: prefix(), offset, limit }).await;
        watched.see(what, by, ListProviderNames { prefix: prefix(), offset, limit }).await;
    }
    assert!(watched.faults.is_empty(), "{:#?}", watched.faults);
}
