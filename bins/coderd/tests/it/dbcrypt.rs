//! The commands below `coderd server dbcrypt` as processes, on a database in use.

use std::path::Path;

use crypt::Keyring;
use rbac::system;
use stdx::Secret;
use store::ai_providers::ListKeys;
use store::{Call, Full, Store as _};
use tempfile::TempDir;
use testkit::{Program, TestDb};

const FIRST: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECOND: &str = "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Keys of a provider, for a rotation that takes a moment.
const ROWS: usize = 20_000;

fn ring(keys: &[&str]) -> Keyring {
    let keys: Vec<Secret<String>> = keys.iter().map(|key| Secret::from(*key)).collect();
    Keyring::from_base64(&keys).unwrap()
}

fn digest(key: &str) -> String {
    ring(&[key]).primary_digest().unwrap().to_owned()
}

struct Place {
    db: TestDb,
    dir: TempDir,
}

impl Place {
    async fn new() -> Self {
        let db = TestDb::new().await;
        db.sql(&format!(
            "INSERT INTO ai_providers (id, type, name, base_url, created_at, updated_at)
             VALUES ('40000000-0000-4000-8000-000000000001', 'openai', 'openai', 'https://example.com', now(), now());
             INSERT INTO ai_provider_keys (id, provider_id, api_key, created_at, updated_at)
             SELECT gen_random_uuid(), '40000000-0000-4000-8000-000000000001', 'sk-canary-' || g, now(), now()
               FROM generate_series(1, {ROWS}) g"
        ))
        .await
        .unwrap();
        Self { db, dir: tempfile::tempdir().unwrap() }
    }

    fn start(&self, log: &str, args: &[&str]) -> Program {
        let args: Vec<&str> = ["server", "dbcrypt"].iter().chain(args).copied().collect();
        let url = [("CODER_PG_CONNECTION_URL", self.db.url().expose().as_str())];
        let path = Path::new(env!("CARGO_BIN_EXE_coderd"));
        Program::start(path, &args, url, &self.dir.path().join(log))
    }

    /// Runs a command to its end. Yields whether it succeeded, and what it said.
    async fn run(&self, log: &str, args: &[&str]) -> (bool, String) {
        let mut program = self.start(log, args);
        let success = program.ended().await;
        (success, program.log())
    }

    async fn sealed_by(&self, key: &str) -> usize {
        let key = digest(key);
        let count = format!("SELECT count(*) FROM ai_provider_keys WHERE api_key_key_id = '{key}'");
        self.db.sql(&count).await.unwrap()[0][0].as_ref().unwrap().parse().unwrap()
    }

    async fn active(&self) -> Vec<String> {
        let active = "SELECT active_key_digest FROM dbcrypt_keys WHERE active_key_digest IS NOT NULL ORDER BY number";
        let rows = self.db.sql(active).await.unwrap();
        rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
    }
}

