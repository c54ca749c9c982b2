//! Roles of organizations and who holds them: allowed, refused, absent, in conflict.

use std::sync::Arc;

use rbac::{
    Action, Catalog, Resource, RoleOptions, Scope, Sharing, Subject, SubjectBuilder, system,
};
use stdx::ids::{CustomRoleId, OrganizationId};
use store::custom_roles::{
    DeleteCustomRole, Grant, InsertCustomRole, ListCustomRoles, UpdateCustomRole,
};
use store::members::{GetMember, ListMemberships, UpdateMemberRoles};
use store::organizations::{GetOrganization, InsertMember, InsertOrganization, UpdateSharing};
use store::system_roles::ReconcileSystemRoles;
use store::users::{GetAuthorization, UpdateRoles};
use store::{Call, Constraint, Error, Full, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::scene::{NOW, add_user, limited, member, owner, user_id, value};

const READ_GROUPS: &[Grant] = &[(Action::Read, Resource::Group)];

fn org(n: u128) -> OrganizationId {
    OrganizationId::new(Uuid::from_u128(n << 64 | 0x20))
}

/// A deployment with organizations 1 and 2, and users 1 to 3 in the first one.
async fn fresh() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    let owner = owner();
    let by = Call::by(&owner);
    for (n, name) in [(1, "red"), (2, "blue")] {
        let insert = InsertOrganization {
            id: org(n),
            name: name.to_owned(),
            display_name: String::new(),
            is_default: false,
            now: NOW,
        };
        store.run(by, insert).await.unwrap();
    }
    for (n, name) in [(1, "alice"), (2, "bob"), (3, "carol")] {
        add_user(&store, n, name).await;
        let member = InsertMember { organization_id: org(1), user_id: user_id(n), now: NOW };
        store.run(by, member).await.unwrap();
    }
    (db, store)
}

/// User 1 with this role in organization 1.
fn holder(role: &str) -> Arc<Subject> {
    let subject = SubjectBuilder::user(user_id(1)).site_role("member").org_role(org(1), role);
    Arc::new(subject.scope(Scope::all()).compile(&Catalog::default()).unwrap())
}

fn new_role(n: u128, name: &str, grants: &[Grant]) -> InsertCustomRole {
    InsertCustomRole {
        id: CustomRoleId::new(Uuid::from_u128(n)),
        organization_id: org(1),
        name: name.to_owned(),
        display_name: "Keeper".to_owned(),
        grants: grants.to_vec(),
        now: NOW,
    }
}

fn update(name: &str, grants: &[Grant]) -> UpdateCustomRole {
    UpdateCustomRole {
        organization_id: org(1),
        name: name.to_owned(),
        display_name: "Other".to_owned(),
        grants: grants.to_vec(),
        now: NOW,
    }
}

fn delete(name: &str) -> DeleteCustomRole {
    DeleteCustomRole { organization_id: org(1), name: name.to_owned() }
}

macro_rules! refused {
    ($outcome:expr, $pattern:pat $(if $also:expr)?) => {{
        let outcome = $outcome;
        assert!(matches!(outcome, Err($pattern) $(if $also)?), "{outcome:?}");
    }};
}

