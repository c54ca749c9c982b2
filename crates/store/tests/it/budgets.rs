//! Who may spend how much, who says so, and what leaving a group does to it.

use std::sync::Arc;

use rbac::{Catalog, Scope, Sharing, Subject, SubjectBuilder, system};
use stdx::Secret;
use stdx::ids::{GroupId, OrganizationId, ProviderId, UserId};
use store::ai_budgets::{
    AddSpend, DeleteBudgetOverride, DeleteGroupBudget, EffectiveBudget, FindEffectiveBudget,
    FindGroupBudget, GetBudgetOverride, GetSpend, UpsertBudgetOverride, UpsertGroupBudget,
};
use store::ai_prices::{FindPrice, Price, UpsertPrices};
use store::ai_seats::{CountSeats, ListSeats, ListUsersWithSeat, TakeSeat};
use store::own_provider_keys::{DeleteOwnKey, GetOwnKey, ListOwnKeys, UpsertOwnKey};
use store::{Call, Constraint, Error, Full, Store as _};
use testkit::TestDb;
use time::macros::{date, datetime};
use tokio::task::JoinSet;
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::scene::{NOW, add_user, eventually, owner, user_id, value};
use crate::sealed::ring;

const ORGANIZATION: OrganizationId = OrganizationId::new(Uuid::from_u128(0x20));
const OTHER: OrganizationId = OrganizationId::new(Uuid::from_u128(0x21));
const STAFF: GroupId = GroupId::new(Uuid::from_u128(0x30));
const ELSEWHERE: GroupId = GroupId::new(Uuid::from_u128(0x31));
/// The group of everyone.
const EVERYONE: GroupId = GroupId::new(Uuid::from_u128(0x20));

/// Two organizations, with a group and everyone's group each; user 1 is in all of the first and in the other's everyone.
async fn scene() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for n in 1..=3 {
        add_user(&store, n, &format!("user{n}")).await;
    }
    db.sql(&format!(
        "INSERT INTO organizations (id, name, created_at, updated_at)
         VALUES ('{ORGANIZATION}', 'one', now(), now()), ('{OTHER}', 'two', now(), now());
         INSERT INTO groups (id, organization_id, name)
         VALUES ('{STAFF}', '{ORGANIZATION}', 'staff'), ('{ELSEWHERE}', '{OTHER}', 'elsewhere'),
                ('{EVERYONE}', '{ORGANIZATION}', 'Everyone'), ('{OTHER}', '{OTHER}', 'Everyone')
         ON CONFLICT DO NOTHING;
         INSERT INTO organization_members (organization_id, user_id, created_at, updated_at)
         VALUES ('{ORGANIZATION}', '{0}', now(), now()), ('{OTHER}', '{0}', now() - interval '1 day', now()),
                ('{ORGANIZATION}', '{1}', now(), now());
         INSERT INTO group_members (group_id, user_id) VALUES ('{STAFF}', '{0}')",
        user_id(1),
        user_id(2),
    ))
    .await
    .unwrap();
    (db, store)
}

const fn budget(group_id: GroupId, spend_limit_micros: i64) -> UpsertGroupBudget {
    UpsertGroupBudget { group_id, spend_limit_micros, now: NOW }
}

const fn own(user: u32, group_id: GroupId, spend_limit_micros: i64) -> UpsertBudgetOverride {
    UpsertBudgetOverride { user_id: user_id(user), group_id, spend_limit_micros, now: NOW }
}

fn of_org(n: u32, role: Option<&str>) -> Arc<Subject> {
    let builder = SubjectBuilder::user(user_id(n)).site_role("member").membership(
        ORGANIZATION,
        Sharing::Everyone,
        false,
    );
    let builder = match role {
        Some(role) => builder.org_role(ORGANIZATION, role),
        None => builder,
    };
    Arc::new(builder.scope(Scope::all()).compile(&Catalog::default()).unwrap())
}

