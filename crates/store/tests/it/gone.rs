//! What is left of a user who was deleted.

use std::collections::BTreeMap;

use stdx::ids::UserId;
use store::users::{DeleteUser, InsertUser};
use store::{Call, Constraint, Error, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::scene::{NOW, fixture, migrations, new_user, owner, value};

/// What becomes of a column that names a user when the user is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The row goes with the account.
    Removed,
    /// The row stays, for this reason.
    Kept(&'static str),
}

use Fate::{Kept, Removed};

const HISTORY: &str = "history: says who did it";
const WORK: &str = "work of the user, which others may take over";

/// Every column that names a user. What is secret, or gives a right, must be [`Removed`].
const FATES: &[(&str, Fate)] = &[
    ("ai_seat_state.user_id", Kept("seats are counted over time")),
    ("ai_user_daily_spend.user_id", Kept("what was spent was spent")),
    ("aibridge_interceptions.initiator_id", Kept(HISTORY)),
    ("api_keys.user_id", Removed),
    ("audit_logs.user_id", Kept(HISTORY)),
    ("chat_messages.created_by", Kept(HISTORY)),
    ("chat_model_configs.created_by", Kept(HISTORY)),
    ("chat_model_configs.updated_by", Kept(HISTORY)),
    ("chats.owner_id", Kept(WORK)),
    ("connection_logs.user_id", Kept(HISTORY)),
    ("connection_logs.workspace_owner_id", Kept(HISTORY)),
    ("external_auth_links.user_id", Removed),
    ("gitsshkeys.user_id", Removed),
    ("group_members.user_id", Removed),
    ("mcp_server_user_tokens.user_id", Removed),
    ("oauth2_grants.user_id", Removed),
    ("oauth2_provider_app_codes.user_id", Removed),
    ("oauth2_provider_app_tokens.user_id", Removed),
    ("organization_members.user_id", Removed),
    ("provisioner_jobs.initiator_id", Kept(HISTORY)),
    ("tasks.owner_id", Kept(WORK)),
    ("template_versions.created_by", Kept(HISTORY)),
    ("templates.created_by", Kept(HISTORY)),
    ("user_ai_budget_overrides.user_id", Removed),
    ("user_ai_provider_keys.user_id", Removed),
    ("user_configs.user_id", Removed),
    ("user_deleted.user_id", Kept(HISTORY)),
    ("user_links.user_id", Removed),
    ("user_secrets.user_id", Removed),
    ("user_skills.user_id", Removed),
    ("user_status_changes.user_id", Kept(HISTORY)),
    ("workspace_app_audit_sessions.user_id", Kept("goes a day later, and says less than the log")),
    ("workspace_builds.initiator_id", Kept(HISTORY)),
    ("workspaces.owner_id", Kept(WORK)),
];

/// Columns that refer to users, and those that are called like one without saying so.
const COLUMNS: &str = "
    SELECT DISTINCT c.relname || '.' || a.attname
      FROM pg_attribute a
      JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      JOIN pg_namespace s ON s.oid = c.relnamespace AND s.nspname = 'public'
      LEFT JOIN pg_constraint f ON f.conrelid = c.oid AND f.contype = 'f'
           AND f.confrelid = 'users'::regclass AND a.attnum = ANY (f.conkey)
     WHERE a.attnum > 0 AND NOT a.attisdropped
       AND (f.oid IS NOT NULL OR (a.atttypid = 'uuid'::regtype
            AND a.attname IN ('user_id', 'owner_id', 'initiator_id', 'created_by')))
     ORDER BY 1";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_must_not_outlive_a_user_does() {
    const USER: UserId = UserId::new(Uuid::from_u128(0x10000000_0000_4000_8000_000000000001));
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for migration in migrations() {
        fixture(&db, &migration).await;
    }
    // Somebody else can administrate the deployment.
    let another = InsertUser { rbac_roles: vec!["owner".to_owned()], ..new_user(77, "another") };
    store.run(Call::by(&owner()), another).await.unwrap();
    // Who has workspaces stays.
    let kept = store.run(Call::by(&owner()), DeleteUser { id: USER, now: NOW }).await;
    assert!(matches!(kept, Err(Error::Missing(Constraint::WorkspacesOwnerFk))), "{kept:?}");
    db.sql("UPDATE workspaces SET deleted = true").await.unwrap();
    let columns = db.sql(COLUMNS).await.unwrap();
    let columns: Vec<String> = columns.into_iter().map(|row| row[0].clone().unwrap()).collect();
    let fates: BTreeMap<&str, Fate> = FATES.iter().copied().collect();
    assert_eq!(
        columns.iter().map(String::as_str).collect::<Vec<_>>(),
        fates.keys().copied().collect::<Vec<_>>(),
        "left: the catalogue, right: FATES; say of a new column what becomes of it, and why"
    );
    let rows = async |column: &str| -> u64 {
        let (table, column) = column.split_once('.').unwrap();
        let count = format!("SELECT count(*) FROM {table} WHERE {column} = '{USER}'");
        value(&db, &count).await.parse().unwrap()
    };
    let mut before = BTreeMap::new();
    for column in fates.keys() {
        before.insert(*column, rows(column).await);
    }
    store.run(Call::by(&owner()), DeleteUser { id: USER, now: NOW }).await.unwrap();
    for (column, fate) in fates {
        let (had, has) = (before[column], rows(column).await);
        match fate {
            Removed => assert!(had > 0 && has == 0, "{column}: {had} rows before, {has} after"),
            Kept(why) => {
                assert!(has >= had && !why.is_empty(), "{column}: {had} before, {has} after");
            }
        }
    }
}
