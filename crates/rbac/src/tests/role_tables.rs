//! The role tables a second time, in the notation of the specification: short, with "all but". The code
//! says the same by addition, so that each new kind has to be entered in both.

use std::collections::BTreeSet;

use stdx::ids::OrganizationId;
use uuid::Uuid;

use crate::{Catalog, Permission, Resource, Role, RoleName, RoleOptions, Sharing};

const DORMANT: &str =
    "workspace_dormant: create read update delete stop create_agent delete_agent update_agent";

/// Expands `type: actions; type: *; * -a -b` (every type but a and b) to single permissions.
fn expand(text: &str) -> BTreeSet<String> {
    let text = text.replace("$dormant", DORMANT);
    let mut set = BTreeSet::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        if let Some(but) = part.strip_prefix('*') {
            let but: Vec<&str> = but.split_whitespace().collect();
            for name in &but {
                let known = name.strip_prefix('-').unwrap().parse::<Resource>();
                assert!(known.is_ok(), "{name}");
            }
            for resource in Resource::ALL {
                if !but.contains(&format!("-{resource}").as_str()) {
                    set.extend(resource.actions().iter().map(|a| format!("{resource}:{a}")));
                }
            }
            continue;
        }
        let (types, actions) = part.split_once(':').unwrap();
        for name in types.split(',').map(str::trim) {
            let (sign, bare) = name.strip_prefix('!').map_or(("", name), |bare| ("!", bare));
            let resource: Resource = bare.parse().unwrap();
            if actions.trim() == "*" {
                set.extend(resource.actions().iter().map(|a| format!("{sign}{resource}:{a}")));
            } else {
                for action in actions.split_whitespace() {
                    let action = action.parse().unwrap();
                    assert!(resource.actions().contains(action), "{resource}:{action}");
                    set.insert(format!("{sign}{resource}:{action}"));
                }
            }
        }
    }
    set
}

fn singles(list: Vec<Permission>) -> BTreeSet<String> {
    let mut set = BTreeSet::new();
    for permission in list {
        let resource = permission.resource.unwrap();
        let sign = if permission.negate { "!" } else { "" };
        match permission.action {
            Some(action) => {
                set.insert(format!("{sign}{resource}:{action}"));
            }
            None => {
                set.extend(resource.actions().iter().map(|a| format!("{sign}{resource}:{a}")));
            }
        }
    }
    set
}

/// Levels in the order site, user, org, member.
fn assert_role(role: &Role, levels: [&str; 4]) {
    let seen = [
        role.site_permissions(),
        role.user_permissions(),
        role.org_permissions(),
        role.member_permissions(),
    ];
    for ((seen, wanted), level) in
        seen.into_iter().zip(levels).zip(["site", "user", "org", "member"])
    {
        let (seen, wanted) = (singles(seen), expand(wanted));
        let missing: Vec<_> = wanted.difference(&seen).collect();
        let extra: Vec<_> = seen.difference(&wanted).collect();
        let role = role.name();
        assert!(missing.is_empty(), "{role} {level} lacks {missing:?}");
        assert!(extra.is_empty(), "{role} {level} has too much: {extra:?}");
    }
}

const OWNER: &str = "* -workspace_dormant -prebuilt_workspace -workspace -user_secret -user_skill \
    -usage_event -boundary_usage -boundary_log -ai_seat -ai_gateway_key; $dormant; \
    prebuilt_workspace: update delete; user_skill: read delete; \
    ai_gateway_key: create read delete; boundary_log: read;";

const MEMBER_SITE: &str = "assign_role, oauth2_app, workspace_proxy: read;";

const MEMBER_USER: &str = "* -workspace_dormant -prebuilt_workspace -workspace -user \
    -organization_member -boundary_usage -boundary_log -aibridge_interception -chat -ai_seat; \
    user: read read_personal update_personal; aibridge_interception: create update; \
    boundary_log: create";

#[test]
fn roles_of_the_deployment_are_as_specified() {
    let owner = format!("{OWNER} workspace: *");
    let expected = [
        ("owner", "Owner", [owner.as_str(), "", "", ""]),
        ("member", "Member", [MEMBER_SITE, MEMBER_USER, "", ""]),
        (
            "auditor",
            "Auditor",
            [
                "assign_org_role, audit_log, connection_log, user, group, group_member, \
                 organization, organization_member, deployment_stats, deployment_config, \
                 chat_model_config, aibridge_interception, boundary_log: read; \
                 template: read view_insights",
                "",
                "",
                "",
            ],
        ),
        (
            "template-admin",
            "Template Admin",
            [
                "template: *; file: create read; workspace, workspace_dormant: read; \
                 prebuilt_workspace: update delete; \
                 provisioner_daemon: create read update delete; assign_org_role, user, group, \
                 group_member, organization, organization_member: read",
                "",
                "",
                "",
            ],
        ),
        (
            "user-admin",
            "User Admin",
            [
                "assign_role, assign_org_role: assign unassign read; \
                 user: create read update delete read_personal update_personal; \
                 group: create read update delete; group_member, organization: read; \
                 organization_member: create read update delete; idpsync_settings: read update",
                "",
                "",
                "",
            ],
        ),
    ];
    let roles: Vec<Role> = Catalog::default().site_roles().collect();
    assert_eq!(roles.len(), expected.len());
    for (role, (name, display_name, levels)) in roles.iter().zip(expected) {
        assert_eq!(*role.name(), RoleName::site(name));
        assert_eq!(role.display_name(), display_name);
        assert_role(role, levels);
    }
}

