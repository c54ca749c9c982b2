//! Lists of people, and what changes of an account.

use std::time::Duration;

use rbac::{Catalog, Scope, Sharing, Subject, SubjectBuilder};
use std::sync::Arc;
use stdx::ids::OrganizationId;
use store::members::{CountMembers, DeleteMember, ListMembers};
use store::organizations::{InsertMember, InsertOrganization};
use store::users::{
    CountUsers, DeleteUser, Filter, FindPasscode, GetUser, GetUserByEmail, InsertUser, ListAllIds,
    ListByIds, ListUsers, MarkDormant, Passcode, UpdateChatSpendLimit, UpdateGithubId,
    UpdateLoginType, UpdatePasscode, UpdatePassword, UpdateProfile, UpdateQuietHours, ValidateIds,
    Window,
};
use store::{Call, Constraint, Error, Full, Pk, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::scene::{NOW, add_user, member, new_user, owner, subject, user_id, value};

pub(crate) const ORG: OrganizationId = OrganizationId::new(Uuid::from_u128(0x20));

/// Alice, Bob and Carol, and a user that acts for the deployment.
async fn people() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for (n, name) in [(1, "Carol"), (2, "alice"), (3, "bob"), (4, "machine")] {
        add_user(&store, n, name).await;
    }
    db.sql("UPDATE users SET is_system = true WHERE username = 'machine'").await.unwrap();
    (db, store)
}

pub(crate) async fn organization(store: &Full, members: &[u32]) {
    let owner = owner();
    let by = Call::by(&owner);
    let new = InsertOrganization {
        id: ORG,
        name: "coder".to_owned(),
        display_name: "Coder".to_owned(),
        is_default: false,
        now: NOW,
    };
    store.run(by, new).await.unwrap();
    for n in members {
        let join = InsertMember { organization_id: ORG, user_id: user_id(*n), now: NOW };
        let change = store.run(by, join).await.unwrap();
        assert_eq!(change.new.unwrap().user_id.0, user_id(*n));
    }
}

/// A member of [`ORG`], where members see each other or not.
pub(crate) fn colleague(n: u32, sharing: Sharing) -> Arc<Subject> {
    let colleague = SubjectBuilder::user(user_id(n)).site_role("member").scope(Scope::all());
    Arc::new(colleague.membership(ORG, sharing, false).compile(&Catalog::default()).unwrap())
}

