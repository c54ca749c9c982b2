//! Lists show finished interceptions to those who may read them, page by page without gap or repeat.

use std::sync::Arc;
use std::time::Duration;

use rbac::{AllowList, Scope, Subject};
use stdx::ids::InterceptionId;
use store::interceptions::{
    CountInterceptions, Facts, Filter, ListClients, ListInterceptions, ListModels,
    ListProviderNames, Page, Start,
};
use store::{Call, Full, Store as _};

use super::{end, fresh, id_at, ingest, interception_id, sample_facts, start};
use crate::scene::{NOW, add_user, limited, member, owner, subject, user_id};

fn list(filter: Filter, after: Option<InterceptionId>, limit: i64) -> ListInterceptions {
    ListInterceptions { filter, after, offset: 0, limit }
}

fn ids(page: &Page) -> Vec<InterceptionId> {
    page.interceptions.iter().map(|row| row.id.0).collect()
}

async fn all(store: &Full, by: &Arc<Subject>, filter: Filter) -> Vec<InterceptionId> {
    let count =
        store.run(Call::by(by), CountInterceptions { filter: filter.clone(), cap: 100 }).await;
    let page = store.run(Call::by(by), list(filter, None, 1000)).await.unwrap().unwrap();
    assert_eq!(count.unwrap(), i64::try_from(page.interceptions.len()).unwrap());
    ids(&page)
}

