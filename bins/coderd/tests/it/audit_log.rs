//! `coderd audit verify` and `export` as processes.

use std::path::{Path, PathBuf};

use rbac::system;
use stdx::ids::{AuditId, OrganizationId, RequestId, UserId};
use stdx::{Rng as _, SharedClock, SystemClock, SystemRng};
use store::audit_chain::MakeCheckpoint;
use store::audit_logs::{AuditLog, InsertAuditLog};
use store::{Call, Pk, Store as _};
use tempfile::TempDir;
use testkit::{Program, TestDb};

/// Rows of the log.
const ROWS: usize = 25;

struct Place {
    db: TestDb,
    dir: TempDir,
    runs: std::cell::Cell<u32>,
}

impl Place {
    /// A log with rows, the first twenty of them under a checkpoint.
    async fn new() -> Self {
        let db = TestDb::new().await;
        let store = db.store().await.unwrap();
        let clock: SharedClock = SystemClock::shared();
        for row in 0..ROWS {
            if row == 20 {
                let now = clock.now();
                let checkpoint = MakeCheckpoint { rows_min: 1, old: now, now };
                store.run(Call::by(system::auditor()), checkpoint).await.unwrap();
            }
            let log = AuditLog {
                id: Pk(AuditId::new(SystemRng.uuid_v7(clock.now()))),
                time: clock.now(),
                user_id: Pk(UserId::nil()),
                organization_id: Pk(OrganizationId::nil()),
                ip: None,
                user_agent: None,
                resource_type: "user".to_owned(),
                resource_id: SystemRng.uuid_v4(),
                resource_target: format!("user {row}"),
                resource_icon: String::new(),
                action: "create".to_owned(),
                diff: serde_json::json!({ "row": row }),
                status_code: 201,
                additional_fields: serde_json::json!({}),
                request_id: Pk(RequestId::nil()),
            };
            store.run(Call::by(system::auditor()), InsertAuditLog(log)).await.unwrap();
        }
        Self { db, dir: tempfile::tempdir().unwrap(), runs: std::cell::Cell::new(0) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Whether a command succeeded, and what it said.
    async fn audit(&self, args: &[&str]) -> (bool, String) {
        self.runs.set(self.runs.get() + 1);
        let args: Vec<&str> = ["audit"].iter().chain(args).copied().collect();
        let url = [("CODER_PG_CONNECTION_URL", self.db.url().expose().as_str())];
        let log = self.path(&format!("log-{}", self.runs.get()));
        let path = Path::new(env!("CARGO_BIN_EXE_coderd"));
        let mut program = Program::start(path, &args, url, &log);
        let success = program.ended().await;
        (success, program.log())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_log_is_said_to_be_whole_in_the_database_and_in_a_copy() {
    let place = Place::new().await;
    let (success, said) = place.audit(&["verify"]).await;
    assert!(success && said.contains(&ROWS.to_string()), "{said}");
    let copy = place.path("copy.ndjson");
    let copy = copy.to_str().unwrap();
    let (success, said) = place.audit(&["export", "--output", copy]).await;
    assert!(success, "{said}");
    let text = std::fs::read_to_string(copy).unwrap();
    assert!(text.lines().count() > ROWS, "{text}");
    let (success, said) = place.audit(&["verify", "--file", copy]).await;
    assert!(success, "{said}");

    let changed = text.replace("user 7", "user 8");
    assert_ne!(changed, text);
    std::fs::write(copy, changed).unwrap();
    let (success, said) = place.audit(&["verify", "--file", copy]).await;
    assert!(!success && said.contains('8'), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_changes_the_table_is_found_out_and_the_row_is_named() {
    for (what, sql) in [
        ("changed", "UPDATE audit_logs SET action = 'delete' WHERE sequence = 7"),
        ("changed inside", "UPDATE audit_logs SET diff = '{\"row\": 99}' WHERE sequence = 7"),
        ("removed", "DELETE FROM audit_logs WHERE sequence = 7"),
        (
            "swapped",
            "UPDATE audit_logs SET sequence = 7000 WHERE sequence = 7;
             UPDATE audit_logs SET sequence = 7 WHERE sequence = 8;
             UPDATE audit_logs SET sequence = 8 WHERE sequence = 7000",
        ),
        ("cut off", "DELETE FROM audit_logs WHERE sequence > 18"),
        (
            "inserted past the program",
            "INSERT INTO audit_logs (id, time, user_id, organization_id, resource_type, resource_id, resource_target,
                                     action, diff, status_code, additional_fields, request_id)
             SELECT gen_random_uuid(), time, user_id, organization_id, resource_type, resource_id, 'planted', action, diff,
                    status_code, additional_fields, request_id FROM audit_logs WHERE sequence = 7",
        ),
    ] {
        let place = Place::new().await;
        place.db.sql(sql).await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        let (success, said) = place.audit(&["verify"]).await;
        assert!(!success, "{what} is not found: {said}");
        if what.starts_with("changed") || what == "removed" {
            assert!(said.contains('7'), "{what}: {said}");
        }
    }
}
