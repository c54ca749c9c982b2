//! Who may run what: the provider everything, users what is theirs, and strangers nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use rbac::{Subject, system};
use store::{
    Call, Error, Full, Query, TxOptions, oauth2_apps, oauth2_codes, oauth2_grants, oauth2_secrets,
    oauth2_tokens,
};
use testkit::TestDb;

use crate::samples::{Refusal, Visitor, visit_all};
use crate::scene::{fixture, member, migrations};

/// What came of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Empty,
    Denied,
    Failed,
}

type Attempt = Box<dyn FnOnce(Full, Arc<Subject>) -> BoxFuture<'static, Outcome>>;

/// The queries of the provider, each ready to be run in a transaction that is rolled back.
#[derive(Default)]
struct Attempts(Vec<(&'static str, Attempt)>);

impl Visitor for Attempts {
    fn visit<Q: Query>(&mut self, query: Q, refusal: Refusal<Q>) {
        if !Q::NAME.starts_with("oauth2_") {
            return;
        }
        let attempt: Attempt = Box::new(move |store, subject| {
            Box::pin(async move {
                let (query, outcome) = (Mutex::new(Some(query)), Mutex::new(None));
                let undone = store.tx(Call::by(&subject), TxOptions::write("test"), async |tx| {
                    let query = query.lock().unwrap().take().unwrap();
                    let found = match (tx.run(query).await, &refusal) {
                        (Ok(out), Refusal::Empty(is_empty)) if is_empty(&out) => Outcome::Empty,
                        (Ok(_), _) => Outcome::Done,
                        (Err(Error::Denied(_)), _) => Outcome::Denied,
                        (Err(_), _) => Outcome::Failed,
                    };
                    *outcome.lock().unwrap() = Some(found);
                    Err::<(), Error>(Error::NotFound)
                });
                assert!(undone.await.is_err());
                outcome.lock().unwrap().unwrap()
            })
        });
        self.0.push((Q::NAME, attempt));
    }
}

async fn outcomes(store: &Full, by: &Arc<Subject>) -> BTreeMap<&'static str, Outcome> {
    let mut attempts = Attempts::default();
    visit_all(&mut attempts);
    let mut outcomes = BTreeMap::new();
    for (name, attempt) in attempts.0 {
        outcomes.insert(name, attempt(store.clone(), Arc::clone(by)).await);
    }
    let lists = [
        oauth2_apps::QUERIES,
        oauth2_codes::QUERIES,
        oauth2_grants::QUERIES,
        oauth2_secrets::QUERIES,
        oauth2_tokens::QUERIES,
    ];
    assert_eq!(outcomes.len(), lists.concat().len());
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_may_do_everything_and_others_what_is_theirs() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for migration in migrations() {
        fixture(&db, &migration).await;
    }
    db.sql("UPDATE oauth2_provider_apps SET dynamically_registered = true").await.unwrap();
    let named = |outcomes: &BTreeMap<&'static str, Outcome>, wanted: Outcome| {
        let named = outcomes.iter().filter(|(_, outcome)| **outcome == wanted);
        named.map(|(name, _)| *name).collect::<Vec<_>>()
    };

    let provider = outcomes(&store, system::oauth2()).await;
    assert_eq!(named(&provider, Outcome::Denied), [""; 0]);
    assert_eq!(named(&provider, Outcome::Empty), [""; 0]);
    // In the sample the successor has the key of the one before, which is gone by then.
    assert_eq!(named(&provider, Outcome::Failed), ["oauth2_tokens.rotate_token"]);

    // Everybody may look clients up.
    let public = ["oauth2_apps.count_apps", "oauth2_apps.get_app", "oauth2_apps.list_apps"];
    let stranger = outcomes(&store, &member(77)).await;
    assert_eq!(named(&stranger, Outcome::Done), public);
    assert_eq!(
        named(&stranger, Outcome::Empty),
        ["oauth2_grants.list_grants", "oauth2_secrets.list_secrets"]
    );
    assert_eq!(named(&stranger, Outcome::Failed), [""; 0]);

    let user = outcomes(&store, &member(1)).await;
    let own = [
        "oauth2_apps.count_apps",
        "oauth2_apps.get_app",
        "oauth2_apps.list_apps",
        "oauth2_apps.list_apps_of_user",
        "oauth2_codes.consume_code",
        "oauth2_codes.delete_codes",
        "oauth2_codes.insert_code",
        "oauth2_grants.find_live_grant",
        "oauth2_grants.get_grant",
        "oauth2_grants.insert_grant",
        "oauth2_grants.list_grants",
        "oauth2_grants.revoke_grant",
        "oauth2_grants.revoke_grants",
        "oauth2_grants.touch_grant",
        "oauth2_tokens.delete_tokens",
        "oauth2_tokens.get_token_by_key",
        "oauth2_tokens.insert_token",
    ];
    assert_eq!(named(&user, Outcome::Done), own);
    assert_eq!(named(&user, Outcome::Failed), ["oauth2_tokens.rotate_token"]);

    // Other parts have no business here.
    for part in [system::authenticator(), system::bootstrap(), system::gateway()] {
        let outcomes = outcomes(&store, part).await;
        assert_eq!(named(&outcomes, Outcome::Done), [""; 0], "{}", part.name());
    }
}
