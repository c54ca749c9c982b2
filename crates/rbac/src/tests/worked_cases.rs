//! Every branch of the rule, one case each. A case reads: what `me` holds, the scope of the credential
//! (and what it is limited to, after a slash), the action, the object, the answer.

use stdx::ids::{GroupId, OrganizationId, UserId};
use uuid::Uuid;

use crate::{
    Acl, Action, ActionSet, AllowEntry, AllowList, Catalog, Object, Permission, PermissionLists,
    Resource, Role, RoleName, RoleOptions, Scope, Subject, SubjectBuilder,
};

type Case = (u8, &'static [&'static str], &'static str, &'static str, &'static str, bool);

const ALL: &str = "coder:all";
const CONNECT: &str = "coder:application_connect";
const TWO_READS: &str = "workspace:read template:read / workspace:w1";
const TEMPLATES_OR_X1: &str = "coder:all / template:* *:x1";
const ORG_LEVEL: &str = "org A: workspace:read; user: user:read";
const YES: bool = true;
const NO: bool = false;

#[rustfmt::skip]
const CASES: &[Case] = &[
    (1, &["owner"], ALL, "read", "workspace id=w org=A owner=bob", YES),
    (2, &["owner", "org A: !*:*", "user: !*:*"], ALL, "delete", "workspace org=A owner=me", YES),
    (3, &["site: !*:*", "organization-admin A"], ALL, "read", "workspace org=A owner=me", NO),
    // The other type stands for one that the object is not of.
    (4, &["site: !file:*", "organization-admin A"], ALL, "read", "workspace org=A owner=bob", YES),
    (5, &["site: workspace:read", "site: !workspace:read"], ALL, "read", "workspace org=A owner=me", NO),
    (6, &["sharing disabled", "member", "owner"], ALL, "share", "workspace org=A owner=me", NO),
    (7, &["member"], ALL, "read", "api_key id=k owner=me", YES),
    (8, &["member"], ALL, "read", "api_key id=k owner=bob", NO),
    (9, &["member"], ALL, "read", "inbox_notification org=A owner=me", NO),
    (10, &["user: *:* !file:read"], ALL, "read", "file id=f owner=me", NO),
    (11, &["user: *:read"], ALL, "read", "workspace owner=me", YES),
    (12, &["user: *:read"], ALL, "read", "workspace", NO),
    (13, &["organization-admin A"], ALL, "update", "workspace org=A owner=bob", YES),
    (14, &["organization-admin A"], ALL, "update", "workspace org=B owner=bob", NO),
    (15, &["organization-admin A"], ALL, "ssh", "workspace org=A owner=bob", NO),
    (16, &["organization-admin A", "organization-workspace-creation-ban A"], ALL, "create", "workspace org=A owner=me", NO),
    (17, &["organization-workspace-access A", "organization-workspace-creation-ban A"], ALL, "create", "workspace org=A owner=me", NO),
    (18, &["organization-workspace-access A", "organization-workspace-access B", "organization-workspace-creation-ban A"], ALL, "create", "workspace org=B owner=me", YES),
    (19, &["organization-workspace-access A", "organization-workspace-creation-ban A"], ALL, "read", "workspace org=A owner=me", YES),
    (20, &["member", "organization-workspace-access A"], ALL, "ssh", "workspace org=A owner=me", YES),
    (21, &["organization-workspace-access A"], ALL, "ssh", "workspace org=A owner=bob", NO),
    (22, &["organization-workspace-access A"], ALL, "read", "workspace owner=me", NO),
    (23, &["organization-workspace-access A"], ALL, "read", "workspace org=A", NO),
    (24, &["organization-workspace-access A"], ALL, "read", "workspace org=B owner=me", NO),
    (25, &["organization-workspace-access A", "organization-member A service_accounts"], ALL, "share", "workspace org=A owner=me", NO),
    (26, &["organization-admin A", "organization-member A service_accounts"], ALL, "share", "workspace org=A owner=me", YES),
    (27, &["organization-admin A", "organization-member A none"], ALL, "share", "workspace org=A owner=bob", NO),
    (28, &["organization-workspace-access A", "organization-service-account A service_accounts"], ALL, "share", "workspace org=A owner=me", YES),
    (29, &["owner", "organization-member A none"], ALL, "share", "workspace org=A owner=bob", YES),
    (30, &["organization-template-admin A"], ALL, "create", "template any_org", YES),
    (31, &["member"], ALL, "create", "template any_org", NO),
    (32, &["organization-workspace-access A", "organization-workspace-access B", "organization-workspace-creation-ban A"], ALL, "create", "workspace owner=me any_org", YES),
    (33, &["organization-workspace-access A", "organization-workspace-creation-ban A"], ALL, "create", "workspace owner=me any_org", NO),
    (34, &["organization-workspace-access A"], ALL, "create", "workspace any_org", NO),
    (35, &["member"], ALL, "read", "api_key owner=me any_org", NO),
    (36, &["organization-member A everyone"], ALL, "ssh", "workspace org=A owner=bob user_acl=me:ssh", YES),
    (37, &["organization-member A everyone"], ALL, "delete", "workspace org=A owner=bob user_acl=me:*", YES),
    (38, &["organization-member A everyone"], ALL, "update", "workspace org=A owner=bob user_acl=me:read", NO),
    (39, &["member"], ALL, "ssh", "workspace org=A owner=bob user_acl=me:ssh", NO),
    (40, &["member"], ALL, "ssh", "workspace owner=bob user_acl=me:ssh", NO),
    (41, &["organization-member A everyone", "group g"], ALL, "use", "template org=A group_acl=g:use", YES),
    (42, &["organization-member A everyone"], ALL, "use", "template org=A group_acl=g:use", NO),
    (43, &["organization-member B everyone", "group g"], ALL, "use", "template org=A group_acl=g:use", NO),
    (44, &["organization-member A everyone"], ALL, "read", "template org=A group_acl=A:read", YES),
    (45, &["organization-member B everyone"], ALL, "read", "template org=A group_acl=A:read", NO),
    (46, &["organization-member A none"], ALL, "share", "workspace org=A owner=bob user_acl=me:share", YES),
    (47, &["site: !*:*", "organization-member A everyone"], ALL, "read", "workspace org=A owner=bob user_acl=me:read", YES),
    (48, &["owner"], CONNECT, "read", "workspace org=A owner=me", NO),
    (49, &["owner"], CONNECT, "application_connect", "workspace org=A owner=bob", YES),
    (50, &["member", "organization-workspace-access A"], CONNECT, "application_connect", "workspace org=A owner=bob", NO),
    (51, &["organization-member A everyone"], CONNECT, "ssh", "workspace org=A owner=bob user_acl=me:ssh", NO),
    (52, &["owner"], TWO_READS, "read", "workspace id=w1 org=A owner=bob", YES),
    (53, &["owner"], TWO_READS, "read", "workspace id=w2 org=A owner=bob", NO),
    (54, &["owner"], TWO_READS, "read", "template id=t org=A", NO),
    (55, &["owner"], TWO_READS, "read", "workspace org=A owner=bob", NO),
    (56, &["owner"], TEMPLATES_OR_X1, "delete", "template org=A", YES),
    (57, &["owner"], TEMPLATES_OR_X1, "read", "group id=x1 org=A", YES),
    (58, &["owner"], "coder:all / ", "read", "workspace id=w1 org=A owner=me", NO),
    (59, &["owner", "organization-member A everyone"], ORG_LEVEL, "read", "workspace org=A owner=bob", YES),
    (60, &["owner"], ORG_LEVEL, "read", "workspace org=A owner=bob", NO),
    (61, &["owner"], ORG_LEVEL, "read", "user id=me owner=me", YES),
    (62, &[], ALL, "read", "workspace_proxy id=p", NO),
    (63, &["owner", "member"], ALL, "read", "user_secret owner=bob", NO),
    (64, &["owner", "member"], ALL, "read", "user_skill owner=bob", YES),
    (65, &["owner", "member"], ALL, "update", "user_skill owner=bob", NO),
    // `*` names no user: the mapper leaves the owner out.
    (66, &["organization-workspace-access A"], ALL, "create", "workspace org=A owner=*", NO),
];