fn finished(starts: Vec<Start>) -> Facts {
    let ends =
        starts.iter().map(|start| store::interceptions::End { id: start.id, ..end(1) }).collect();
    Facts { starts, ends, ..Facts::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn auditor_and_owner_see_everything_and_a_member_nothing() {
    let (_db, store) = fresh().await;
    add_user(&store, 1, "alice").await;
    add_user(&store, 2, "bob").await;
    ingest(&store, sample_facts(1, 1)).await;
    ingest(&store, sample_facts(2, 2)).await;
    ingest(&store, Facts { starts: vec![start(3, 1)], ..Facts::default() }).await;
    let finished = [interception_id(2), interception_id(1)];
    for by in [owner(), subject(user_id(800), &["auditor", "member"])] {
        assert_eq!(all(&store, &by, Filter::default()).await, finished, "in flight or missing");
        let page =
            store.run(Call::by(&by), list(Filter::default(), None, 10)).await.unwrap().unwrap();
        let users: Vec<&str> = page.users.iter().map(|user| user.username.as_str()).collect();
        assert_eq!(users, ["alice", "bob"]);
        let children =
            [page.tokens.len(), page.prompts.len(), page.tools.len(), page.thoughts.len()];
        assert_eq!(children, [2; 4]);
    }
    for by in [member(1), member(3), subject(user_id(1), &["user-admin", "member"])] {
        assert!(all(&store, &by, Filter::default()).await.is_empty(), "{by:?}");
        let page =
            store.run(Call::by(&by), list(Filter::default(), None, 10)).await.unwrap().unwrap();
        assert!(page.users.is_empty() && page.prompts.is_empty());
        let guessed = list(Filter::default(), Some(interception_id(1)), 10);
        assert!(store.run(Call::by(&by), guessed).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_for_some_interceptions_sees_only_those() {
    let (_db, store) = fresh().await;
    for n in 1..=3 {
        ingest(&store, sample_facts(n, 1)).await;
    }
    let allow = format!("aibridge_interception:{}", interception_id(2));
    let scope = Scope::all().narrowed_to(&AllowList::parse(&[allow]).unwrap());
    let narrow = limited(user_id(900), &["owner", "member"], scope);
    assert_eq!(all(&store, &narrow, Filter::default()).await, [interception_id(2)]);
    let page =
        store.run(Call::by(&narrow), list(Filter::default(), None, 10)).await.unwrap().unwrap();
    assert_eq!(page.prompts.len(), 1);
    let other = list(Filter::default(), Some(interception_id(3)), 10);
    assert!(store.run(Call::by(&narrow), other).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_the_filter_narrows() {
    let (_db, store) = fresh().await;
    let session = Some("s-2".to_owned());
    ingest(
        &store,
        finished(vec![
            start(1, 1),
            Start { provider: "openai".to_owned(), ..start(2, 1) },
            Start { provider_name: "eu".to_owned(), ..start(3, 1) },
            Start { model: "gpt".to_owned(), ..start(4, 1) },
            Start { client: "Codex".to_owned(), ..start(5, 1) },
            Start { client_session_id: session.clone(), ..start(6, 1) },
            start(7, 2),
        ]),
    )
    .await;
    let by = owner();
    let none = Filter::default;
    let at = |n| Some(NOW + Duration::from_secs(n));
    let cases: [(&str, Filter, &[u32]); 11] = [
        ("nothing", none(), &[7, 6, 5, 4, 3, 2, 1]),
        ("initiator", Filter { initiator: Some(user_id(2)), ..none() }, &[7]),
        ("provider", Filter { provider: Some("openai".to_owned()), ..none() }, &[2]),
        ("provider_name", Filter { provider_name: Some("eu".to_owned()), ..none() }, &[3]),
        ("model", Filter { model: Some("gpt".to_owned()), ..none() }, &[4]),
        ("client", Filter { client: Some("Codex".to_owned()), ..none() }, &[5]),
        ("session", Filter { session_id: session, ..none() }, &[6]),
        ("after", Filter { started_after: at(6), ..none() }, &[7, 6]),
        ("before", Filter { started_before: at(2), ..none() }, &[2, 1]),
        ("both", Filter { started_after: at(3), started_before: at(4), ..none() }, &[4, 3]),
        (
            "no match",
            Filter { model: Some("gpt".to_owned()), client: Some("Codex".to_owned()), ..none() },
            &[],
        ),
    ];
    for (name, filter, wanted) in cases {
        let wanted: Vec<_> = wanted.iter().map(|n| interception_id(*n)).collect();
        assert_eq!(all(&store, &by, filter).await, wanted, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let (_db, store) = fresh().await;
    // Three at each instant: the identifier decides among them.
    let starts: Vec<Start> = (0..12)
        .map(|n| Start { started_at: NOW + Duration::from_secs(u64::from(n / 3)), ..start(n, 1) })
        .collect();
    ingest(&store, finished(starts)).await;
    let by = owner();
    let wanted = all(&store, &by, Filter::default()).await;
    assert_eq!(wanted.len(), 12);
    for size in [1, 2, 5, 12, 50] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = store
                .run(Call::by(&by), list(Filter::default(), after, size))
                .await
                .unwrap()
                .unwrap();
            let Some(last) = page.interceptions.last() else { break };
            after = Some(last.id.0);
            seen.extend(ids(&page));
        }
        assert_eq!(seen, wanted, "pages of {size}");
        let mut seen = Vec::new();
        for offset in (0..12).step_by(usize::try_from(size).unwrap()) {
            let page = ListInterceptions { offset, ..list(Filter::default(), None, size) };
            seen.extend(ids(&store.run(Call::by(&by), page).await.unwrap().unwrap()));
        }
        assert_eq!(seen, wanted, "offsets of {size}");
    }
    let unknown = list(Filter::default(), Some(id_at(NOW, 99)), 10);
    assert!(store.run(Call::by(&by), unknown).await.unwrap().is_none());
    for (offset, limit, found) in [(-1, 3, 3), (0, -1, 0), (0, 0, 0), (100, 3, 0)] {
        let page = ListInterceptions { offset, ..list(Filter::default(), None, limit) };
        let page = store.run(Call::by(&by), page).await.unwrap().unwrap();
        assert_eq!(page.interceptions.len(), found, "offset {offset} limit {limit}");
    }
}

/// An interception in flight is no place to go on from: it is not in the list.
#[tokio::test(flavor = "multi_thread")]
async fn an_interception_in_flight_is_no_cursor() {
    let (_db, store) = fresh().await;
    ingest(&store, Facts { starts: vec![start(1, 1)], ..Facts::default() }).await;
    let page = list(Filter::default(), Some(interception_id(1)), 10);
    assert!(store.run(Call::by(&owner()), page).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_found_by_what_they_begin_with_letter_by_letter() {
    let (_db, store) = fresh().await;
    let names = ["100%", "100x", "a_b", "axb", "back\\slash", "Claude", "claude", "claude"];
    let starts = (0..).zip(names).map(|(n, name)| Start {
        model: name.to_owned(),
        client: name.to_owned(),
        provider_name: name.to_owned(),
        ..start(n, 1)
    });
    ingest(&store, finished(starts.collect())).await;
    let in_flight = Start { model: "claude-next".to_owned(), ..start(50, 1) };
    ingest(&store, Facts { starts: vec![in_flight], ..Facts::default() }).await;
    let by = owner();
    let cases: [(&str, &[&str]); 8] = [
        ("100%", &["100%"]),
        ("100", &["100%", "100x"]),
        ("a_", &["a_b"]),
        ("_", &[]),
        ("%", &[]),
        ("back\\", &["back\\slash"]),
        ("c", &["claude"]),
        ("claude-", &[]),
    ];
    for (prefix, wanted) in cases {
        let prefix = prefix.to_owned();
        let found = [
            store
                .run(Call::by(&by), ListModels { prefix: prefix.clone(), offset: 0, limit: 10 })
                .await,
            store
                .run(Call::by(&by), ListClients { prefix: prefix.clone(), offset: 0, limit: 10 })
                .await,
            store
                .run(
                    Call::by(&by),
                    ListProviderNames { prefix: prefix.clone(), offset: 0, limit: 10 },
                )
                .await,
        ];
        for found in found {
            let mut found = found.unwrap();
            found.sort();
            assert_eq!(found, wanted, "{prefix}");
        }
    }
    let pages = async |offset, limit| {
        let page = ListModels { prefix: String::new(), offset, limit };
        store.run(Call::by(&by), page).await.unwrap()
    };
    let everything = pages(0, 100).await;
    assert_eq!(everything.len(), 7);
    assert_eq!([pages(0, 3).await, pages(3, 100).await].concat(), everything);
    let nothing = ListModels { prefix: String::new(), offset: 0, limit: 10 };
    assert!(store.run(Call::by(&member(1)), nothing).await.unwrap().is_empty());
}