#[test]
fn roles_of_an_organization_are_as_specified() {
    let org = OrganizationId::new(Uuid::from_u128(10));
    let expected = [
        (
            "organization-admin",
            [
                "user: read",
                "",
                "* -workspace -workspace_dormant -prebuilt_workspace -assign_role -user_secret \
                 -boundary_usage -boundary_log -ai_seat -workspace_build_orchestration; \
                 workspace: create read update delete start stop create_agent delete_agent \
                 update_agent share; $dormant; prebuilt_workspace: update delete",
                "",
            ],
        ),
        (
            "organization-auditor",
            [
                "",
                "",
                "audit_log, connection_log, group, group_member, organization, \
                 organization_member, chat_model_config: read; template: read view_insights",
                "",
            ],
        ),
        (
            "organization-user-admin",
            [
                "user: read",
                "",
                "assign_org_role: assign unassign read; organization, group_member: read; \
                 organization_member, group: create read update delete; \
                 idpsync_settings: read update",
                "",
            ],
        ),
        (
            "organization-template-admin",
            [
                "",
                "",
                "template: *; file: create read; workspace, workspace_dormant: read; \
                 prebuilt_workspace: update delete; \
                 organization, organization_member, group, group_member: read; \
                 provisioner_daemon: create read update delete; \
                 provisioner_jobs: create read update",
                "",
            ],
        ),
        (
            "organization-workspace-creation-ban",
            ["", "", "!workspace: create delete create_agent delete_agent", ""],
        ),
        (
            "organization-workspace-access",
            ["", "", "", "workspace: *; $dormant; file, provisioner_daemon: create read"],
        ),
    ];
    let roles: Vec<Role> = Catalog::default().org_roles(org).collect();
    assert_eq!(roles.len(), expected.len());
    for (role, (name, levels)) in roles.iter().zip(expected) {
        assert_eq!(*role.name(), RoleName::in_org(name, org));
        assert!(role.display_name().starts_with("Organization "));
        assert_role(role, levels);
    }
}

#[test]
fn implied_roles_follow_the_sharing_mode() {
    let own = "organization_member, group_member: read; aibridge_interception: create update; \
        api_key: create read update delete; \
        notification_message, notification_preference: read update; \
        inbox_notification: create read update;";
    let chats = "chat: create read update share; chat_project: read update delete share;";
    let all = "provisioner_daemon, organization, assign_org_role: read;";
    let cases = [
        (false, Sharing::None, "chat_project: create; !workspace: share", "!workspace: share"),
        (
            false,
            Sharing::ServiceAccounts,
            "chat_project: create; organization_member: read",
            "!workspace: share",
        ),
        (false, Sharing::Everyone, "chat_project: create; organization_member, group: read", ""),
        (true, Sharing::None, "!workspace: share", ""),
        (true, Sharing::ServiceAccounts, "organization_member, group: read", ""),
        (true, Sharing::Everyone, "organization_member, group: read", ""),
    ];
    let org = OrganizationId::new(Uuid::from_u128(10));
    for (service_account, sharing, org_part, member_part) in cases {
        let role = Catalog::default().membership(org, sharing, service_account);
        let chats = if service_account { "" } else { chats };
        let org_level = format!("{all} {org_part}");
        let member_level = format!("{own} {chats} {member_part}");
        assert_role(&role, ["", "", &org_level, &member_level]);
        assert_eq!(role.display_name(), "");
    }
}

#[test]
fn switches_change_owner_and_member_only() {
    let options = RoleOptions {
        disable_owner_workspace_access: true,
        disable_workspace_sharing: true,
        disable_chat_sharing: true,
    };
    let catalog = Catalog::new(options);
    assert_eq!(catalog.options(), options);
    let owner = format!(
        "{OWNER} workspace: create read update delete start stop create_agent delete_agent \
         update_agent share"
    );
    let member_site = format!("{MEMBER_SITE} !workspace, !chat, !chat_project: share");
    let roles: Vec<Role> = catalog.site_roles().collect();
    assert_role(&roles[0], [&owner, "", "", ""]);
    assert_role(&roles[1], [&member_site, MEMBER_USER, "", ""]);
    let plain: Vec<Role> = Catalog::default().site_roles().collect();
    for (switched, plain) in roles.iter().zip(&plain).skip(2) {
        assert_eq!(switched.table(), plain.table());
    }
}
