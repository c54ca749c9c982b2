//! Whatever is wrong with a question or a subject is an error that says so: no panic, no yes, and no refusal
//! that could be taken for an answer.

use stdx::ids::{GroupId, OrganizationId, UserId};
use uuid::Uuid;

use crate::{
    Action, AllowList, Catalog, Object, Permission, RawObject, Resource, RoleName, Scope,
    ScopeName, Sharing, SubjectBuilder, SubjectKind,
};

const A: OrganizationId = OrganizationId::new(Uuid::from_u128(10));
const ME: UserId = UserId::new(Uuid::from_u128(1));

#[test]
fn names_that_do_not_exist_are_told() {
    fn refused<T, E: ToString>(parsed: Result<T, E>) -> String {
        parsed.err().map(|error| error.to_string()).unwrap()
    }
    let long = "x".repeat(10_000);
    for (error, message) in [
        (refused("".parse::<Resource>()), r#"unknown resource type """#),
        (refused("workspaces".parse::<Resource>()), r#"unknown resource type "workspaces""#),
        (refused("*".parse::<Action>()), r#"unknown action "*""#),
        (refused("READ".parse::<Action>()), r#"unknown action "READ""#),
        (refused("root".parse::<SubjectKind>()), r#"unknown subject kind "root""#),
        (refused("some".parse::<Sharing>()), r#"unknown sharing mode "some""#),
        (
            refused("file:fly".parse::<ScopeName>()),
            r#"invalid or unsupported API key scope: "file:fly""#,
        ),
        (
            refused(ScopeName::parse_public("no_user_data")),
            r#"invalid or unsupported API key scope: "no_user_data""#,
        ),
        (refused(Scope::parse_names::<&str>(&[])), "a credential needs at least one scope"),
        (refused(AllowList::parse(&["file:1"])), r#"invalid file ID (must be UUID): "1""#),
        (
            refused("a:b:c".parse::<RoleName>()),
            "a role name has at most one colon: want <name> or <name>:<organization uuid>",
        ),
        (
            refused("a:00000000-0000-0000-0000-00000000000".parse::<RoleName>()),
            "the organization of a role name must be a UUID other than nil",
        ),
        (refused(Permission::parse(false, "gone", "read")), r#"unknown resource type "gone""#),
        (refused(Permission::parse(false, "file", "fly")), r#"unknown action "fly""#),
        (refused(Permission::parse(true, "*", "")), r#"unknown action """#),
        (
            refused(Permission::parse(false, "file", "ssh")),
            r#"action "ssh" is not declared for "file""#,
        ),
    ] {
        assert_eq!(error, message);
    }
    for error in [
        refused(long.parse::<Resource>()),
        refused(long.parse::<Action>()),
        refused(long.parse::<ScopeName>()),
        refused(AllowList::parse(&[format!("{long}:*")])),
        refused(AllowList::parse(&[format!("file:{long}")])),
        refused(RawObject { resource_type: "file", id: &long, ..RawObject::default() }.parse()),
    ] {
        assert!(error.len() < 200, "{error}");
    }
    assert_eq!(Permission::parse(false, "file", "*"), Ok(Permission::allow_all(Resource::File)));
    assert_eq!(Permission::parse(false, "*", "*"), Ok(Permission::EVERYTHING));
}

#[test]
fn a_subject_that_lacks_something_is_none() {
    let me = || SubjectBuilder::user(ME);
    let nobody = || SubjectBuilder::user(UserId::nil());
    let all = Scope::all;
    for (builder, message) in [
        (me(), "subject must have roles"),
        (me().scope(all()), "subject must have roles"),
        (me().no_roles(), "subject must have a scope"),
        (me().site_role("owner"), "subject must have a scope"),
        (nobody().no_roles().scope(all()), "a user's subject must have an id"),
        (nobody().site_role("owner").scope(all()), "a user's subject must have an id"),
        (me().site_role("").scope(all()), "role  does not exist"),
        (me().site_role("root").scope(all()), "role root does not exist"),
        (me().site_role("owner ").scope(all()), "role owner  does not exist"),
        (me().site_role("Owner").scope(all()), "role Owner does not exist"),
        (
            me().org_role(A, "owner").scope(all()),
            "role owner:00000000-0000-0000-0000-00000000000a does not exist",
        ),
        (
            me().site_role("organization-admin").scope(all()),
            "role organization-admin does not exist",
        ),
        (
            me().org_role(OrganizationId::nil(), "organization-admin").scope(all()),
            "role organization-admin:00000000-0000-0000-0000-000000000000 belongs to the nil \
             organization",
        ),
        (
            me().membership(OrganizationId::nil(), Sharing::Everyone, false).scope(all()),
            "role organization-member:00000000-0000-0000-0000-000000000000 belongs to the nil \
             organization",
        ),
    ] {
        let error = builder.compile(&Catalog::default()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

/// The emptiest subject that can be made may do nothing at all, whatever an object claims.
#[test]
fn a_subject_with_nothing_gets_nothing() {
    let nothing = SubjectBuilder::user(ME)
        .no_roles()
        .groups([GroupId::new(A.uuid())])
        .scope(Scope::all())
        .compile(&Catalog::default())
        .unwrap();
    let acl = crate::Acl::new(
        [(ME, crate::ActionSet::ALL)],
        [(GroupId::new(A.uuid()), crate::ActionSet::ALL)],
    );
    for resource in Resource::ALL {
        for action in Action::ALL {
            for object in [
                Object::new(resource).owner(ME).acl(&acl),
                Object::new(resource).owner(ME).in_org(A).acl(&acl),
                Object::new(resource).owner(ME).any_org().acl(&acl),
                Object::new(resource).owner(ME).in_org(OrganizationId::nil()).acl(&acl),
            ] {
                assert!(nothing.authorize(action, &object).is_err(), "{resource}:{action}");
            }
            assert!(nothing.row_filter(action, resource).is_nothing());
        }
    }
}