#[test]
fn the_worked_cases_come_out_as_specified() {
    for (position, (number, roles, scope, action, object, allowed)) in CASES.iter().enumerate() {
        assert_eq!(usize::from(*number), position + 1);
        let subject = subject(roles, scope);
        let action: Action = action.parse().unwrap();
        with_object(object, |object| {
            let decided = subject.authorize(action, object);
            assert_eq!(decided.is_ok(), *allowed, "case {number}: {object:?}");
            let explained = subject.explain(action, object);
            assert_eq!(explained.allowed, *allowed, "case {number}: {explained}");
            if !object.is_any_org() {
                let filter = subject.row_filter(action, object.resource());
                assert_eq!(filter.matches(object), *allowed, "case {number}: {filter:?}");
                assert!(!(filter.is_nothing() && *allowed), "case {number}");
            }
        });
    }
    assert_eq!(CASES.len(), 66);
}

#[test]
fn a_refusal_names_action_and_kind_but_no_id() {
    let nobody = subject(&[], ALL);
    with_object("workspace id=w org=A owner=bob", |object| {
        let denied = nobody.authorize(Action::Read, object).unwrap_err();
        assert_eq!(denied.to_string(), "not allowed to read workspace");
    });
    assert_eq!(size_of::<crate::Denied>(), 2);
}

