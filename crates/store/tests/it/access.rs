//! Who may run what: the table of all queries, and a subject without any right against each of them.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use rbac::{AllowList, Scope, Subject};
use store::{
    Access, Call, Error, Full, Query, Store as _, TxOptions, ai_budgets, ai_prices, ai_providers,
    ai_seats, api_keys, audit_chain, audit_logs, chat_models, chats, connection_logs, crypto_keys,
    custom_roles, external_auth_links, gateway_keys, git_ssh_keys, groups, interceptions, licenses,
    locks, mcp_servers, members, oauth2_apps, oauth2_codes, oauth2_grants, oauth2_secrets,
    oauth2_tokens, organizations, own_provider_keys, provisioner_daemons, provisioner_keys, pubsub,
    purge, replicas, site_configs, system_roles, tasks, telemetry, templates, usage_events,
    user_configs, user_links, user_secrets, user_skills, users, workspace_agents, workspaces,
};
use testkit::TestDb;

use crate::samples::{Refusal, Visitor, visit_all};
use crate::scene::{fixture, limited, migrations, subject, tree, user_id};

/// The lists of all modules.
const LISTS: &[&[&str]] = &[
    ai_budgets::QUERIES,
    ai_prices::QUERIES,
    ai_providers::QUERIES,
    ai_seats::QUERIES,
    api_keys::QUERIES,
    audit_chain::QUERIES,
    audit_logs::QUERIES,
    chat_models::QUERIES,
    chats::QUERIES,
    connection_logs::QUERIES,
    crypto_keys::QUERIES,
    custom_roles::QUERIES,
    external_auth_links::QUERIES,
    gateway_keys::QUERIES,
    git_ssh_keys::QUERIES,
    groups::QUERIES,
    interceptions::QUERIES,
    licenses::QUERIES,
    locks::QUERIES,
    mcp_servers::QUERIES,
    members::QUERIES,
    oauth2_apps::QUERIES,
    oauth2_codes::QUERIES,
    oauth2_grants::QUERIES,
    oauth2_secrets::QUERIES,
    oauth2_tokens::QUERIES,
    organizations::QUERIES,
    own_provider_keys::QUERIES,
    provisioner_daemons::QUERIES,
    provisioner_keys::QUERIES,
    pubsub::QUERIES,
    purge::QUERIES,
    replicas::QUERIES,
    site_configs::QUERIES,
    system_roles::QUERIES,
    tasks::QUERIES,
    telemetry::QUERIES,
    templates::QUERIES,
    usage_events::QUERIES,
    user_configs::QUERIES,
    user_links::QUERIES,
    user_secrets::QUERIES,
    user_skills::QUERIES,
    users::QUERIES,
    workspace_agents::QUERIES,
    workspaces::QUERIES,
];

