//! Sessions and threads, which are nothing but interceptions grouped.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rbac::{AllowList, Scope, Subject};
use serde_json::json;
use stdx::ids::{InterceptionId, UserId};
use store::interceptions::{
    CountSessions, Facts, Filter, GetSession, ListSessions, ListThreads, Page, Session,
    SessionCursor, Start,
};
use store::{Call, Full, Store as _};

use super::{end, follows, fresh, ingest, interception_id, prompt, start, tokens, tool};
use crate::scene::{NOW, add_user, limited, member, owner, user_id};

fn of(session: &str, start: Start) -> Start {
    Start { client_session_id: Some(session.to_owned()), ..start }
}

fn page(filter: Filter, after: Option<&str>, limit: i64) -> ListSessions {
    let after = after.map(|session_id| SessionCursor { session_id: session_id.to_owned() });
    ListSessions { filter, after, offset: 0, limit }
}

async fn sessions(store: &Full, by: &Arc<Subject>, query: ListSessions) -> Vec<Session> {
    store.run(Call::by(by), query).await.unwrap().0
}

fn names(sessions: &[Session]) -> Vec<String> {
    sessions
        .iter()
        .map(|row| format!("{}/{}", row.session_id, row.initiator_id.as_u128() & 0xffff))
        .collect()
}

