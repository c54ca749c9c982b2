//! The condition selects exactly the rows that `authorize` allows: on random subjects and rows, by PostgreSQL.

use std::collections::BTreeSet;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query as Statement, QueryFragment, QueryId};
use diesel::sql_types::Text;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use rbac::{
    Acl, Action, ActionSet, AllowEntry, AllowList, Catalog, Object, Permission, PermissionLists,
    Resource, Role, RoleName, Scope, Subject, SubjectBuilder, SubjectKind,
};
use serde_json::{Map, Value, json};
use stdx::ids::{GroupId, OrganizationId, UserId};
use testkit::TestDb;
use uuid::Uuid;

use super::shared::AclShape;
use super::{Rows, Terms};

diesel::table! {
    things (id) {
        id -> Uuid,
        org -> Nullable<Uuid>,
        org_or_nil -> Uuid,
        owner -> Nullable<Uuid>,
        user_acl -> Jsonb,
        group_acl -> Jsonb,
        users_of_chat -> Jsonb,
        groups_of_chat -> Jsonb,
    }
}

const CREATE: &str = "CREATE TABLE things (
    id uuid PRIMARY KEY, org uuid, org_or_nil uuid NOT NULL, owner uuid,
    user_acl jsonb NOT NULL, group_acl jsonb NOT NULL,
    users_of_chat jsonb NOT NULL, groups_of_chat jsonb NOT NULL);
    CREATE INDEX by_org ON things (org)";

const RESOURCES: &[Resource] = &[Resource::Workspace, Resource::Template];
const ACTIONS: &[Action] = &[Action::Read, Action::Update];
const ME: UserId = UserId::new(Uuid::from_u128(1));
const OWNERS: &[UserId] =
    &[ME, ME, ME, UserId::new(Uuid::from_u128(2)), UserId::new(Uuid::from_u128(0))];
const ORGS: &[OrganizationId] = &[
    OrganizationId::new(Uuid::from_u128(10)),
    OrganizationId::new(Uuid::from_u128(11)),
    OrganizationId::new(Uuid::from_u128(12)),
];
/// The last two are the groups of everyone in the first two organizations.
const GROUPS: &[GroupId] = &[
    GroupId::new(Uuid::from_u128(20)),
    GroupId::new(Uuid::from_u128(21)),
    GroupId::new(Uuid::from_u128(10)),
    GroupId::new(Uuid::from_u128(11)),
];
const ROWS: usize = 150;
const CASES: u32 = 300;

/// Everything that a table may have.
const FULL: Terms<things::table> = Terms {
    id: Some(|ids| Box::new(things::id.eq_any(ids))),
    org: Some(|orgs| Box::new(things::org.assume_not_null().eq_any(orgs))),
    outside: Some(|| Box::new(things::org.is_null())),
    owner: Some(|user| Box::new(things::owner.assume_not_null().eq(user))),
    acl: Some(|with| with.by(AclShape::Actions, things::user_acl, things::group_acl, things::org)),
};