#[test]
fn common_subjects_get_trivial_filters() {
    let owner = subject(&["owner"], ALL).row_filter(Action::Read, Resource::Workspace);
    assert!(owner.is_everything() && !owner.is_nothing());
    let nobody = subject(&[], ALL).row_filter(Action::Read, Resource::Workspace);
    assert!(nobody.is_nothing() && !nobody.is_everything());
    let limited = subject(&["owner"], TWO_READS).row_filter(Action::Read, Resource::Template);
    assert!(limited.is_nothing(), "no template is listed");
    let limited = subject(&["owner"], TWO_READS).row_filter(Action::Read, Resource::Workspace);
    assert_eq!(limited.allow_ids(), Some(&[id("w1")][..]));
    assert!(limited.is_unrestricted() && !limited.is_everything());
}

#[test]
fn a_table_without_columns_cannot_satisfy_their_terms() {
    let me = subject(&["member", "organization-admin A", "organization-workspace-access B"], ALL);
    let filter = me.row_filter(Action::Read, Resource::Workspace);
    assert_eq!(filter.orgs(), [org("A")]);
    assert_eq!(filter.own_in_orgs(), [org("B")]);
    assert_eq!(filter.acl().orgs(), [org("B")], "A needs no sharing");

    let all = crate::Columns::ALL;
    let no_owner = filter.clone().for_columns(crate::Columns { owner: false, ..all });
    assert_eq!((no_owner.orgs(), no_owner.own_in_orgs()), (&[org("A")][..], &[][..]));
    let no_acl = filter.clone().for_columns(crate::Columns { acl: false, ..all });
    assert!(no_acl.acl().is_nothing() && !no_acl.is_nothing());
    let no_org = filter.for_columns(crate::Columns { org: false, ..all });
    assert!(no_org.is_nothing(), "the user level grants no workspace");

    let limited = subject(&["owner"], TWO_READS).row_filter(Action::Read, Resource::Workspace);
    assert!(limited.for_columns(crate::Columns { id: false, ..all }).is_nothing());
}

#[test]
fn a_member_level_scope_reaches_ones_own_shared_objects_only() {
    let scope = "member A: workspace:read";
    let me = subject(&["organization-member A everyone"], scope);
    let filter = me.row_filter(Action::Read, Resource::Workspace);
    assert_eq!(filter.acl().own_in_orgs(), [org("A")]);
    assert!(filter.acl().orgs().is_empty() && filter.own_in_orgs().is_empty());
    for (object, allowed) in [
        ("workspace org=A owner=me user_acl=me:read", YES),
        ("workspace org=A owner=me", NO),
        ("workspace org=A owner=bob user_acl=me:read", NO),
        ("workspace org=B owner=me user_acl=me:read", NO),
    ] {
        with_object(object, |object| {
            assert_eq!(me.authorize(Action::Read, object).is_ok(), allowed);
            assert_eq!(filter.matches(object), allowed, "{object:?}");
        });
    }
    let table = crate::Columns { owner: false, ..crate::Columns::ALL };
    assert!(filter.for_columns(table).is_nothing());
}

fn id(name: &str) -> Uuid {
    let name = name.bytes().fold(0, |id, byte| id << 8 | u128::from(byte));
    Uuid::from_u128(name)
}

fn org(name: &str) -> OrganizationId {
    OrganizationId::new(id(name))
}

