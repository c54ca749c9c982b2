//! Users, organizations, members and groups.

use rbac::{Action, Resource};
use stdx::ids::GroupId;
use store::groups::{
    CountGroupMembers, DeleteGroup, GetGroupByName, InsertGroup, InsertMissingGroups, JoinGroups,
    LeaveGroups, ListGroupMembers, ListGroups, UpdateGroup, UpdateGroupMembers, ValidateGroupIds,
};
use store::members::{CountMembers, DeleteMember, ListMembers, Member};
use store::organizations::{
    CountResources, DeleteOrganization, ListIdsOfMembers, ListOrganizations, UpdateOrganization,
};
use store::users::{
    CountUsers, DeleteUser, Filter, FindPasscode, GetUserByEmail, ListAllIds, ListByIds, ListUsers,
    MarkDormant, UpdateChatSpendLimit, UpdateGithubId, UpdateLoginType, UpdatePasscode,
    UpdatePassword, UpdateProfile, UpdateQuietHours, User, ValidateIds, Window,
};

use super::{GROUP, NEW, NOW, ORGANIZATION, Refusal, USER, Visitor};

pub(crate) fn visit(v: &mut impl Visitor) {
    lists(v);
    accounts(v);
    organizations(v);
    groups(v);
}

fn lists(v: &mut impl Visitor) {
    let (filter, window) = (Filter::default, Window::default());
    v.visit(
        ListUsers { filter: filter(), window },
        Refusal::Empty(|page: &Option<Vec<User>>| page.as_ref().is_some_and(Vec::is_empty)),
    );
    v.visit(CountUsers { filter: filter() }, Refusal::Empty(|count| *count == 0));
    v.visit(ListByIds { ids: vec![USER] }, Refusal::Empty(Vec::is_empty));
    v.visit(
        ListMembers { organization_id: ORGANIZATION, filter: filter(), window },
        Refusal::Empty(|page: &Option<Vec<(Member, User)>>| {
            page.as_ref().is_some_and(Vec::is_empty)
        }),
    );
    v.visit(
        CountMembers { organization_id: ORGANIZATION, filter: filter() },
        Refusal::Empty(|count| *count == 0),
    );
    v.visit(
        ListGroupMembers { group_id: GROUP, filter: filter(), window },
        Refusal::Empty(|page: &Option<Vec<User>>| page.as_ref().is_some_and(Vec::is_empty)),
    );
    v.visit(ListOrganizations::default(), Refusal::Empty(Vec::is_empty));
    v.visit(ListIdsOfMembers { user_ids: vec![USER] }, Refusal::Empty(Vec::is_empty));
    v.visit(ListGroups::default(), Refusal::Empty(Vec::is_empty));
}

fn accounts(v: &mut impl Visitor) {
    v.visit(
        GetUserByEmail { email: "alice@example.com".to_owned() },
        Refusal::Row(Action::Read, Resource::User),
    );
    let after = stdx::ids::UserId::nil();
    v.visit(ListAllIds { after, include_system: false, limit: 10 }, Refusal::Inputs);
    v.visit(ValidateIds { ids: vec![USER] }, Refusal::Inputs);
    v.visit(
        UpdateProfile {
            id: USER,
            email: "alice@example.com".to_owned(),
            username: "alice".to_owned(),
            name: "Alice".to_owned(),
            avatar_url: String::new(),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(UpdateQuietHours { id: USER, schedule: String::new(), now: NOW }, Refusal::Inputs);
    v.visit(UpdateGithubId { id: USER, github_com_user_id: Some(1), now: NOW }, Refusal::Inputs);
    v.visit(UpdateChatSpendLimit { id: USER, micros: None, now: NOW }, Refusal::Inputs);
    v.visit(UpdateLoginType { id: USER, login_type: "oidc", now: NOW }, Refusal::Inputs);
    v.visit(UpdatePassword { id: USER, hashed_password: String::new(), now: NOW }, Refusal::Inputs);
    v.visit(UpdatePasscode { id: USER, passcode: None, now: NOW }, Refusal::Inputs);
    v.visit(FindPasscode { id: USER }, Refusal::Inputs);
    v.visit(DeleteUser { id: USER, now: NOW }, Refusal::Inputs);
    v.visit(MarkDormant { not_seen_since: NOW, now: NOW, limit: 10 }, Refusal::Inputs);
}

fn organizations(v: &mut impl Visitor) {
    v.visit(CountResources { id: ORGANIZATION }, Refusal::Inputs);
    v.visit(
        UpdateOrganization {
            id: ORGANIZATION,
            name: "coder".to_owned(),
            display_name: String::new(),
            description: String::new(),
            icon: String::new(),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(DeleteOrganization { id: ORGANIZATION, now: NOW }, Refusal::Inputs);
    v.visit(DeleteMember { organization_id: ORGANIZATION, user_id: USER }, Refusal::Inputs);
}

fn groups(v: &mut impl Visitor) {
    let (id, name) = (GroupId::new(NEW), || "new".to_owned());
    v.visit(
        GetGroupByName { organization_id: ORGANIZATION, name: "platform".to_owned() },
        Refusal::Row(Action::Read, Resource::Group),
    );
    v.visit(
        CountGroupMembers { group_id: GROUP, include_system: false },
        Refusal::Row(Action::Read, Resource::Group),
    );
    v.visit(
        InsertGroup {
            id,
            organization_id: ORGANIZATION,
            name: name(),
            display_name: String::new(),
            avatar_url: String::new(),
            quota_allowance: 0,
        },
        Refusal::Inputs,
    );
    v.visit(
        UpdateGroup {
            id: GROUP,
            name: name(),
            display_name: String::new(),
            avatar_url: String::new(),
            quota_allowance: 0,
            chat_spend_limit_micros: None,
        },
        Refusal::Row(Action::Update, Resource::Group),
    );
    v.visit(DeleteGroup { id: GROUP }, Refusal::Row(Action::Delete, Resource::Group));
    v.visit(ValidateGroupIds { ids: vec![GROUP] }, Refusal::Inputs);
    v.visit(
        UpdateGroupMembers { id: GROUP, add: Vec::new(), remove: vec![USER] },
        Refusal::Row(Action::Update, Resource::Group),
    );
    v.visit(
        InsertMissingGroups { organization_id: ORGANIZATION, groups: vec![(id, name())] },
        Refusal::Inputs,
    );
    v.visit(
        JoinGroups {
            organization_id: ORGANIZATION,
            user_id: USER,
            ids: vec![GROUP],
            names: Vec::new(),
        },
        Refusal::Inputs,
    );
    v.visit(
        LeaveGroups { organization_id: ORGANIZATION, user_id: USER, ids: None },
        Refusal::Inputs,
    );
}