/// A kind of table, and what its rows are to rules.
type Kind = (&'static str, Terms<things::table>, for<'a> fn(&'a Row) -> Object<'a>);

const KINDS: [Kind; 7] = [
    ("all columns", FULL, Row::object),
    (
        "nested lists",
        Terms {
            acl: Some(|with| {
                let (users, groups) = (things::users_of_chat, things::groups_of_chat);
                with.by(AclShape::Permissions, users, groups, things::org)
            }),
            ..FULL
        },
        Row::object,
    ),
    ("no lists", Terms { acl: None, ..FULL }, |row| {
        Row::bare().id(row.id).in_org_opt(row.org).owner(row.owner())
    }),
    (
        "nil for no organization",
        Terms {
            org: Some(|orgs| Box::new(things::org_or_nil.eq_any(orgs))),
            outside: Some(|| Box::new(things::org_or_nil.eq(Uuid::nil()))),
            acl: None,
            ..FULL
        },
        |row| Row::bare().id(row.id).in_org_opt(row.org).owner(row.owner()),
    ),
    ("no organization", Terms { org: None, outside: None, acl: None, ..FULL }, |row| {
        Row::bare().id(row.id).owner(row.owner())
    }),
    ("no owner", Terms { owner: None, ..FULL }, |row| {
        Row::bare().id(row.id).in_org_opt(row.org).acl(&row.acl)
    }),
    ("no id", Terms { id: None, ..FULL }, |row| {
        Row::bare().in_org_opt(row.org).owner(row.owner()).acl(&row.acl)
    }),
];

#[derive(Debug)]
struct Row {
    id: Uuid,
    org: Option<OrganizationId>,
    owner: Option<UserId>,
    users: Vec<(UserId, Vec<&'static str>)>,
    groups: Vec<(GroupId, Vec<&'static str>)>,
    acl: Acl,
}

impl Row {
    const fn bare() -> Object<'static> {
        Object::new(Resource::Workspace)
    }

    fn owner(&self) -> UserId {
        self.owner.unwrap_or_else(|| UserId::new(Uuid::nil()))
    }

    fn object(&self) -> Object<'_> {
        Self::bare().id(self.id).in_org_opt(self.org).owner(self.owner()).acl(&self.acl)
    }
}

fn set(actions: &[&str]) -> ActionSet {
    let known = actions.iter().map(|action| match *action {
        "*" => ActionSet::ALL,
        action => action.parse::<Action>().unwrap().into(),
    });
    known.fold(ActionSet::EMPTY, ActionSet::union)
}

fn row(id: u128) -> impl Strategy<Value = Row> {
    let actions = || subsequence(&["read", "update", "share", "*"][..], 0..=2);
    (
        prop::option::weighted(0.8, select(ORGS)),
        prop::option::weighted(0.8, select(OWNERS)),
        prop::collection::btree_map(select(&OWNERS[2..4]), actions(), 0..2),
        prop::collection::btree_map(select(GROUPS), actions(), 0..3),
    )
        .prop_map(move |(org, owner, users, groups)| {
            let acl = Acl::new(
                users.iter().map(|(user, actions)| (*user, set(actions))),
                groups.iter().map(|(group, actions)| (*group, set(actions))),
            );
            let (users, groups) = (users.into_iter().collect(), groups.into_iter().collect());
            Row { id: Uuid::from_u128(100 + id), org, owner, users, groups, acl }
        })
}

fn permissions(most: usize) -> impl Strategy<Value = Vec<Permission>> {
    let permission = (
        prop::bool::weighted(0.2),
        prop::option::weighted(0.8, select(RESOURCES)),
        prop::option::weighted(0.8, select(ACTIONS)),
    )
        .prop_map(|(negate, resource, action)| Permission { negate, resource, action });
    prop::collection::vec(permission, 0..=most)
}

/// Lists of a role or scope: of the site, user, organization and member levels.
type Levels = (Option<OrganizationId>, [Vec<Permission>; 4]);

fn levels() -> impl Strategy<Value = Levels> {
    let org = prop::option::weighted(0.7, select(ORGS));
    let site = prop_oneof![6 => Just(vec![]), 1 => permissions(1)];
    (org, site, permissions(2), permissions(2), permissions(3)).prop_map(
        |(org, site, user, in_org, member)| match org {
            Some(_) => (org, [site, user, in_org, member]),
            None => (org, [site, user, vec![], vec![]]),
        },
    )
}

fn lists(levels: &[Vec<Permission>; 4]) -> PermissionLists<'_> {
    let [site, user, org, member] = levels;
    PermissionLists { site, user, org, member }
}

fn scope() -> impl Strategy<Value = Scope> {
    let internal = prop::collection::vec(levels(), 1..4).prop_map(|all| {
        let scopes = all
            .iter()
            .map(|(org, levels)| Scope::internal("narrow", *org, &lists(levels)).unwrap());
        scopes.reduce(Scope::union).unwrap()
    });
    prop_oneof![
        3 => Just(Scope::all()),
        1 => Just(Scope::parse_names(&["workspace:read", "template:*"]).unwrap()),
        2 => internal,
    ]
}

fn allow_list() -> impl Strategy<Value = AllowList> {
    let id = (0..ROWS as u128).prop_map(|id| Uuid::from_u128(100 + id));
    let entry = (prop::option::of(select(RESOURCES)), prop::option::weighted(0.9, id))
        .prop_map(|(resource, id)| AllowEntry { resource, id });
    prop_oneof![
        2 => Just(AllowList::everything()),
        1 => prop::collection::vec(entry, 0..60).prop_map(AllowList::new),
    ]
}