fn subject(roles: &[&str], scope_text: &str) -> Subject {
    let mut options = RoleOptions::default();
    let mut builder = SubjectBuilder::user(UserId::new(id("me"))).no_roles();
    for (position, role) in roles.iter().enumerate() {
        let words: Vec<&str> = role.split(' ').collect();
        builder = if let Some((level, permissions)) = role.split_once(": ") {
            builder.role(custom(position, level, permissions))
        } else {
            match words.as_slice() {
                ["sharing", "disabled"] => {
                    options.disable_workspace_sharing = true;
                    builder
                }
                ["group", group] => builder.groups([GroupId::new(id(group))]),
                ["organization-member", a, mode] => {
                    builder.membership(org(a), mode.parse().unwrap(), false)
                }
                ["organization-service-account", a, mode] => {
                    builder.membership(org(a), mode.parse().unwrap(), true)
                }
                [name, a] => builder.org_role(org(a), name),
                [name] => builder.site_role(name),
                _ => panic!("{role}"),
            }
        };
    }
    builder.scope(scope(scope_text)).compile(&Catalog::new(options)).unwrap()
}

fn permissions(text: &str) -> Vec<Permission> {
    text.split(' ')
        .map(|text| {
            let (resource, action) = text.trim_start_matches('!').split_once(':').unwrap();
            Permission {
                negate: text.starts_with('!'),
                resource: (resource != "*").then(|| resource.parse().unwrap()),
                action: (action != "*").then(|| action.parse().unwrap()),
            }
        })
        .collect()
}

/// Calls `then` with the organization and the permissions at a level written `site`, `user`, `org A` or `member A`.
fn at_level<T>(
    level: &str,
    text: &str,
    then: impl FnOnce(Option<OrganizationId>, &PermissionLists<'_>) -> T,
) -> T {
    let permissions = permissions(text);
    let mut lists = PermissionLists::default();
    let org = match level.split_once(' ') {
        Some(("org", name)) => {
            lists.org = &permissions;
            Some(org(name))
        }
        Some(("member", name)) => {
            lists.member = &permissions;
            Some(org(name))
        }
        _ if level == "site" => {
            lists.site = &permissions;
            None
        }
        _ if level == "user" => {
            lists.user = &permissions;
            None
        }
        _ => panic!("{level}"),
    };
    then(org, &lists)
}

fn custom(position: usize, level: &str, text: &str) -> Role {
    at_level(level, text, |org, lists| {
        let name = format!("custom-{position}");
        let name = match org {
            Some(org) => RoleName::in_org(name, org),
            None => RoleName::site(name),
        };
        Role::custom(name, "", lists).unwrap()
    })
}

fn scope(text: &str) -> Scope {
    if text.contains(": ") {
        return text
            .split("; ")
            .map(|part| {
                let (level, permissions) = part.split_once(": ").unwrap();
                at_level(level, permissions, |org, lists| {
                    Scope::internal(part, org, lists).unwrap()
                })
            })
            .reduce(Scope::union)
            .unwrap();
    }
    let (names, list) = text.split_once(" / ").unwrap_or((text, "*:*"));
    let names: Vec<&str> = names.split(' ').collect();
    let entries = list.split(' ').filter(|entry| !entry.is_empty()).map(|entry| {
        let (resource, object) = entry.split_once(':').unwrap();
        AllowEntry {
            resource: (resource != "*").then(|| resource.parse().unwrap()),
            id: (object != "*").then(|| id(object)),
        }
    });
    Scope::parse_names(&names).unwrap().narrowed_to(&AllowList::new(entries))
}

fn with_object(text: &str, then: impl FnOnce(&Object<'_>)) {
    let mut words = text.split(' ');
    let mut object = Object::new(words.next().unwrap().parse().unwrap());
    let actions = |text: &str| match text {
        "*" => ActionSet::ALL,
        action => action.parse::<Action>().unwrap().into(),
    };
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    for word in words {
        object = match word.split_once('=').unwrap_or((word, "")) {
            ("id", name) => object.id(id(name)),
            ("owner", "*") => object,
            ("owner", name) => object.owner(UserId::new(id(name))),
            ("org", name) => object.in_org(org(name)),
            ("any_org", _) => object.any_org(),
            ("user_acl", entry) => {
                let (user, action) = entry.split_once(':').unwrap();
                users.push((UserId::new(id(user)), actions(action)));
                object
            }
            ("group_acl", entry) => {
                let (group, action) = entry.split_once(':').unwrap();
                groups.push((GroupId::new(id(group)), actions(action)));
                object
            }
            _ => panic!("{word}"),
        };
    }
    let acl = Acl::new(users, groups);
    then(&object.acl(&acl));
}