#[derive(Default)]
struct Names(Vec<&'static str>);

impl Visitor for Names {
    fn visit<Q: Query>(&mut self, _: Q, _: Refusal<Q>) {
        self.0.push(Q::NAME);
    }
}

#[test]
fn every_listed_query_has_one_sample_and_every_list_is_known() {
    let mut names = Names::default();
    visit_all(&mut names);
    let sampled: BTreeSet<&str> = names.0.iter().copied().collect();
    assert_eq!(sampled.len(), names.0.len(), "two queries of one name");
    let listed: BTreeSet<&str> = LISTS.iter().flat_map(|list| list.iter().copied()).collect();
    assert_eq!(listed, sampled, "left: lists of the modules, right: samples");
    let with_list = fs::read_dir(tree("crates/store/src"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .filter(|path| fs::read_to_string(path).unwrap().contains("\ncrate::queries!["))
        .count();
    assert_eq!(with_list, LISTS.len(), "a module's list is missing in this test");
}

#[test]
fn names_are_made_of_module_and_verb() {
    for name in LISTS.iter().flat_map(|list| list.iter()) {
        let (module, query) = name.split_once('.').unwrap();
        assert!(tree(&format!("crates/store/src/{module}.rs")).is_file(), "{name}");
        let shaped = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        // OAuth 2 is another protocol than OAuth.
        let module = module.strip_prefix("oauth2").unwrap_or(module);
        assert!(shaped(module) && shaped(query) && !query.is_empty(), "{name}");
    }
}

#[test]
fn the_committed_table_of_access_rules_is_the_printed_one() {
    let printed = Command::new(env!("CARGO_BIN_EXE_store-access")).output().unwrap();
    assert!(printed.status.success());
    let committed = fs::read_to_string(tree("docs/generated/store-access.md")).unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let changed: Vec<String> =
        lines(&committed).symmetric_difference(&lines(&printed)).cloned().collect();
    assert!(
        committed == printed,
        "review these lines, then run `cargo xtask gen access`: {changed:#?}"
    );
}

type Attempt = Box<dyn FnOnce(Full, Arc<Subject>) -> BoxFuture<'static, Result<(), String>>>;

/// Every query, ready to be run by somebody, with what that should lead to.
#[derive(Default)]
struct Attempts(Vec<(&'static str, Attempt)>);

impl Visitor for Attempts {
    fn visit<Q: Query>(&mut self, query: Q, refusal: Refusal<Q>) {
        let attempt: Attempt = Box::new(move |store, subject| {
            Box::pin(async move {
                let access = query.access();
                let shown = format!("{access:?}");
                let outcome = store.run(Call::by(&subject), query).await;
                match (access, refusal, outcome) {
                    (Access::Before(checks), Refusal::Inputs, Err(Error::Denied(denial))) => {
                        let first = format!(
                            "before: {}:{}",
                            denial.resource.as_str(),
                            denial.action.as_str()
                        );
                        let as_ruled = !checks.is_empty() && shown.starts_with(&first);
                        as_ruled.then_some(()).ok_or(format!("{shown}, but denied {first}"))
                    }
                    (
                        Access::Load(_) | Access::After(_),
                        Refusal::Row(action, resource),
                        Err(Error::Denied(denial)),
                    ) => {
                        let as_sampled = (denial.action, denial.resource) == (action, resource);
                        as_sampled.then_some(()).ok_or(format!("{denial:?}"))
                    }
                    (Access::Rows(..), Refusal::Empty(is_empty), Ok(out)) => {
                        is_empty(&out).then_some(()).ok_or("rows".to_owned())
                    }
                    (Access::Open(_), Refusal::Nothing, Ok(_)) => Ok(()),
                    (_, _, Ok(_)) => Err(format!("{shown}: let through")),
                    (_, _, Err(error)) => Err(format!("{shown}: {error}")),
                }
            })
        });
        self.0.push((Q::NAME, attempt));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_anything_out_of_any_query() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for migration in migrations() {
        fixture(&db, &migration).await;
    }
    let before = db.sql(ROWS).await.unwrap();
    let nobody = subject(user_id(1000), &[]);
    let mut attempts = Attempts::default();
    visit_all(&mut attempts);
    let mut wrong = Vec::new();
    for (name, attempt) in attempts.0 {
        if let Err(why) = attempt(store.clone(), Arc::clone(&nobody)).await {
            wrong.push(format!("{name}: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(db.sql(ROWS).await.unwrap(), before, "something was written");
}

/// What is run again when its connection broke must not write: here it could not.
#[tokio::test(flavor = "multi_thread")]
async fn queries_with_a_reading_verb_write_nothing() {
    #[derive(Default)]
    struct Reads(Vec<(&'static str, Attempt)>);
    impl Visitor for Reads {
        fn visit<Q: Query>(&mut self, query: Q, _: Refusal<Q>) {
            let (_, verb) = Q::NAME.split_once('.').unwrap();
            let reads = ["get_", "find_", "list_", "count_"].iter().any(|v| verb.starts_with(v));
            if !reads || Q::NAME == "site_configs.get_or_insert" {
                return;
            }
            let query = Mutex::new(Some(query));
            let attempt: Attempt = Box::new(move |store, subject| {
                Box::pin(async move {
                    let options = TxOptions::snapshot("reads");
                    let outcome = store
                        .tx(Call::by(&subject), options, async |tx| {
                            // Run again: the first time it was refused as a write.
                            let Some(query) = query.lock().unwrap().take() else {
                                return Err(Error::Internal("it writes or locks".into()));
                            };
                            tx.run(query).await.map(drop)
                        })
                        .await;
                    match outcome {
                        Ok(()) | Err(Error::NotFound | Error::Denied(_)) => Ok(()),
                        Err(error) => Err(format!("{error}: {error:?}")),
                    }
                })
            });
            self.0.push((Q::NAME, attempt));
        }
    }
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for migration in migrations() {
        fixture(&db, &migration).await;
    }
    let mut reads = Reads::default();
    visit_all(&mut reads);
    assert!(reads.0.len() > 50);
    for (name, attempt) in reads.0 {
        let outcome = attempt(store.clone(), crate::scene::owner()).await;
        assert_eq!(outcome, Ok(()), "{name}");
    }
}

/// A digest of all that could have been changed.
const ROWS: &str = "SELECT md5(string_agg(t, '|' ORDER BY t)) FROM (
    SELECT u::text AS t FROM users u UNION ALL SELECT k::text FROM api_keys k
    UNION ALL SELECT o::text FROM organizations o UNION ALL SELECT m::text FROM organization_members m
    UNION ALL SELECT g::text FROM ai_gateway_keys g UNION ALL SELECT p::text FROM ai_providers p UNION ALL SELECT k::text FROM ai_provider_keys k
    UNION ALL SELECT s::text FROM site_configs s UNION ALL SELECT a::text FROM audit_logs a
    UNION ALL SELECT w::text FROM workspaces w UNION ALL SELECT t::text FROM templates t UNION ALL SELECT t::text FROM tasks t
    UNION ALL SELECT a::text FROM workspace_agents a UNION ALL SELECT m::text FROM workspace_agent_metadata m
    UNION ALL SELECT i::text FROM aibridge_interceptions i) rows";

/// The same samples show that the refusals above come from the rules and not from missing rows.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_gets_rows_out_of_every_list() {
    struct Lists(Vec<(&'static str, Attempt)>);
    impl Visitor for Lists {
        fn visit<Q: Query>(&mut self, query: Q, refusal: Refusal<Q>) {
            let Refusal::Empty(is_empty) = refusal else { return };
            let attempt: Attempt = Box::new(move |store, subject| {
                Box::pin(async move {
                    match store.run(Call::by(&subject), query).await {
                        Ok(out) if is_empty(&out) => Err("nothing".to_owned()),
                        Ok(_) => Ok(()),
                        Err(error) => Err(error.to_string()),
                    }
                })
            });
            self.0.push((Q::NAME, attempt));
        }
    }
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for migration in migrations() {
        fixture(&db, &migration).await;
    }
    db.sql("UPDATE api_keys SET login_type = 'token', token_name = 'ci' WHERE id = 'abcdefghij'")
        .await
        .unwrap();
    let mut lists = Lists(Vec::new());
    visit_all(&mut lists);
    assert!(!lists.0.is_empty());
    for (name, attempt) in lists.0 {
        attempt(store.clone(), crate::scene::owner())
            .await
            .unwrap_or_else(|why| panic!("{name}: {why}"));
    }
    // A credential of the same owner that is limited to other objects gets nothing out of any of them.
    let elsewhere = AllowList::parse(&[format!("*:{}", uuid::Uuid::from_u128(0xe15e))]).unwrap();
    let roles = ["owner", "member"];
    let limited = limited(user_id(900), &roles, Scope::all().narrowed_to(&elsewhere));
    let mut lists = Lists(Vec::new());
    visit_all(&mut lists);
    for (name, attempt) in lists.0 {
        let outcome = attempt(store.clone(), Arc::clone(&limited)).await;
        assert_eq!(outcome, Err("nothing".to_owned()), "{name}: the allow list is not looked at");
    }
}