fn subject() -> impl Strategy<Value = Subject> {
    let built_in = subsequence(
        &[
            "organization-admin",
            "organization-auditor",
            "organization-workspace-access",
            "organization-workspace-creation-ban",
        ][..],
        0..2,
    );
    (
        prop::option::weighted(0.3, select(&["owner", "auditor", "template-admin", "member"][..])),
        built_in,
        prop::collection::vec(levels(), 0..5),
        subsequence(&GROUPS[..3], 0..3),
        scope(),
        allow_list(),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(site, org, roles, groups, scope, allow, is_part)| {
            // Parts of the deployment have the nil id, which owns nothing, whatever rows say.
            let (kind, id) = if is_part {
                (SubjectKind::Notifier, UserId::nil())
            } else {
                (SubjectKind::User, ME)
            };
            let mut builder = SubjectBuilder::new(kind, id).no_roles();
            builder = site.iter().fold(builder, |builder, name| builder.site_role(name));
            builder = org.iter().fold(builder, |builder, name| builder.org_role(ORGS[0], name));
            for (position, (org, levels)) in roles.iter().enumerate() {
                let name = format!("custom-{position}");
                let name = org.map_or_else(
                    || RoleName::site(name.clone()),
                    |org| RoleName::in_org(name.clone(), org),
                );
                builder = builder.role(Role::custom(name, "", &lists(levels)).unwrap());
            }
            builder
                .groups(groups)
                .scope(scope.narrowed_to(&allow))
                .compile(&Catalog::default())
                .unwrap()
        })
}

