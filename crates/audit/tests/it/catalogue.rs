//! Whatever a query changes can be told, or it is said why not. Read from the sources of the store: what a query yields
//! is a type, of which no list can be made when it runs.

use std::any::type_name;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use audit::Auditable;
use store::ai_budgets::{BudgetOverride, GroupBudget};
use store::ai_providers::{Provider, ProviderKey};
use store::ai_seats::Seat;
use store::api_keys::ApiKey;
use store::chat_models::{ChatModel, UsageLimit};
use store::chats::Chat;
use store::custom_roles::CustomRole;
use store::gateway_keys::HashedGatewayKey;
use store::git_ssh_keys::GitSshKey;
use store::groups::{Group, GroupWithMembers};
use store::licenses::License;
use store::mcp_servers::McpServer;
use store::oauth2_apps::{App, RegisteredApp};
use store::oauth2_grants::Grant;
use store::oauth2_secrets::AppSecret;
use store::organizations::Organization;
use store::own_provider_keys::OwnProviderKey;
use store::provisioner_keys::ProvisionerKey;
use store::tasks::Task;
use store::templates::Template;
use store::user_secrets::UserSecret;
use store::user_skills::UserSkill;
use store::users::{LoginUser, User};
use store::workspaces::Workspace;

fn name<R: Auditable>() -> &'static str {
    type_name::<R>().rsplit("::").next().unwrap()
}

/// Rows that changes are told of.
fn audited() -> Vec<&'static str> {
    vec![
        name::<ApiKey>(),
        name::<App>(),
        name::<AppSecret>(),
        name::<BudgetOverride>(),
        name::<Chat>(),
        name::<ChatModel>(),
        name::<CustomRole>(),
        name::<GitSshKey>(),
        name::<Grant>(),
        name::<Group>(),
        name::<GroupBudget>(),
        name::<GroupWithMembers>(),
        name::<HashedGatewayKey>(),
        name::<License>(),
        name::<LoginUser>(),
        name::<McpServer>(),
        name::<Organization>(),
        name::<OwnProviderKey>(),
        name::<Provider>(),
        name::<ProviderKey>(),
        name::<ProvisionerKey>(),
        name::<RegisteredApp>(),
        name::<Seat>(),
        name::<Task>(),
        name::<Template>(),
        name::<UsageLimit>(),
        name::<User>(),
        name::<UserSecret>(),
        name::<UserSkill>(),
        name::<Workspace>(),
        // As `audit::tables::NamedMember`, because memberships have no name of their own.
        "Member",
        // As the settings that are kept in it, which have names.
        "Setting",
    ]
}

/// Rows whose changes are nobody's doing, or part of the life of a grant or a workspace, which is told.
const UNTOLD: &[&str] = &["Code", "Item", "Replica", "Token", "WorkspaceAgent"];

/// Queries that write and yield no change, and why nothing is told of them.
const SILENT: &[(&str, &[&str])] = &[
    (
        "records, counters and marks of use, which are many and tell themselves",
        &[
            "ai_budgets.add_spend",
            "api_keys.touch_api_key",
            "chats.heartbeat_chats",
            "connection_logs.note_app_request",
            "connection_logs.upsert_connection_logs",
            "gateway_keys.touch_gateway_keys",
            "oauth2_apps.touch_app",
            "oauth2_grants.touch_grant",
            "oauth2_secrets.touch_secret",
            "interceptions.ingest_facts",
            "interceptions.sweep_open",
            "provisioner_daemons.touch_provisioner_daemon",
            "provisioner_daemons.upsert_provisioner_daemon",
            "telemetry.take_period",
            "usage_events.claim_usage_events",
            "usage_events.insert_usage_event",
            "usage_events.mark_failed",
            "usage_events.mark_published",
            "users.update_last_seen",
            "workspace_agents.update_metadata",
        ],
    ),
    (
        "what is said in chats is theirs",
        &["chats.insert_messages", "chats.insert_queued", "chats.pop_queued"],
    ),
    (
        "the log itself, and its proof",
        &[
            "audit_chain.delete_old_audit_logs",
            "audit_chain.make_checkpoint",
            "audit_chain.rotate_signing_key",
            "audit_logs.insert_audit_log",
        ],
    ),
    (
        "done by the deployment to itself, by rules that are in the code",
        &[
            "ai_prices.upsert_prices",
            "crypto_keys.delete_crypto_keys",
            "crypto_keys.insert_crypto_key",
            "crypto_keys.retire_crypto_key",
            "interceptions.ensure_partitions",
            "purge.drop_old_months",
            "site_configs.get_or_insert",
            "system_roles.reconcile_system_roles",
        ],
    ),
    (
        "part of a login, a change of a password or a synchronization, which are told",
        &[
            "api_keys.delete_keys_of_user",
            "groups.join_groups",
            "groups.leave_groups",
            "user_links.insert_user_link",
            "user_links.set_linked_id",
            "user_links.update_user_link",
            "users.update_password_hash",
        ],
    ),
    (
        "happens under a grant, which is told",
        &["oauth2_codes.consume_code", "oauth2_codes.delete_codes", "oauth2_tokens.rotate_token"],
    ),
    (
        "a user's own connections to other services, renewed all the time",
        &[
            "external_auth_links.delete_external_auth_link",
            "external_auth_links.insert_external_auth_link",
            "external_auth_links.update_external_auth_link",
            "external_auth_links.update_refresh_token",
            "mcp_servers.delete_user_token",
            "mcp_servers.upsert_user_token",
        ],
    ),
    ("a user's taste", &["user_configs.set_user_config"]),
    ("goes with its user", &["git_ssh_keys.delete_git_ssh_key"]),
    (
        "orders or tells, and writes nothing",
        &["locks.acquire", "locks.try_acquire", "pubsub.publish"],
    ),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// What each query yields, as it is written down.
fn yields() -> BTreeMap<String, String> {
    const NAME: &str = "const NAME: &'static str = \"";
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/src"), &mut files);
    let mut all = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for rest in text.split(NAME).skip(1) {
            let (name, rest) = rest.split_once('"').unwrap();
            let (_, rest) = rest.split_once("type Out = ").unwrap();
            let (out, _) = rest.split_once(';').unwrap();
            all.insert(name.to_owned(), out.to_owned());
        }
    }
    assert!(all.len() > 200, "{}", all.len());
    all
}

/// The verbs of queries that only read; the store proves that they do.
fn reads(name: &str) -> bool {
    const VERBS: [&str; 10] = [
        "any_",
        "compare_",
        "count_",
        "find_",
        "get_",
        "list_",
        "measure_",
        "sum_",
        "summarize_",
        "validate_",
    ];
    let (_, query) = name.split_once('.').unwrap();
    VERBS.iter().any(|verb| query.starts_with(verb)) && query != "get_or_insert"
}

#[test]
fn every_row_that_a_query_changes_can_be_told_of() {
    let mut rows = BTreeSet::new();
    for out in yields().values() {
        for rest in out.split("Change<").skip(1) {
            rows.insert(rest.split_once('>').unwrap().0.to_owned());
        }
    }
    let known: BTreeSet<String> =
        audited().into_iter().chain(UNTOLD.iter().copied()).map(str::to_owned).collect();
    assert_eq!(rows, known, "left: what queries change, right: what is declared; see `auditable!`");
}

#[test]
fn queries_that_write_and_tell_nothing_say_why() {
    let silent: BTreeSet<&str> =
        SILENT.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let all = yields();
    let found: BTreeSet<&str> = all
        .iter()
        .filter(|(name, out)| !reads(name) && !out.contains("Change<"))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(found, silent, "left: queries, right: SILENT");
}