const REVISION: &str = "SELECT roles_revision FROM organizations WHERE name = 'red'";

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_written_by_who_may_and_grants_what_its_writer_holds() {
    let (_db, store) = fresh().await;
    let (owner, admin) = (owner(), holder("organization-admin"));
    for nobody in [member(1), holder("organization-user-admin"), holder("organization-auditor")] {
        let by = Call::by(&nobody);
        refused!(store.run(by, new_role(1, "keeper", READ_GROUPS)).await, Error::Denied(_));
        refused!(store.run(by, update("keeper", READ_GROUPS)).await, Error::Denied(_));
        refused!(store.run(by, delete("keeper")).await, Error::Denied(_));
    }
    let elsewhere = InsertCustomRole { organization_id: org(2), ..new_role(1, "keeper", &[]) };
    refused!(store.run(Call::by(&admin), elsewhere).await, Error::Denied(_));
    // A credential that may write roles and nothing else hands nothing on.
    let (scope, _) = Scope::from_stored(&["assign_org_role:*".to_owned()]).unwrap();
    let narrow = limited(user_id(900), &["owner", "member"], scope);
    store.run(Call::by(&narrow), new_role(1, "empty", &[])).await.unwrap();
    for grant in [
        new_role(2, "keeper", READ_GROUPS),
        new_role(2, "keeper", &[(Action::Ssh, Resource::Workspace)]),
    ] {
        refused!(store.run(Call::by(&narrow), grant).await, Error::Denied(_));
    }
    refused!(store.run(Call::by(&narrow), update("empty", READ_GROUPS)).await, Error::Denied(_));

    let made = store.run(Call::by(&admin), new_role(3, "keeper", READ_GROUPS)).await.unwrap();
    let listed =
        store.run(Call::by(&owner), ListCustomRoles { organization_id: org(1) }).await.unwrap();
    assert_eq!(listed.iter().map(|role| &*role.name).collect::<Vec<_>>(), ["empty", "keeper"]);
    assert_eq!(listed.last(), made.new.as_ref());
    let (role, unknown) = listed[1].role().unwrap();
    assert_eq!((role.org_permissions().len(), role.member_permissions().len()), (1, 0));
    assert!(unknown.is_empty());
    let other = store.run(Call::by(&owner), ListCustomRoles { organization_id: org(2) }).await;
    assert_eq!(other.unwrap(), []);
    refused!(
        store.run(Call::by(&member(3)), ListCustomRoles { organization_id: org(1) }).await,
        Error::Denied(_)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_roles_differ_and_have_one_form() {
    let (_db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    store.run(by, new_role(1, "keeper", &[])).await.unwrap();
    for taken in ["keeper", "KEEPER", "organization-member"] {
        refused!(
            store.run(by, new_role(2, taken, &[])).await,
            Error::Conflict(Constraint::CustomRolesNameLowerKey)
        );
    }
    for bad in ["", "-a", "a--b", "a b", "a:b", &"x".repeat(65)] {
        refused!(
            store.run(by, new_role(2, bad, &[])).await,
            Error::Check(Constraint::CustomRolesNameShape)
        );
    }
    let same_elsewhere = InsertCustomRole { organization_id: org(2), ..new_role(2, "keeper", &[]) };
    store.run(by, same_elsewhere).await.unwrap();
    let nowhere = InsertCustomRole { organization_id: org(9), ..new_role(3, "keeper", &[]) };
    refused!(store.run(by, nowhere).await, Error::Missing(Constraint::CustomRolesOrganizationFk));
    for absent in ["other", "organization-member", "organization-service-account"] {
        refused!(store.run(by, update(absent, &[])).await, Error::NotFound);
        refused!(store.run(by, delete(absent)).await, Error::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_holds_a_role_that_was_deleted() {
    let (db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    store.run(by, new_role(1, "keeper", READ_GROUPS)).await.unwrap();
    for (organization, user) in [(org(1), 1), (org(1), 2)] {
        let roles = vec!["keeper".to_owned(), "organization-auditor".to_owned()];
        let give = UpdateMemberRoles {
            organization_id: organization,
            user_id: user_id(user),
            roles,
            now: NOW,
        };
        store.run(by, give).await.unwrap();
    }
    db.sql("UPDATE organizations SET default_org_member_roles = '{keeper,organization-workspace-access}'")
        .await
        .unwrap();
    let gone = store.run(by, delete("Keeper")).await.unwrap();
    assert_eq!((gone.old.unwrap().name, gone.new), ("keeper".to_owned(), None));
    for n in [1, 2] {
        let member = GetMember { organization_id: org(1), user_id: user_id(n) };
        assert_eq!(store.run(by, member).await.unwrap().roles, ["organization-auditor"]);
    }
    let defaults = "SELECT default_org_member_roles::text FROM organizations WHERE name = ";
    let red = value(&db, &format!("{defaults} 'red'")).await;
    assert_eq!(red, "{organization-workspace-access}");
    let blue = value(&db, &format!("{defaults} 'blue'")).await;
    assert_eq!(blue, "{keeper,organization-workspace-access}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_a_role_counts() {
    let (db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    let revision = async || -> i64 { value(&db, REVISION).await.parse().unwrap() };
    let mut last = revision().await;
    store.run(by, new_role(1, "keeper", &[])).await.unwrap();
    for step in 0..3 {
        let now = revision().await;
        assert!(now > last, "{step}");
        last = now;
        match step {
            0 => drop(store.run(by, update("keeper", READ_GROUPS)).await.unwrap()),
            1 => drop(store.run(by, delete("keeper")).await.unwrap()),
            _ => {}
        }
    }
    let read = store.run(Call::by(system::authenticator()), GetAuthorization { id: user_id(1) });
    assert_eq!(read.await.unwrap().memberships[0].roles_revision, last);
    let other = "SELECT roles_revision FROM organizations WHERE name = 'blue'";
    assert_eq!(value(&db, other).await, "2", "its own two system roles");
}

#[tokio::test(flavor = "multi_thread")]
async fn system_roles_follow_the_sharing_mode_and_are_written_only_when_they_differ() {
    let (db, store) = fresh().await;
    let (owner, keeper) = (owner(), system::role_reconciler());
    let all = || ReconcileSystemRoles {
        organization_id: None,
        options: RoleOptions::default(),
        now: NOW,
    };
    refused!(store.run(Call::by(&member(1)), all()).await, Error::Denied(_));
    refused!(store.run(Call::by(&holder("organization-admin")), all()).await, Error::Denied(_));
    // Made empty by the trigger.
    let first = store.run(Call::by(keeper), all()).await.unwrap();
    // One more organization than these two comes with the database.
    assert_eq!(first.iter().filter(|one| !one.was_missing).count(), 4, "{first:?}");
    assert_eq!(store.run(Call::by(keeper), all()).await.unwrap(), []);
    let stored = async |name: &str| {
        let sql = format!(
            "SELECT (org_permissions @> '[{{\"negate\": true, \"resource_type\": \"workspace\", \"action\": \"share\"}}]')::text
                 || '/' || (member_permissions @> '[{{\"negate\": true, \"resource_type\": \"workspace\", \"action\": \"share\"}}]')::text
               FROM custom_roles WHERE name = '{name}' AND is_system AND organization_id = '{}'",
            org(1)
        );
        value(&db, &sql).await
    };
    for (sharing, member, service) in [
        (Sharing::None, "true/true", "true/false"),
        (Sharing::ServiceAccounts, "false/true", "false/false"),
        (Sharing::Everyone, "false/false", "false/false"),
    ] {
        let change = store
            .run(Call::by(&owner), UpdateSharing { id: org(1), sharing, now: NOW })
            .await
            .unwrap();
        assert_eq!(change.new.unwrap().shareable_workspace_owners, sharing.as_str());
        let one = ReconcileSystemRoles { organization_id: Some(org(1)), ..all() };
        let fixed = store.run(Call::by(keeper), one).await.unwrap();
        assert!(fixed.iter().all(|one| one.organization_id == org(1)), "{fixed:?}");
        assert!(!fixed.is_empty(), "{sharing:?}");
        assert_eq!(stored("organization-member").await, member, "{sharing:?}");
        assert_eq!(stored("organization-service-account").await, service, "{sharing:?}");
    }
    // Order and repetition do not count as a difference; a name for people does.
    db.sql("UPDATE custom_roles SET org_permissions = org_permissions || org_permissions WHERE is_system")
        .await
        .unwrap();
    assert_eq!(store.run(Call::by(keeper), all()).await.unwrap(), []);
    db.sql("DELETE FROM custom_roles WHERE name = 'organization-member' AND is_system")
        .await
        .unwrap();
    db.sql("UPDATE organizations SET deleted = true WHERE name = 'blue'").await.unwrap();
    let again = store.run(Call::by(keeper), all()).await.unwrap();
    assert!(again.iter().any(|one| one.organization_id == org(1) && one.was_missing), "{again:?}");
    assert!(again.iter().all(|one| one.organization_id != org(2)), "{again:?}");
    refused!(
        store
            .run(
                Call::by(&member(1)),
                UpdateSharing { id: org(1), sharing: Sharing::None, now: NOW }
            )
            .await,
        Error::Denied(_)
    );
    refused!(store.run(Call::by(&owner), GetOrganization { id: org(2) }).await, Error::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_given_by_who_may_give_these() {
    let (_db, store) = fresh().await;
    let owner = owner();
    store.run(Call::by(&owner), new_role(1, "keeper", READ_GROUPS)).await.unwrap();
    let give = |n, roles: &[&str]| UpdateMemberRoles {
        organization_id: org(1),
        user_id: user_id(n),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        now: NOW,
    };
    let user_admin = holder("organization-user-admin");
    let admin = holder("organization-admin");
    for (actor, roles, may) in [
        (&member(1), &[][..], false),
        (&member(1), &["organization-auditor"], false),
        (&user_admin, &["organization-auditor"], false),
        (&user_admin, &["keeper"], false),
        (&user_admin, &["organization-workspace-access"], true),
        (&admin, &["organization-admin", "keeper"], true),
        // To take is the same question as to give.
        (&user_admin, &["keeper"], false),
        (&admin, &["organization-service-account"], false),
        (&admin, &["agents-access"], false),
        (&admin, &[], true),
    ] {
        let outcome = store.run(Call::by(actor), give(2, roles)).await;
        assert_eq!(outcome.is_ok(), may, "{roles:?} {outcome:?}");
        if let Err(error) = outcome {
            assert!(matches!(error, Error::Denied(_)), "{error:?}");
        }
    }
    refused!(store.run(Call::by(&owner), give(7, &[])).await, Error::NotFound);
    let absent = GetMember { organization_id: org(2), user_id: user_id(1) };
    refused!(store.run(Call::by(&owner), absent).await, Error::NotFound);
    let of = store.run(Call::by(&owner), ListMemberships { user_id: user_id(1) }).await.unwrap();
    assert_eq!(of.iter().map(|one| one.organization_id.0).collect::<Vec<_>>(), [org(1)]);
    refused!(
        store.run(Call::by(&member(2)), ListMemberships { user_id: user_id(1) }).await,
        Error::Denied(_)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_always_an_owner_left() {
    let (db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    let set = |n, roles: &[&str]| UpdateRoles {
        id: user_id(n),
        roles: roles.iter().map(|&role| role.to_owned()).collect(),
        now: NOW,
    };
    refused!(store.run(Call::by(&member(1)), set(2, &["owner"])).await, Error::Denied(_));
    refused!(store.run(Call::by(&member(1)), set(2, &[])).await, Error::Denied(_));
    refused!(store.run(by, set(77, &["owner"])).await, Error::NotFound);
    refused!(store.run(by, set(1, &["organization-admin"])).await, Error::Denied(_));
    store.run(by, set(1, &["owner", "auditor"])).await.unwrap();
    refused!(store.run(by, set(1, &["auditor"])).await, Error::Check(Constraint::UsersLastOwner));
    store.run(by, set(1, &["owner"])).await.unwrap();
    for suspended in [true, false] {
        store.run(by, set(2, &["owner"])).await.unwrap();
        let status = if suspended { "suspended" } else { "active" };
        db.sql(&format!("UPDATE users SET status = '{status}' WHERE id = '{}'", user_id(2)))
            .await
            .unwrap();
        let outcome = store.run(by, set(1, &[])).await;
        assert_eq!(outcome.is_err(), suspended, "{outcome:?}");
    }
    // Both at once, from each other: one stays.
    store.run(by, set(1, &["owner"])).await.unwrap();
    for _ in 0..10 {
        let (one, two) = tokio::join!(store.run(by, set(1, &[])), store.run(by, set(2, &[])));
        assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
        let left = "SELECT count(*) FROM users WHERE 'owner' = ANY (rbac_roles)";
        assert_eq!(value(&db, left).await, "1");
        let back = if one.is_ok() { 1 } else { 2 };
        store.run(by, set(back, &["owner"])).await.unwrap();
    }
}