fn stored<K: ToString>(
    list: &[(K, Vec<&'static str>)],
    entry: impl Fn(&[&'static str]) -> Value,
) -> Value {
    let entries = list.iter().map(|(key, actions)| (key.to_string(), entry(actions)));
    Value::Object(entries.collect::<Map<_, _>>())
}

async fn insert(conn: &mut AsyncPgConnection, rows: &[Row]) {
    let values: Vec<_> = rows
        .iter()
        .map(|row| {
            let actions = |actions: &[&'static str]| json!(actions);
            let nested = |actions: &[&'static str]| json!({ "permissions": actions });
            (
                things::id.eq(row.id),
                things::org.eq(row.org.map(OrganizationId::uuid)),
                things::org_or_nil.eq(row.org.map_or(Uuid::nil(), OrganizationId::uuid)),
                things::owner.eq(row.owner.map(UserId::uuid)),
                things::user_acl.eq(stored(&row.users, actions)),
                things::group_acl.eq(stored(&row.groups, actions)),
                things::users_of_chat.eq(stored(&row.users, nested)),
                things::groups_of_chat.eq(stored(&row.groups, nested)),
            )
        })
        .collect();
    diesel::insert_into(things::table).values(&values).execute(conn).await.unwrap();
}

async fn selected(
    conn: &mut AsyncPgConnection,
    rows: &Rows,
    terms: &Terms<things::table>,
) -> BTreeSet<Uuid> {
    let mut query = things::table.select(things::id).into_boxed();
    if let Some(condition) = rows.condition(terms) {
        query = query.filter(condition);
    }
    query.load::<Uuid>(conn).await.unwrap().into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_condition_selects_what_authorize_allows() {
    let db = TestDb::empty().await;
    db.sql(CREATE).await.unwrap();
    let mut conn = AsyncPgConnection::establish(db.url().expose()).await.unwrap();
    let config = Config { failure_persistence: None, ..Config::with_cases(CASES) };
    let mut runner = TestRunner::new(config);
    let rows: Vec<Row> =
        (0..ROWS as u128).map(|id| row(id).new_tree(&mut runner).unwrap().current()).collect();
    insert(&mut conn, &rows).await;

    let conn = tokio::sync::Mutex::new(conn);
    let telling = std::sync::atomic::AtomicU32::new(0);
    let runtime = tokio::runtime::Handle::current();
    let outcome = runner.run(&(subject(), select(ACTIONS)), |(subject, action)| {
        for (kind, terms, object) in &KINDS {
            let allowed: BTreeSet<Uuid> = rows
                .iter()
                .filter(|row| subject.authorize(action, &object(row)).is_ok())
                .map(|row| row.id)
                .collect();
            let filter = Rows::new(Some(subject.row_filter(action, Resource::Workspace)));
            let found = tokio::task::block_in_place(|| {
                runtime.block_on(async { selected(&mut *conn.lock().await, &filter, terms).await })
            });
            prop_assert_eq!(&found, &allowed, "{}: {:?}", kind, filter.0);
            if !allowed.is_empty() && allowed.len() < ROWS {
                telling.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        Ok(())
    });
    outcome.unwrap();
    let telling = telling.into_inner();
    assert!(telling > CASES, "only {telling} questions had an answer between none and all");
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    line: String,
}

/// One subject of every term, so that every parameter is there.
fn everywhere() -> Subject {
    let member = [Permission::allow(Resource::Workspace, Action::Read)];
    let owned = PermissionLists { member: &member, user: &member, ..PermissionLists::default() };
    let role = |org| Role::custom(RoleName::in_org("own".to_owned(), org), "", &owned).unwrap();
    SubjectBuilder::user(ME)
        .org_role(ORGS[0], "organization-admin")
        .role(role(ORGS[1]))
        .groups(GROUPS[..2].iter().copied())
        .scope(Scope::all().narrowed_to(&AllowList::new((0..3).map(|id| AllowEntry {
            resource: Some(Resource::Workspace),
            id: Some(Uuid::from_u128(100 + id)),
        }))))
        .compile(&Catalog::default())
        .unwrap()
}

#[test]
fn a_condition_is_one_text_whatever_the_ids() {
    let rows = Rows::new(Some(everywhere().row_filter(Action::Read, Resource::Workspace)));
    let query = things::table.select(things::id).filter(rows.condition(&FULL).unwrap());
    let shown = diesel::debug_query::<Pg, _>(&query).to_string();
    let (text, _) = shown.split_once(" -- binds: ").unwrap();
    assert_eq!(
        text,
        r#"SELECT "things"."id" FROM "things" WHERE (("things"."id" = ANY($1)) AND "#.to_owned()
            + r#"(("things"."org" = ANY($2)) OR (("things"."owner" = $3) AND ("things"."org" = ANY($4))) "#
            + r#"OR (("things"."owner" = $5) AND ("things"."org" IS NULL)) "#
            + r#"OR (("things"."org" = ANY($6)) AND (("things"."user_acl" -> $7) ?| $8 "#
            + r#"OR ("things"."group_acl" -> ("things"."org")::text) ?| $9 "#
            + r#"OR ("things"."group_acl" ?| $10 AND EXISTS (SELECT FROM unnest($11) AS mine (id) "#
            + r#"WHERE ("things"."group_acl" -> mine.id) ?| $12))))))"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_bound_as_uuids_so_that_indexes_serve_them() {
    let db = TestDb::empty().await;
    db.sql(CREATE).await.unwrap();
    let mut conn = AsyncPgConnection::establish(db.url().expose()).await.unwrap();
    diesel::sql_query("SET enable_seqscan = off").execute(&mut conn).await.unwrap();
    let admin = SubjectBuilder::user(ME)
        .org_role(ORGS[0], "organization-admin")
        .org_role(ORGS[1], "organization-admin")
        .scope(Scope::all())
        .compile(&Catalog::default())
        .unwrap();
    let rows = Rows::new(Some(admin.row_filter(Action::Read, Resource::Workspace)));
    let no_lists = Terms { acl: None, ..FULL };
    let query = things::table.select(things::id).filter(rows.condition(&no_lists).unwrap());
    let plan: Vec<Line> = Explain(query).load(&mut conn).await.unwrap();
    let plan: Vec<String> = plan.into_iter().map(|line| line.line).collect();
    let plan = plan.join("\n");
    let wanted = format!("Index Cond: (org = ANY ('{{{},{}}}'::uuid[]))", ORGS[0], ORGS[1]);
    assert!(plan.contains("by_org") && plan.contains(&wanted), "{plan}");
}

/// A query that is planned and not run.
#[derive(QueryId)]
struct Explain<Q>(Q);

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Explain<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> diesel::QueryResult<()> {
        out.push_sql("EXPLAIN ");
        self.0.walk_ast(out)
    }
}

impl<Q> Statement for Explain<Q> {
    type SqlType = diesel::sql_types::Untyped;
}