fn of_site(role: &str) -> Arc<Subject> {
    let builder = SubjectBuilder::user(user_id(901)).site_role("member").site_role(role);
    Arc::new(builder.scope(Scope::all()).compile(&Catalog::default()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_override_wins_then_the_greatest_budget_then_who_was_joined_first() {
    let (_db, store) = scene().await;
    let owner = owner();
    let by = Call::by(&owner);
    let effective = async || {
        let found = store.run(by, FindEffectiveBudget { user_id: user_id(1) }).await.unwrap();
        found.map(|EffectiveBudget { group_id, spend_limit_micros, is_override }| {
            (group_id, spend_limit_micros, is_override)
        })
    };
    assert_eq!(effective().await, None);
    store.run(by, budget(STAFF, 10)).await.unwrap();
    store.run(by, budget(ELSEWHERE, 99)).await.unwrap();
    assert_eq!(effective().await, Some((STAFF, 10, false)), "not a member of the other group");
    let two = GroupId::new(OTHER.uuid());
    store.run(by, budget(two, 10)).await.unwrap();
    assert_eq!(effective().await, Some((two, 10, false)), "joined a day earlier");
    let change = store.run(by, budget(EVERYONE, 20)).await.unwrap();
    assert!(change.old.is_none() && change.new.unwrap().spend_limit_micros == 20);
    assert_eq!(effective().await, Some((EVERYONE, 20, false)));
    store.run(by, own(1, STAFF, 0)).await.unwrap();
    assert_eq!(effective().await, Some((STAFF, 0, true)), "nothing is allowed");
    let change = store.run(by, own(1, EVERYONE, 7)).await.unwrap();
    assert_eq!(change.old.unwrap().group_id.0, STAFF);
    assert_eq!(effective().await, Some((EVERYONE, 7, true)));

    let change = store.run(by, budget(STAFF, 11)).await.unwrap();
    assert_eq!(change.old.unwrap().spend_limit_micros, 10);
    let found = store.run(by, FindGroupBudget { group_id: STAFF }).await.unwrap();
    assert_eq!(found.unwrap().spend_limit_micros, 11);
    store.run(by, DeleteGroupBudget { group_id: STAFF }).await.unwrap();
    let gone = store.run(by, DeleteGroupBudget { group_id: STAFF }).await;
    assert!(matches!(gone, Err(Error::NotFound)), "{gone:?}");
    assert!(store.run(by, FindGroupBudget { group_id: STAFF }).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_groups_and_members_that_break_a_rule_are_named() {
    let (_db, store) = scene().await;
    let owner = owner();
    let by = Call::by(&owner);
    let unknown = GroupId::new(Uuid::from_u128(0xdead));
    let zero = store.run(by, budget(STAFF, 0)).await;
    assert!(
        matches!(zero, Err(Error::Check(Constraint::GroupAiBudgetsSpendLimitMicrosCheck))),
        "{zero:?}"
    );
    let negative = store.run(by, own(1, STAFF, -1)).await;
    let limit = Constraint::UserAiBudgetOverridesSpendLimitMicrosCheck;
    assert!(matches!(negative, Err(Error::Check(found)) if found == limit), "{negative:?}");
    for (user, group) in [(2, STAFF), (1, ELSEWHERE), (3, EVERYONE)] {
        let stranger = store.run(by, own(user, group, 1)).await;
        let rule = Constraint::UserAiBudgetOverridesMustBeGroupMember;
        assert!(matches!(stranger, Err(Error::Check(found)) if found == rule), "{stranger:?}");
    }
    let absent = store.run(by, budget(unknown, 1)).await;
    assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
    let absent = store.run(by, own(1, unknown, 1)).await;
    assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
    let absent = store.run(by, GetBudgetOverride { user_id: user_id(2) }).await;
    assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
}

/// May read the override of user 1, may change it.
#[tokio::test(flavor = "multi_thread")]
async fn owners_and_user_admins_set_overrides_and_organization_admins_see_them() {
    let (_db, store) = scene().await;
    store.run(Call::by(&owner()), own(1, STAFF, 5)).await.unwrap();
    for (who, subject, reads, writes) in [
        ("owner", of_site("owner"), true, true),
        ("user admin", of_site("user-admin"), true, true),
        ("auditor", of_site("auditor"), true, false),
        ("organization admin", of_org(3, Some("organization-admin")), true, false),
        ("organization user admin", of_org(3, Some("organization-user-admin")), true, false),
        ("the user", of_org(1, None), true, false),
        ("another member", of_org(2, None), false, false),
    ] {
        let by = Call::by(&subject);
        let read = store.run(by, GetBudgetOverride { user_id: user_id(1) }).await;
        assert_eq!(read.is_ok(), reads, "{who} reads: {read:?}");
        let written = store.run(by, own(1, STAFF, 6)).await;
        assert_eq!(written.is_ok(), writes, "{who} writes: {written:?}");
        let deleted = store.run(by, DeleteBudgetOverride { user_id: user_id(1) }).await;
        assert_eq!(deleted.is_ok(), writes, "{who} deletes: {deleted:?}");
        if writes {
            store.run(by, own(1, STAFF, 6)).await.unwrap();
        } else {
            assert!(matches!(written, Err(Error::Denied(_))), "{who}: {written:?}");
        }
    }
    // Whoever is in a group may know its budget.
    let group = FindGroupBudget { group_id: EVERYONE };
    store.run(Call::by(&of_org(2, None)), group).await.unwrap();
    let stranger =
        store.run(Call::by(&of_org(2, None)), FindGroupBudget { group_id: ELSEWHERE }).await;
    assert!(matches!(stranger, Err(Error::Denied(_))), "{stranger:?}");
}

const OVERRIDES: &str = "SELECT count(*) FROM user_ai_budget_overrides";

#[tokio::test(flavor = "multi_thread")]
async fn leaving_a_group_in_any_way_ends_the_override_that_is_attributed_to_it() {
    for (way, group, leave) in [
        ("the group", STAFF, format!("DELETE FROM group_members WHERE group_id = '{STAFF}'")),
        (
            "another group",
            EVERYONE,
            format!("DELETE FROM group_members WHERE group_id = '{STAFF}'"),
        ),
        (
            "the organization, of a group",
            STAFF,
            format!("DELETE FROM organization_members WHERE organization_id = '{ORGANIZATION}'"),
        ),
        (
            "the organization, of everyone",
            EVERYONE,
            format!("DELETE FROM organization_members WHERE organization_id = '{ORGANIZATION}'"),
        ),
        ("the group is deleted", STAFF, format!("DELETE FROM groups WHERE id = '{STAFF}'")),
        (
            "the user is deleted",
            EVERYONE,
            format!("UPDATE users SET deleted = true WHERE id = '{}'", user_id(1)),
        ),
        (
            "the organization is marked as deleted",
            EVERYONE,
            format!(
                "DELETE FROM groups WHERE id = '{STAFF}';
                 DELETE FROM organization_members WHERE user_id = '{}';
                 UPDATE organizations SET deleted = true WHERE id = '{ORGANIZATION}'",
                user_id(2)
            ),
        ),
        (
            "the organization is removed",
            EVERYONE,
            format!("DELETE FROM organizations WHERE id = '{ORGANIZATION}'"),
        ),
    ] {
        let (db, store) = scene().await;
        store.run(Call::by(&owner()), budget(EVERYONE, 9)).await.unwrap();
        store.run(Call::by(&owner()), own(1, group, 5)).await.unwrap();
        db.sql(&leave).await.unwrap_or_else(|error| panic!("{way}: {error:#}"));
        let wanted = if way == "another group" { "1" } else { "0" };
        assert_eq!(value(&db, OVERRIDES).await, wanted, "{way}");
    }
}

const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()";

/// Does one thing, and another before the first is committed. Yields how the second ended, which waits for the first.
async fn race(db: &TestDb, one: &str, other: &str) -> Result<(), tokio_postgres::Error> {
    let mut connections = JoinSet::new();
    let mut connect = async || {
        let (client, connection) = tokio_postgres::connect(db.url().expose(), NoTls).await.unwrap();
        connections.spawn(connection);
        client
    };
    let (first, second) = (connect().await, connect().await);
    first.batch_execute(&format!("BEGIN; {one}")).await.unwrap();
    let commit = async {
        eventually(db, WAITING, "1").await;
        first.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(second.batch_execute(other), commit).0
}

/// In both orders: who comes second waits for the first, and no override is left of who is no member.
#[tokio::test(flavor = "multi_thread")]
async fn an_override_and_a_leave_at_the_same_time_leave_no_override_of_a_stranger() {
    let user = user_id(1);
    for (group, table, column) in [
        (STAFF, "group_members", "group_id"),
        (EVERYONE, "organization_members", "organization_id"),
    ] {
        let set = format!(
            "INSERT INTO user_ai_budget_overrides VALUES ('{user}', '{group}', 5, now(), now())"
        );
        let leave =
            format!("DELETE FROM {table} WHERE user_id = '{user}' AND {column} = '{group}'");

        let (db, _store) = scene().await;
        race(&db, &set, &leave).await.unwrap();
        assert_eq!(value(&db, OVERRIDES).await, "0", "set, then left: {table}");

        let (db, _store) = scene().await;
        let refused = race(&db, &leave, &set).await.unwrap_err();
        let constraint = refused.as_db_error().and_then(|error| error.constraint());
        assert_eq!(constraint, Some("user_ai_budget_overrides_must_be_group_member"));
        assert_eq!(value(&db, OVERRIDES).await, "0", "left, then set: {table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spending_adds_up_by_day_and_nothing_is_lost_when_many_add_at_once() {
    let (_db, store) = scene().await;
    let gateway = Call::by(system::gateway());
    let add = |day, micros| AddSpend { user_id: user_id(1), group_id: STAFF, day, micros };
    let mut adders = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        let add = add(date!(2031 - 01 - 15), 3);
        adders.spawn(async move { store.run(Call::by(system::gateway()), add).await.unwrap() });
    }
    while adders.join_next().await.transpose().unwrap().is_some() {}
    assert_eq!(store.run(gateway, add(date!(2030 - 12 - 31), 100)).await.unwrap(), 100);
    let spent = async |since| {
        let get = GetSpend { user_id: user_id(1), group_id: STAFF, since };
        store.run(Call::by(&owner()), get).await.unwrap()
    };
    assert_eq!(spent(date!(2031 - 01 - 01)).await, 60);
    assert_eq!(spent(date!(2030 - 12 - 01)).await, 160);
    assert_eq!(spent(date!(2031 - 02 - 01)).await, 0);
    let negative = store.run(gateway, add(date!(2031 - 03 - 01), -1)).await;
    assert!(
        matches!(negative, Err(Error::Check(Constraint::AiUserDailySpendSpendMicrosCheck))),
        "{negative:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_valid_until_the_next_one_begins() {
    let (_db, store) = scene().await;
    let by = Call::by(system::gateway());
    let price = |valid_from, input| Price {
        provider: "anthropic".to_owned(),
        model: "m".to_owned(),
        valid_from,
        input_price: Some(input),
        output_price: Some(15),
        cache_read_price: None,
        cache_write_price: Some(0),
        created_at: NOW,
        updated_at: NOW,
    };
    let (old, new) = (datetime!(2030-01-01 00:00 UTC), datetime!(2031-01-01 00:00 UTC));
    let prices = vec![price(old, 3), price(new, 2)];
    assert_eq!(store.run(by, UpsertPrices(prices)).await.unwrap(), 2);
    store.run(by, UpsertPrices(vec![price(new, 1)])).await.unwrap();
    let find = async |at| {
        let find = FindPrice { provider: "anthropic".to_owned(), model: "m".to_owned(), at };
        store.run(by, find).await.unwrap().map(|price| price.input_price)
    };
    assert_eq!(find(datetime!(2029-12-31 23:59 UTC)).await, None);
    assert_eq!(find(old).await, Some(Some(3)));
    assert_eq!(find(datetime!(2030-12-31 23:59 UTC)).await, Some(Some(3)));
    assert_eq!(find(NOW).await, Some(Some(1)));
    let below = store.run(by, UpsertPrices(vec![price(old, -1)])).await;
    assert!(
        matches!(below, Err(Error::Check(Constraint::AiModelPricesInputPriceCheck))),
        "{below:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "no part of the deployment counts seats yet")]
async fn a_seat_is_taken_once_and_held_by_active_people() {
    let (db, store) = scene().await;
    let take = |n, now| TakeSeat {
        user_id: user_id(n),
        event_type: "aibridge",
        event_description: "asked".to_owned(),
        now,
    };
    let gateway = Call::by(system::gateway());
    assert!(store.run(gateway, take(1, NOW)).await.unwrap().old.is_none());
    let later = NOW + std::time::Duration::from_hours(1);
    let again = store.run(gateway, take(1, later)).await.unwrap();
    let seat = again.new.unwrap();
    assert!(again.old.is_some() && seat.first_used_at == NOW && seat.last_used_at == later);
    store.run(gateway, take(2, NOW)).await.unwrap();
    let by = Call::by(system::restricted());
    assert_eq!(store.run(by, CountSeats).await.unwrap(), 2);
    db.sql(&format!("UPDATE users SET status = 'suspended' WHERE id = '{}'", user_id(2)))
        .await
        .unwrap();
    assert_eq!(store.run(by, CountSeats).await.unwrap(), 1);
    let list = |after| ListSeats { after, limit: 10 };
    assert_eq!(store.run(by, list(None)).await.unwrap()[0].user_id.0, user_id(1));
    assert!(store.run(by, list(Some(user_id(1)))).await.unwrap().is_empty());
    let ids: Vec<UserId> = (1..=3).map(user_id).collect();
    assert!(store.run(by, ListUsersWithSeat { ids: ids.clone() }).await.unwrap().is_empty());
    db.sql(&format!(
        "INSERT INTO aibridge_interceptions (id, initiator_id, provider, model, started_at, ended_at)
         VALUES (gen_random_uuid(), '{}', 'p', 'm', now(), now())",
        user_id(3)
    ))
    .await
    .unwrap();
    assert_eq!(store.run(by, ListUsersWithSeat { ids }).await.unwrap(), [user_id(3).uuid()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_ones_own_is_sealed_replaced_and_seen_by_its_owner_alone() {
    let (db, _) = scene().await;
    let store = db.store_with(ring(&[1])).await.unwrap();
    let provider_id = ProviderId::new(Uuid::from_u128(0x40));
    db.sql(&format!(
        "INSERT INTO ai_providers (id, type, name, base_url, created_at, updated_at)
         VALUES ('{provider_id}', 'openai', 'openai', 'https://example.com', now(), now())"
    ))
    .await
    .unwrap();
    let user = of_org(1, None);
    let by = Call::by(&user);
    let upsert = |n, key: &str| UpsertOwnKey {
        id: Uuid::from_u128(n),
        user_id: user_id(1),
        provider_id,
        api_key: Secret::from(key),
        now: NOW,
    };
    let (get, list) =
        (|| GetOwnKey { user_id: user_id(1), provider_id }, || ListOwnKeys { user_id: user_id(1) });
    let made = store.run(by, upsert(1, "sk-first")).await.unwrap();
    assert!(made.old.is_none());
    let replaced = store.run(by, upsert(2, "sk-second")).await.unwrap();
    let (old, new) = (replaced.old.unwrap(), replaced.new.unwrap());
    assert_eq!((old.id, new.id), (Uuid::from_u128(1), Uuid::from_u128(1)));
    assert_eq!(
        (old.api_key.expose().as_str(), new.api_key.expose().as_str()),
        ("sk-first", "sk-second")
    );
    assert_eq!(store.run(by, get()).await.unwrap().api_key.expose(), "sk-second");
    assert_eq!(store.run(by, list()).await.unwrap().len(), 1);
    let stored = value(&db, "SELECT api_key FROM user_ai_provider_keys").await;
    assert!(stored.starts_with("v1:"), "{stored}");
    let stranger = of_org(2, None);
    for refused in [
        store.run(Call::by(&stranger), get()).await.map(drop),
        store.run(Call::by(&stranger), list()).await.map(drop),
        store.run(Call::by(&stranger), upsert(3, "sk")).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    }
    // What cannot be opened fails what needs it, is listed with the reason, and can be removed.
    db.sql("UPDATE user_ai_provider_keys SET api_key = 'v1:broken'").await.unwrap();
    assert!(matches!(store.run(by, get()).await, Err(Error::Keyring { .. })));
    let listed = store.run(by, list()).await.unwrap();
    assert!(listed[0].fault.is_some() && listed[0].api_key.expose().is_empty());
    let delete = || DeleteOwnKey { user_id: user_id(1), provider_id };
    let deleted = store.run(by, delete()).await.unwrap();
    assert_eq!(deleted.old.unwrap().id, Uuid::from_u128(1));
    let gone = store.run(by, delete()).await;
    assert!(matches!(gone, Err(Error::NotFound)), "{gone:?}");
}