async fn names(store: &Full, by: &Arc<Subject>, filter: Filter, window: Window) -> Vec<String> {
    let page = store.run(Call::by(by), ListUsers { filter, window }).await.unwrap().unwrap();
    page.into_iter().map(|user| user.username).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_listed_by_name_to_those_who_may_read_them() {
    let (db, store) = people().await;
    let owner = owner();
    let all = || (Filter::default(), Window::default());
    assert_eq!(names(&store, &owner, all().0, all().1).await, ["alice", "bob", "Carol"]);
    assert_eq!(names(&store, &member(3), all().0, all().1).await, ["bob"], "only himself");
    let nobody = subject(user_id(1), &[]);
    assert!(names(&store, &nobody, all().0, all().1).await.is_empty());
    let page =
        |after: Option<u32>, offset, limit| Window { after: after.map(user_id), offset, limit };
    for (window, wanted) in [
        (page(None, 1, 1), vec!["bob"]),
        (page(None, 9, 0), vec![]),
        (page(None, -1, -1), vec!["alice", "bob", "Carol"]),
        (page(Some(2), 0, 0), vec!["bob", "Carol"]),
        (page(Some(2), 1, 1), vec!["Carol"]),
        (page(Some(1), 0, 5), vec![]),
        // One who is not listed still says where to go on.
        (page(Some(4), 0, 5), vec![]),
    ] {
        assert_eq!(names(&store, &owner, Filter::default(), window).await, wanted, "{window:?}");
    }
    // A cursor that cannot be read, or is no live user, is no answer at all.
    for (by, after) in [(&member(3), 1), (&owner, 77)] {
        let list = ListUsers { filter: Filter::default(), window: page(Some(after), 0, 0) };
        assert_eq!(store.run(Call::by(by), list).await.unwrap(), None);
    }
    db.sql("UPDATE users SET deleted = true WHERE username = 'bob'").await.unwrap();
    assert_eq!(names(&store, &owner, all().0, all().1).await, ["alice", "Carol"]);
    let count = |filter| CountUsers { filter };
    assert_eq!(store.run(Call::by(&owner), count(Filter::default())).await.unwrap(), 2);
    assert_eq!(store.run(Call::by(&member(2)), count(Filter::default())).await.unwrap(), 1);
    let by_ids = ListByIds { ids: vec![user_id(3), user_id(2), user_id(77)] };
    let found = store.run(Call::by(&owner), by_ids).await.unwrap();
    let found: Vec<&str> = found.iter().map(|user| user.username.as_str()).collect();
    assert_eq!(found, ["alice", "bob"], "history shows deleted ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_of_users_narrow() {
    let (db, store) = people().await;
    db.sql(
        "UPDATE users SET name = '100%_sure', rbac_roles = '{auditor}', status = 'suspended',
            login_type = 'oidc', github_com_user_id = 7 WHERE username = 'bob';
         UPDATE users SET last_seen_at = '2031-01-15 12:00Z', created_at = '2031-01-16 12:00Z'
          WHERE username = 'alice';
         INSERT INTO users (id, email, username, created_at, updated_at, is_service_account, login_type)
         VALUES ('50000000-0000-4000-8000-000000000001', '', 'robot', '2031-01-01Z', '2031-01-01Z', true, 'none');",
    )
    .await
    .unwrap();
    let one = |text: &str| vec![text.to_owned()];
    let part = |text: &str| Some(text.to_owned());
    let none = Filter::default;
    let later = NOW + Duration::from_hours(1);
    let cases: Vec<(Filter, Vec<&str>)> = vec![
        (Filter { search: part("ALI"), ..none() }, vec!["alice"]),
        (Filter { search: part("bob@EXAMPLE"), ..none() }, vec!["bob"]),
        (Filter { search: part("0%_S"), ..none() }, vec!["bob"]),
        (Filter { search: part("%"), ..none() }, vec!["bob"]),
        (Filter { search: part("_"), ..none() }, vec!["bob"]),
        (Filter { search: part("\\"), ..none() }, vec![]),
        (Filter { name: part("SURE"), ..none() }, vec!["bob"]),
        (Filter { name: part("bob"), ..none() }, vec![]),
        (Filter { statuses: one("suspended"), ..none() }, vec!["bob"]),
        (Filter { roles: one("auditor"), ..none() }, vec!["bob"]),
        (Filter { roles: one("member"), ..none() }, vec!["alice", "bob", "Carol", "robot"]),
        (Filter { login_types: one("oidc"), ..none() }, vec!["bob"]),
        (Filter { github_com_user_id: Some(7), ..none() }, vec!["bob"]),
        (Filter { last_seen_after: Some(NOW), ..none() }, vec!["alice"]),
        (Filter { last_seen_before: Some(NOW), ..none() }, vec!["alice", "bob", "Carol", "robot"]),
        (Filter { created_after: Some(later), ..none() }, vec!["alice"]),
        (Filter { created_before: Some(NOW), ..none() }, vec!["bob", "Carol", "robot"]),
        (Filter { is_service_account: Some(true), ..none() }, vec!["robot"]),
        (Filter { is_service_account: Some(false), ..none() }, vec!["alice", "bob", "Carol"]),
        (
            Filter { include_system: true, ..none() },
            vec!["alice", "bob", "Carol", "machine", "robot"],
        ),
        (Filter { search: part("b"), statuses: one("active"), ..none() }, vec![]),
    ];
    for (filter, wanted) in cases {
        let found = names(&store, &owner(), filter.clone(), Window::default()).await;
        assert_eq!(found, wanted, "{filter:?}");
        let count = store.run(Call::by(&owner()), CountUsers { filter }).await.unwrap();
        assert_eq!(count, i64::try_from(wanted.len()).unwrap());
    }
    let broken = Filter { search: part("\0"), ..none() };
    let list = ListUsers { filter: broken, window: Window::default() };
    let refused = store.run(Call::by(&owner()), list).await;
    assert!(matches!(refused, Err(Error::Unfit(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn identifiers_are_read_in_batches_and_checked() {
    let (db, store) = people().await;
    db.sql("UPDATE users SET deleted = true WHERE username = 'bob'").await.unwrap();
    let owner = owner();
    let batch = |after, include_system, limit| ListAllIds { after, include_system, limit };
    let nil = stdx::ids::UserId::nil();
    let first = store.run(Call::by(&owner), batch(nil, false, 2)).await.unwrap();
    assert_eq!(first, [Pk(user_id(1)), Pk(user_id(2))]);
    let rest = store.run(Call::by(&owner), batch(user_id(2), true, 9)).await.unwrap();
    assert_eq!(rest, [Pk(user_id(3)), Pk(user_id(4))], "deleted ones included");
    let ids = vec![user_id(9), user_id(1), user_id(3)];
    let invalid = store.run(Call::by(&owner), ValidateIds { ids }).await.unwrap();
    assert_eq!(invalid, [user_id(9), user_id(3)]);
    let by = member(1);
    let refused = store.run(Call::by(&by), batch(nil, false, 2)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let by_email = |email: &str| GetUserByEmail { email: email.to_owned() };
    let found = store.run(Call::by(&owner), by_email("ALICE@example.com")).await.unwrap();
    assert_eq!(found.username, "alice");
    for absent in ["", "bob@example.com", "nobody@example.com"] {
        let refused = store.run(Call::by(&owner), by_email(absent)).await;
        assert!(matches!(refused, Err(Error::NotFound)), "{absent}: {refused:?}");
    }
    let refused = store.run(Call::by(&by), by_email("alice@example.com")).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_changes_what_is_personal_and_administrators_the_rest() {
    let (_db, store) = people().await;
    let (alice, bob, owner) = (member(2), member(3), owner());
    let profile = |id, username: &str| UpdateProfile {
        id: user_id(id),
        email: format!("{username}@example.org"),
        username: username.to_owned(),
        name: "New".to_owned(),
        avatar_url: "https://example.com/a.png".to_owned(),
        now: NOW + Duration::from_secs(5),
    };
    let change = store.run(Call::by(&alice), profile(2, "alicia")).await.unwrap();
    let (old, new) = (change.old.unwrap(), change.new.unwrap());
    assert_eq!((old.username.as_str(), new.username.as_str()), ("alice", "alicia"));
    assert_eq!((new.name.as_str(), new.email.as_str()), ("New", "alicia@example.org"));
    assert_eq!(new.updated_at, NOW + Duration::from_secs(5));
    let refused = store.run(Call::by(&bob), profile(2, "mallory")).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let taken = store.run(Call::by(&alice), profile(2, "BOB")).await;
    assert!(matches!(taken, Err(Error::Conflict(Constraint::UsersUsernameLowerKey))), "{taken:?}");
    let absent = store.run(Call::by(&owner), profile(77, "ghost")).await;
    assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
    let quiet = |id| UpdateQuietHours {
        id: user_id(id),
        schedule: "CRON_TZ=UTC 0 3 * * *".to_owned(),
        now: NOW,
    };
    let change = store.run(Call::by(&alice), quiet(2)).await.unwrap();
    assert_eq!(change.new.unwrap().quiet_hours_schedule, "CRON_TZ=UTC 0 3 * * *");
    let refused = store.run(Call::by(&bob), quiet(2)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let github = || UpdateGithubId { id: user_id(2), github_com_user_id: Some(7), now: NOW };
    let refused = store.run(Call::by(&alice), github()).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let change = store.run(Call::by(&owner), github()).await.unwrap();
    assert_eq!(change.new.unwrap().github_com_user_id, Some(7));
    let limit = |micros| UpdateChatSpendLimit { id: user_id(2), micros, now: NOW };
    let change = store.run(Call::by(&owner), limit(Some(5))).await.unwrap();
    assert_eq!(change.new.unwrap().chat_spend_limit_micros, Some(5));
    let wrong = store.run(Call::by(&owner), limit(Some(0))).await;
    assert!(
        matches!(wrong, Err(Error::Check(Constraint::UsersChatSpendLimitMicrosCheck))),
        "{wrong:?}"
    );
    let change = store.run(Call::by(&owner), limit(None)).await.unwrap();
    assert_eq!(change.new.unwrap().chat_spend_limit_micros, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_codes_are_set_used_up_and_forgotten() {
    let (db, store) = people().await;
    let (alice, owner) = (member(2), owner());
    let id = user_id(2);
    let passcode = Passcode { hashed: "$argon2id$code".to_owned(), expires_at: NOW };
    let set = || UpdatePasscode { id, passcode: Some(passcode.clone()), now: NOW };
    let refused = store.run(Call::by(&alice), set()).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let authenticator = Call::by(rbac::system::authenticator());
    let change = store.run(authenticator, set()).await.unwrap();
    assert_eq!(change.new.unwrap().one_time_passcode_expires_at, Some(NOW));
    let find = |id| FindPasscode { id };
    assert_eq!(store.run(authenticator, find(id)).await.unwrap(), Some(passcode.clone()));
    assert_eq!(store.run(authenticator, find(user_id(77))).await.unwrap(), None);
    let refused = store.run(Call::by(&alice), find(id)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let password = |id| UpdatePassword { id, hashed_password: "$new".to_owned(), now: NOW };
    let refused = store.run(Call::by(&member(3)), password(id)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let change = store.run(Call::by(&alice), password(id)).await.unwrap();
    let (old, new) = (change.old.unwrap(), change.new.unwrap());
    assert_eq!(
        (old.hashed_password.as_str(), new.hashed_password.as_str()),
        ("$argon2id$hash", "$new")
    );
    assert!(!format!("{new:?}").contains("$new"), "a hash in a log");
    assert_eq!(store.run(authenticator, find(id)).await.unwrap(), None, "the code is used up");
    store.run(authenticator, set()).await.unwrap();
    let login = |id, login_type| UpdateLoginType { id, login_type, now: NOW };
    let refused = store.run(Call::by(&alice), login(id, "oidc")).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let change = store.run(Call::by(&owner), login(id, "oidc")).await.unwrap().new.unwrap();
    assert_eq!((change.user.login_type.as_str(), change.hashed_password.as_str()), ("oidc", ""));
    assert_eq!(store.run(authenticator, find(id)).await.unwrap(), None);
    let wrong = store.run(Call::by(&owner), login(id, "magic")).await;
    assert!(matches!(wrong, Err(Error::Check(Constraint::UsersLoginTypeKnown))), "{wrong:?}");
    let half = db.sql("UPDATE users SET hashed_one_time_passcode = 'x'").await;
    assert!(half.is_err(), "a code without an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_user_frees_the_name_and_keeps_the_last_owner() {
    let (db, store) = people().await;
    let by = owner();
    let delete = |n| DeleteUser { id: user_id(n), now: NOW };
    let refused = store.run(Call::by(&member(2)), delete(2)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let change = store.run(Call::by(&by), delete(2)).await.unwrap();
    assert!(change.new.unwrap().deleted && !change.old.unwrap().deleted);
    assert_eq!(value(&db, "SELECT count(*) FROM user_deleted").await, "1");
    for absent in [2, 4, 77] {
        let refused = store.run(Call::by(&by), delete(absent)).await;
        assert!(matches!(refused, Err(Error::NotFound)), "{absent}: {refused:?}");
    }
    assert!(store.run(Call::by(&by), GetUser { id: user_id(2) }).await.unwrap().deleted);
    add_user(&store, 5, "alice").await;
    let roles = |n, rbac_roles: &[&str]| InsertUser {
        rbac_roles: rbac_roles.iter().map(|role| (*role).to_owned()).collect(),
        ..new_user(n, &format!("user{n}"))
    };
    store.run(Call::by(&by), roles(6, &["owner"])).await.unwrap();
    let last = store.run(Call::by(&by), delete(6)).await;
    assert!(matches!(last, Err(Error::Check(Constraint::UsersLastOwner))), "{last:?}");
    store.run(Call::by(&by), roles(7, &["owner"])).await.unwrap();
    store.run(Call::by(&by), delete(6)).await.unwrap();
    // Who may create users may not thereby make owners.
    let admin = subject(user_id(901), &["user-admin", "member"]);
    let refused = store.run(Call::by(&admin), roles(8, &["owner"])).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    store.run(Call::by(&admin), roles(8, &[])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_are_not_used_become_dormant_some_at_a_time() {
    let (db, store) = people().await;
    db.sql(
        "UPDATE users SET last_seen_at = '2031-01-01Z' WHERE username IN ('alice', 'machine');
         UPDATE users SET last_seen_at = '2031-01-14Z' WHERE username = 'bob';
         UPDATE users SET created_at = '2031-01-01Z' WHERE username = 'Carol';
         INSERT INTO users (id, email, username, created_at, updated_at, is_service_account, login_type, status)
         VALUES ('50000000-0000-4000-8000-000000000001', '', 'robot', '2031-01-01Z', '2031-01-01Z', true, 'none', 'active');",
    )
    .await
    .unwrap();
    let mark =
        |limit| MarkDormant { not_seen_since: NOW - Duration::from_hours(72), now: NOW, limit };
    let refused = store.run(Call::by(&member(1)), mark(9)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let by = owner();
    let mut marked = Vec::new();
    for _ in 0..3 {
        for change in store.run(Call::by(&by), mark(1)).await.unwrap() {
            let (old, new) = (change.old.unwrap(), change.new.unwrap());
            assert_eq!((old.status.as_str(), new.status.as_str()), ("active", "dormant"));
            assert_eq!(new, store.run(Call::by(&by), GetUser { id: old.id.0 }).await.unwrap());
            marked.push(new.username);
        }
    }
    assert_eq!(marked, ["Carol", "alice"]);
    let history = "SELECT count(*) FROM user_status_changes WHERE new_status = 'dormant'";
    assert_eq!(value(&db, history).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_listed_as_far_as_they_may_be_read_and_leave() {
    let (db, store) = people().await;
    organization(&store, &[1, 2]).await;
    let listed = async |by: &Arc<Subject>, filter: Filter, after: Option<u32>| {
        let window = Window { after: after.map(user_id), ..Window::default() };
        let list = ListMembers { organization_id: ORG, filter, window };
        let page = store.run(Call::by(by), list).await.unwrap();
        page.map(|page| page.into_iter().map(|(_, user)| user.username).collect::<Vec<_>>())
    };
    let all = Filter::default;
    let owner = owner();
    assert_eq!(listed(&owner, all(), None).await.unwrap(), ["alice", "Carol"]);
    assert_eq!(listed(&owner, all(), Some(2)).await.unwrap(), ["Carol"]);
    assert_eq!(listed(&owner, all(), Some(3)).await, None, "a cursor that is no member");
    let search = Filter { search: Some("car".to_owned()), ..all() };
    assert_eq!(listed(&owner, search, None).await.unwrap(), ["Carol"]);
    let open = colleague(2, Sharing::Everyone);
    assert_eq!(listed(&open, all(), None).await.unwrap(), ["alice", "Carol"]);
    let outsider = member(3);
    assert_eq!(listed(&outsider, all(), None).await.unwrap(), Vec::<String>::new());
    let count = || CountMembers { organization_id: ORG, filter: all() };
    for (by, wanted) in [(&owner, 2), (&open, 2), (&outsider, 0)] {
        assert_eq!(store.run(Call::by(by), count()).await.unwrap(), wanted);
    }
    let leave = |n| DeleteMember { organization_id: ORG, user_id: user_id(n) };
    let refused = store.run(Call::by(&open), leave(1)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let absent = store.run(Call::by(&owner), leave(3)).await;
    assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
    let change = store.run(Call::by(&owner), leave(1)).await.unwrap();
    assert_eq!((change.old.unwrap().user_id.0, change.new), (user_id(1), None));
    assert_eq!(value(&db, "SELECT count(*) FROM organization_members").await, "1");
}