/// Everything is there and opens.
async fn reads_all(store: &Full) {
    let keys =
        store.run(Call::by(system::gateway()), ListKeys { provider_id: None }).await.unwrap();
    assert_eq!(keys.len(), ROWS);
    for key in keys {
        assert!(key.fault.is_none() && key.api_key.expose().starts_with("sk-canary-"), "{key:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_killed_is_continued_while_a_server_reads_and_nothing_is_lost() {
    let place = Place::new().await;
    let (success, said) = place.run("seal", &["rotate", "--new-key", FIRST, "--yes"]).await;
    assert!(
        success && said.contains(&format!("{ROWS} values are sealed by the new key")),
        "{said}"
    );
    assert_eq!(place.sealed_by(FIRST).await, ROWS);

    let rotate = ["rotate", "--new-key", SECOND, "--old-keys", FIRST, "--yes"];
    let mut kills = 0;
    while kills < 2 {
        let before = place.sealed_by(SECOND).await;
        let mut program = place.start("killed", &rotate);
        program
            .until("some rows are rotated", async || place.sealed_by(SECOND).await > before)
            .await;
        program.kill();
        let rotated = place.sealed_by(SECOND).await;
        assert!(rotated > before && rotated < ROWS, "killed too late: {rotated}");
        kills += 1;
        // Servers that hold both keys read all rows, whichever key they are sealed by.
        let server = place.db.store_with(ring(&[SECOND, FIRST])).await.unwrap();
        reads_all(&server).await;
    }
    let (success, said) = place.run("last", &rotate).await;
    assert!(success, "{said}");
    assert!(said.contains(&format!("key {} is retired", digest(FIRST))), "{said}");
    assert_eq!(place.sealed_by(SECOND).await, ROWS);
    assert_eq!(place.active().await, [digest(SECOND)]);
    reads_all(&place.db.store_with(ring(&[SECOND])).await.unwrap()).await;
    for log in ["seal", "killed", "last"] {
        let said = std::fs::read_to_string(place.dir.path().join(log)).unwrap();
        assert!(![FIRST, SECOND, "sk-canary"].iter().any(|secret| said.contains(secret)), "{said}");
    }
    let audited = "SELECT string_agg(resource_target, ';' ORDER BY time) FROM audit_logs
        WHERE resource_type = 'encryption_key'";
    let audited = place.db.sql(audited).await.unwrap()[0][0].clone().unwrap();
    assert_eq!(audited.split(';').count(), 2, "{audited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn decryption_and_deletion_do_what_they_announce_and_ask_first() {
    let place = Place::new().await;
    let (success, _) = place.run("seal", &["rotate", "--new-key", FIRST, "--yes"]).await;
    assert!(success);
    for (args, wanted) in [
        (&["rotate"][..], "no new key provided"),
        (&["rotate", "--new-key", "%%"], "new key must be base64-encoded"),
        (&["rotate", "--new-key", FIRST, "--old-keys", FIRST], "is the same as the new key"),
        (&["rotate", "--new-key", SECOND, "--yes"], "not configured"),
        (&["rotate", "--new-key", SECOND, "--old-keys", FIRST], "say --yes"),
        (&["decrypt"], "no keys provided"),
        (&["decrypt", "--keys", SECOND, "--yes"], "not configured"),
        (
            &["decrypt", "--keys", FIRST, "--postgres-connection-auth", "awsiamrds"],
            "is not supported",
        ),
        (&["delete"], "say --yes"),
        (&["rekey"], "unrecognized subcommand"),
    ] {
        let (success, said) = place.run("refused", args).await;
        assert!(!success && said.contains(wanted), "{args:?}: {said}");
    }
    assert_eq!(place.sealed_by(FIRST).await, ROWS);

    let (success, said) = place.run("dry", &["decrypt", "--keys", FIRST, "--dry-run"]).await;
    let count = format!("ai_provider_keys.api_key: {ROWS} values, key {}", digest(FIRST));
    assert!(success && said.contains(&count), "{said}");
    assert_eq!(place.sealed_by(FIRST).await, ROWS);

    let (success, said) = place.run("decrypt", &["decrypt", "--keys", FIRST, "--yes"]).await;
    assert!(success && said.contains(&format!("{ROWS} values are in the clear")), "{said}");
    assert!(place.active().await.is_empty());
    reads_all(&place.db.store().await.unwrap()).await;

    let (success, _) = place.run("again", &["rotate", "--new-key", SECOND, "--yes"]).await;
    assert!(success);
    let (success, said) = place.run("delete", &["delete", "--yes"]).await;
    assert!(
        success && said.contains(&format!("ai_provider_keys.api_key: {ROWS} deleted")),
        "{said}"
    );
    assert!(place.active().await.is_empty());
    let left = place.db.sql("SELECT count(*) FROM ai_provider_keys").await.unwrap();
    assert_eq!(left[0][0].as_deref(), Some("0"));
}