/// Two users who sent the same key, and one session without key in two threads.
async fn scene(store: &Full) {
    add_user(store, 1, "alice").await;
    add_user(store, 2, "bob").await;
    let starts = vec![
        Start { metadata: json!({"first": true}), ..of("s-a", start(1, 1)) },
        Start {
            model: "gpt".to_owned(),
            provider: "openai".to_owned(),
            client: "Codex".to_owned(),
            ..of("s-a", start(2, 1))
        },
        of("s-a", start(3, 2)),
        start(4, 1),
        follows("call_4", start(5, 1)),
        of("s-b", start(6, 1)),
    ];
    let facts = Facts {
        starts,
        tools: vec![tool(4, "call_4")],
        tokens: vec![tokens(1, 10, 100), tokens(2, 20, 200), tokens(3, 40, 400)],
        prompts: vec![prompt(1, "one"), prompt(2, "two"), prompt(3, "three")],
        ends: vec![end(1), end(2), end(3), end(4), end(5)],
        ..Facts::default()
    };
    ingest(store, facts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interceptions_are_grouped_by_key_and_user_and_added_up() {
    let (_db, store) = fresh().await;
    scene(&store).await;
    let by = owner();
    let found = sessions(&store, &by, page(Filter::default(), None, 10)).await;
    let own = interception_id(4).to_string();
    assert_eq!(names(&found), [format!("{own}/1"), "s-a/2".to_owned(), "s-a/1".to_owned()]);
    let alices = &found[2];
    assert_eq!(alices.providers, ["anthropic", "openai"]);
    assert_eq!(alices.models, ["claude", "gpt"]);
    assert_eq!(
        (alices.client.as_str(), &alices.metadata),
        ("Claude Code", &json!({"first": true}))
    );
    assert_eq!(alices.started_at, NOW + Duration::from_secs(1));
    assert_eq!(alices.last_active_at, NOW + Duration::from_secs(2));
    assert_eq!(alices.ended_at, Some(NOW + Duration::from_millis(2500)));
    assert_eq!((alices.threads, alices.input_tokens, alices.output_tokens), (2, 30, 300));
    assert_eq!((alices.cache_read_input_tokens, alices.cache_write_input_tokens), (6, 8));
    assert_eq!(alices.last_prompt.as_deref(), Some("two"));
    assert_eq!((found[0].threads, found[0].input_tokens, &found[0].last_prompt), (1, 0, &None));
    assert_eq!(found[1].last_prompt.as_deref(), Some("three"));
    let (_, users) = store.run(Call::by(&by), page(Filter::default(), None, 10)).await.unwrap();
    assert_eq!(
        users.iter().map(|user| user.username.as_str()).collect::<Vec<_>>(),
        ["alice", "bob"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_matches_by_any_of_its_interceptions_and_is_shown_whole() {
    let (_db, store) = fresh().await;
    scene(&store).await;
    let by = owner();
    let cases: [(Filter, &[&str]); 5] = [
        (Filter { model: Some("gpt".to_owned()), ..Filter::default() }, &["s-a/1"]),
        (Filter { initiator: Some(user_id(2)), ..Filter::default() }, &["s-a/2"]),
        (Filter { session_id: Some("s-a".to_owned()), ..Filter::default() }, &["s-a/2", "s-a/1"]),
        (Filter { session_id: Some("s-b".to_owned()), ..Filter::default() }, &[]),
        (
            Filter { started_before: Some(NOW + Duration::from_secs(1)), ..Filter::default() },
            &["s-a/1"],
        ),
    ];
    for (filter, wanted) in cases {
        let found = sessions(&store, &by, page(filter.clone(), None, 10)).await;
        assert_eq!(names(&found), wanted, "{filter:?}");
        let count = store.run(Call::by(&by), CountSessions { filter, cap: 100 }).await.unwrap();
        assert_eq!(usize::try_from(count).unwrap(), wanted.len());
        assert!(
            found.iter().all(|row| row.initiator_id != user_id(1).uuid() || row.input_tokens == 30)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_got_by_key_by_those_who_may_read_it() {
    let (_db, store) = fresh().await;
    scene(&store).await;
    let get = |id: &str| GetSession { session_id: id.to_owned() };
    let (session, users) = store.run(Call::by(&owner()), get("s-a")).await.unwrap().unwrap();
    assert_eq!((session.initiator_id, users.len()), (user_id(2).uuid(), 1));
    assert!(store.run(Call::by(&owner()), get("absent")).await.unwrap().is_none());
    assert!(store.run(Call::by(&owner()), get("s-b")).await.unwrap().is_none(), "in flight");
    assert!(store.run(Call::by(&member(1)), get("s-a")).await.unwrap().is_none());
}

/// What the credential may not read is not added up either.
#[tokio::test(flavor = "multi_thread")]
async fn a_credential_for_one_interception_sees_a_session_of_one() {
    let (_db, store) = fresh().await;
    scene(&store).await;
    let allow = format!("aibridge_interception:{}", interception_id(1));
    let scope = Scope::all().narrowed_to(&AllowList::parse(&[allow]).unwrap());
    let narrow = limited(user_id(900), &["owner", "member"], scope);
    let found = sessions(&store, &narrow, page(Filter::default(), None, 10)).await;
    assert_eq!(names(&found), ["s-a/1"]);
    assert_eq!((found[0].threads, found[0].input_tokens), (1, 10));
    assert_eq!(found[0].last_prompt.as_deref(), Some("one"));
    assert_eq!(found[0].models, ["claude"]);
    let threads = threads(&store, &narrow, "s-a", user_id(1), None, None, 10).await.unwrap();
    assert_eq!(roots(&threads), [interception_id(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_sessions_follow_each_other_without_gap_or_repeat() {
    let (_db, store) = fresh().await;
    // Pairs that were last active at the same instant.
    let starts: Vec<Start> = (0..9)
        .map(|n| Start {
            started_at: NOW + Duration::from_secs(u64::from(n / 2)),
            ..of(&format!("s-{n}"), start(n, 1))
        })
        .collect();
    let ends = (0..9).map(end).collect();
    ingest(&store, Facts { starts, ends, ..Facts::default() }).await;
    let by = owner();
    let wanted = names(&sessions(&store, &by, page(Filter::default(), None, 100)).await);
    assert_eq!(wanted.len(), 9);
    for size in [1, 2, 4, 9] {
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        loop {
            let found =
                sessions(&store, &by, page(Filter::default(), after.as_deref(), size)).await;
            let Some(last) = found.last() else { break };
            after = Some(last.session_id.clone());
            seen.extend(names(&found));
        }
        assert_eq!(seen, wanted, "pages of {size}");
    }
    let offset = ListSessions { offset: 7, ..page(Filter::default(), None, 100) };
    assert_eq!(names(&sessions(&store, &by, offset).await), wanted[7..]);
    assert!(sessions(&store, &by, page(Filter::default(), Some("absent"), 10)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_end_also_when_users_share_a_key() {
    let (_db, store) = fresh().await;
    let starts: Vec<Start> = (0..6).map(|n| of("shared", start(n, n + 1))).collect();
    ingest(&store, Facts { starts, ends: (0..6).map(end).collect(), ..Facts::default() }).await;
    let (by, mut seen, mut after) = (owner(), Vec::new(), None);
    for _ in 0..7 {
        let found = sessions(&store, &by, page(Filter::default(), after, 3)).await;
        if found.is_empty() {
            break;
        }
        after = Some("shared");
        seen.extend(names(&found));
    }
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "{seen:?}");
}

async fn threads(
    store: &Full,
    by: &Arc<Subject>,
    session: &str,
    initiator: UserId,
    after: Option<InterceptionId>,
    before: Option<InterceptionId>,
    limit: i64,
) -> Option<Page> {
    let query = ListThreads { session_id: session.to_owned(), initiator, after, before, limit };
    store.run(Call::by(by), query).await.unwrap()
}

fn roots(page: &Page) -> Vec<InterceptionId> {
    let roots = page.interceptions.iter().filter(|row| row.thread_root_id.is_none());
    roots.map(|row| row.id.0).collect()
}

/// After, before, limit, and the roots that are found.
type Case<'a> = (Option<u32>, Option<u32>, i64, &'a [u32]);

#[tokio::test(flavor = "multi_thread")]
async fn threads_of_a_session_page_both_ways_with_all_their_interceptions() {
    let (_db, store) = fresh().await;
    // Four threads; the second has three interceptions, two began at one instant.
    let same = NOW + Duration::from_secs(7);
    let starts = vec![
        of("s", start(1, 1)),
        of("s", start(2, 1)),
        of("s", follows("call_2", start(3, 1))),
        of("s", follows("call_3", start(4, 1))),
        Start { started_at: same, ..of("s", start(6, 1)) },
        Start { started_at: same, ..of("s", start(7, 1)) },
        of("s", start(8, 2)),
        of("s", start(9, 1)),
    ];
    let facts = Facts {
        starts,
        tools: vec![tool(2, "call_2"), tool(3, "call_3")],
        prompts: vec![prompt(2, "two"), prompt(4, "four")],
        ends: [1, 2, 3, 4, 6, 7, 8].map(end).to_vec(),
        ..Facts::default()
    };
    ingest(&store, facts).await;
    let by = owner();
    let id = interception_id;
    let all = threads(&store, &by, "s", user_id(1), None, None, 10).await.unwrap();
    assert_eq!(roots(&all), [id(1), id(2), id(6), id(7)]);
    assert_eq!(all.interceptions.len(), 6);
    assert_eq!((all.prompts.len(), all.tools.len()), (2, 2));
    let cases: [Case<'_>; 9] = [
        (None, None, 2, &[1, 2]),
        (Some(2), None, 10, &[6, 7]),
        (Some(2), None, 1, &[6]),
        (Some(6), None, 10, &[7]),
        (Some(7), None, 10, &[]),
        (None, Some(7), 1, &[6]),
        (None, Some(6), 1, &[2]),
        (None, Some(6), 10, &[1, 2]),
        (None, Some(1), 10, &[]),
    ];
    for (after, before, limit, wanted) in cases {
        let page = threads(&store, &by, "s", user_id(1), after.map(id), before.map(id), limit)
            .await
            .unwrap();
        let wanted: Vec<_> = wanted.iter().map(|n| id(*n)).collect();
        assert_eq!(roots(&page), wanted, "after {after:?} before {before:?} limit {limit}");
    }
    let second = threads(&store, &by, "s", user_id(1), Some(id(1)), None, 1).await.unwrap();
    let second: Vec<_> = second.interceptions.iter().map(|row| row.id.0).collect();
    assert_eq!(second, [id(2), id(3), id(4)]);
    // Not a root, somebody else's, in flight, unknown.
    for cursor in [3, 8, 9, 77] {
        let page = threads(&store, &by, "s", user_id(1), Some(id(cursor)), None, 10).await;
        assert!(page.is_none(), "{cursor}");
    }
    let nothing = threads(&store, &member(1), "s", user_id(1), None, None, 10).await.unwrap();
    assert!(nothing.interceptions.is_empty());
}
