//! One declaration per audited row. A column that no list names does not compile.

use serde_json::json;
use stdx::ids::{OrganizationId, UserId};
use store::ai_budgets::{BudgetOverride, GroupBudget};
use store::ai_providers::{Provider, ProviderKey};
use store::ai_seats::Seat;
use store::api_keys::ApiKey;
use store::chat_models::{ChatModel, UsageLimit};
use store::chats::Chat;
use store::custom_roles::CustomRole;
use store::gateway_keys::HashedGatewayKey;
use store::git_ssh_keys::GitSshKey;
use store::groups::{Group, GroupWithMembers};
use store::licenses::License;
use store::members::Member;
use store::oauth2_apps::App;
use store::oauth2_grants::Grant;
use store::oauth2_secrets::AppSecret;
use store::organizations::Organization;
use store::own_provider_keys::OwnProviderKey;
use store::provisioner_keys::ProvisionerKey;
use store::tasks::Task;
use store::templates::Template;
use store::user_secrets::{SecretInfo, UserSecret};
use store::user_skills::UserSkill;
use store::users::{LoginUser, User};
use store::workspaces::Workspace;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::declare::{Declared as _, Table};
use crate::diff::{Auditable, Field, Shown};

/// The columns of each audited type.
pub const TABLES: &[Table] = &[
    User::TABLE,
    ApiKey::TABLE,
    Organization::TABLE,
    Provider::TABLE,
    ProviderKey::TABLE,
    HashedGatewayKey::TABLE,
    CustomRole::TABLE,
    NamedMember::TABLE,
    Group::TABLE,
    GitSshKey::TABLE,
    UserSkill::TABLE,
    SecretInfo::TABLE,
    GroupBudget::TABLE,
    BudgetOverride::TABLE,
    Seat::TABLE,
    License::TABLE,
    Chat::TABLE,
    ChatModel::TABLE,
    UsageLimit::TABLE,
    OwnProviderKey::TABLE,
    ProvisionerKey::TABLE,
    App::TABLE,
    AppSecret::TABLE,
    Grant::TABLE,
    Workspace::TABLE,
    Template::TABLE,
    Task::TABLE,
];

mod chats;
mod oauth2;
mod workspaces;

auditable! {
    User as "user" {
        id: |user| user.id.0.uuid(),
        target: |user| user.username.clone(),
        organization: |_| OrganizationId::nil(),
        track: [
            id => id.0, email => email, username => username, name => name, status => status,
            rbac_roles => rbac_roles, login_type => login_type, deleted => deleted,
            is_system => is_system, is_service_account => is_service_account,
            quiet_hours_schedule => quiet_hours_schedule,
            one_time_passcode_expires_at => one_time_passcode_expires_at.map(OffsetDateTime::unix_timestamp),
            chat_spend_limit_micros => chat_spend_limit_micros,
        ],
        secret: [],
        ignore: [created_at, updated_at, last_seen_at, avatar_url, github_com_user_id],
    }
}

/// A user whose password may have changed.
impl Auditable for LoginUser {
    const RESOURCE_TYPE: &'static str = User::RESOURCE_TYPE;

    fn id(&self) -> Uuid {
        self.user.id()
    }

    fn target(&self) -> String {
        self.user.target()
    }

    fn organization(&self) -> OrganizationId {
        self.user.organization()
    }

    fn fields(&self) -> Vec<Field<'_>> {
        let Self { user, hashed_password } = self;
        let hash = Some(hashed_password.as_str()).filter(|hash| !hash.is_empty());
        let mut fields = user.fields();
        fields.push(Field { name: "hashed_password", shown: Shown::Secret(hash.map(Into::into)) });
        fields
    }
}

auditable! {
    ApiKey as "api_key" {
        // Keys have no UUID: the entry is filed under their owner.
        id: |key| key.user_id.0.uuid(),
        target: |key| key.token_name.clone(),
        organization: |_| OrganizationId::nil(),
        track: [
            user_id => user_id.0, last_used => last_used.unix_timestamp(),
            expires_at => expires_at.unix_timestamp(), created_at => created_at.unix_timestamp(),
        ],
        secret: [],
        ignore: [
            id, hashed_secret, updated_at, login_type, lifetime_seconds, ip_address, token_name,
            scopes, allow_list,
        ],
    }
}

auditable! {
    Organization as "organization" {
        id: |organization| organization.id.0.uuid(),
        target: |organization| organization.name.clone(),
        organization: |organization| organization.id.0,
        track: [
            name => name, display_name => display_name, description => description, icon => icon,
            is_default => is_default, deleted => deleted,
            shareable_workspace_owners => shareable_workspace_owners,
        ],
        secret: [],
        ignore: [id, created_at, updated_at],
    }
}

auditable! {
    Provider as "ai_provider" {
        id: |provider| provider.id.uuid(),
        target: |provider| provider.name.clone(),
        organization: |_| OrganizationId::nil(),
        track: [
            id => id, kind => kind, name => name, display_name => display_name, icon => icon,
            enabled => enabled, deleted => deleted, base_url => base_url,
        ],
        secret: [settings => settings.as_ref().map(|text| text.expose().as_str())],
        ignore: [fault, created_at, updated_at],
    }
}

auditable! {
    ProviderKey as "ai_provider_key" {
        id: |key| key.id.uuid(),
        // The full identifier of the provider: names may be used again.
        target: |key| key.provider_id.to_string(),
        organization: |_| OrganizationId::nil(),
        track: [id => id, provider_id => provider_id],
        secret: [api_key => Some(api_key.expose().as_str())],
        ignore: [fault, created_at],
    }
}

auditable! {
    OwnProviderKey as "user_ai_provider_key" {
        id: |key| key.id,
        target: |key| key.provider_id.to_string(),
        organization: |_| OrganizationId::nil(),
        track: [id => id, user_id => user_id, provider_id => provider_id],
        secret: [api_key => Some(api_key.expose().as_str())],
        ignore: [fault, created_at, updated_at],
    }
}

auditable! {
    ProvisionerKey as "provisioner_key" {
        id: |key| key.id.0.uuid(),
        target: |key| key.name.clone(),
        organization: |key| key.organization_id.0,
        track: [id => id.0, name => name, tags => tags],
        // Keys are made and removed, never changed: that there is a hash is all that a diff can tell.
        secret: [hashed_secret => (!hashed_secret.is_empty()).then_some("set")],
        ignore: [organization_id, created_at],
    }
}

auditable! {
    License as "license" {
        id: |license| license.uuid,
        target: |license| license.uuid.to_string(),
        organization: |_| OrganizationId::nil(),
        track: [
            uuid => uuid, uploaded_at => uploaded_at.unix_timestamp(), exp => exp.unix_timestamp(),
        ],
        secret: [],
        // The signed text opens features for whoever has it.
        ignore: [id, jwt],
    }
}

auditable! {
    HashedGatewayKey as "ai_gateway_key" {
        id: |key| key.id.0.uuid(),
        target: |key| key.name.clone(),
        organization: |_| OrganizationId::nil(),
        track: [id => id.0, name => name, secret_prefix => secret_prefix],
        // Keys are made and removed, never changed: that there is a hash is all that a diff can tell.
        secret: [hashed_secret => (!hashed_secret.is_empty()).then_some("set")],
        ignore: [created_at, last_used_at],
    }
}

auditable! {
    CustomRole as "custom_role" {
        id: |role| role.id.0.uuid(),
        target: |role| role.name.clone(),
        organization: |role| role.organization_id.0,
        track: [
            name => name, display_name => display_name, org_permissions => org_permissions,
            member_permissions => member_permissions,
        ],
        secret: [],
        ignore: [id, organization_id, is_system, created_at, updated_at],
    }
}

/// A membership, shown under its member's name.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the row's columns and a name")]
pub struct NamedMember {
    pub username: String,
    pub organization_id: OrganizationId,
    pub user_id: UserId,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
    pub roles: Vec<String>,
}

impl NamedMember {
    /// The row of the member with this name.
    #[must_use]
    pub fn new(member: Member, username: &str) -> Self {
        let Member { organization_id, user_id, created_at, updated_at, roles } = member;
        Self {
            username: username.to_owned(),
            organization_id: organization_id.0,
            user_id: user_id.0,
            created_at,
            updated_at,
            roles,
        }
    }
}

auditable! {
    NamedMember as "organization_member" {
        id: |member| member.user_id.uuid(),
        target: |member| member.username.clone(),
        organization: |member| member.organization_id,
        track: [
            username => username, organization_id => organization_id, user_id => user_id, roles => roles,
        ],
        secret: [],
        ignore: [created_at, updated_at],
    }
}

auditable! {
    Group as "group" {
        id: |group| group.id.0.uuid(),
        target: |group| group.name.clone(),
        organization: |group| group.organization_id.0,
        track: [
            id => id.0, name => name, display_name => display_name, avatar_url => avatar_url,
            quota_allowance => quota_allowance, chat_spend_limit_micros => chat_spend_limit_micros,
        ],
        secret: [],
        ignore: [organization_id, source],
    }
}

/// A group whose members may have changed.
impl Auditable for GroupWithMembers {
    const RESOURCE_TYPE: &'static str = Group::RESOURCE_TYPE;

    fn id(&self) -> Uuid {
        self.group.id()
    }

    fn target(&self) -> String {
        self.group.target()
    }

    fn organization(&self) -> OrganizationId {
        self.group.organization()
    }

    fn fields(&self) -> Vec<Field<'_>> {
        let Self { group, members } = self;
        let members: Vec<UserId> = members.iter().map(|user| user.0).collect();
        let mut fields = group.fields();
        fields.push(Field { name: "members", shown: Shown::Tracked(json!(members)) });
        fields
    }
}

auditable! {
    GitSshKey as "git_ssh_key" {
        id: |key| key.id,
        target: |key| key.public_key.clone(),
        organization: |_| OrganizationId::nil(),
        track: [user_id => user_id, public_key => public_key],
        secret: [private_key => Some(private_key.expose().as_str())],
        ignore: [id, created_at, updated_at],
    }
}

auditable! {
    UserSkill as "user_skill" {
        id: |skill| skill.id.0.uuid(),
        target: |skill| skill.name.clone(),
        organization: |_| OrganizationId::nil(),
        track: [
            id => id.0, user_id => user_id.0, name => name, description => description,
            content => content,
        ],
        secret: [],
        ignore: [created_at, updated_at],
    }
}

auditable! {
    SecretInfo as "user_secret" {
        id: |secret| secret.id.0.uuid(),
        target: |secret| secret.name.clone(),
        organization: |_| OrganizationId::nil(),
        track: [
            id => id.0, user_id => user_id.0, name => name, description => description,
            env_name => env_name, file_path => file_path,
        ],
        secret: [],
        ignore: [created_at, updated_at],
    }
}

/// A secret whose value may have changed.
impl Auditable for UserSecret {
    const RESOURCE_TYPE: &'static str = SecretInfo::RESOURCE_TYPE;

    fn id(&self) -> Uuid {
        self.info.id()
    }

    fn target(&self) -> String {
        self.info.target()
    }

    fn organization(&self) -> OrganizationId {
        self.info.organization()
    }

    fn fields(&self) -> Vec<Field<'_>> {
        // That a value cannot be opened is nobody's change.
        let Self { info, value, fault: _ } = self;
        let mut fields = info.fields();
        fields.push(Field {
            name: "value",
            shown: Shown::Secret(Some(value.expose().as_str().into())),
        });
        fields
    }
}

auditable! {
    GroupBudget as "group_ai_budget" {
        id: |budget| budget.group_id.0.uuid(),
        target: |budget| budget.group_id.0.to_string(),
        organization: |_| OrganizationId::nil(),
        track: [group_id => group_id.0, spend_limit_micros => spend_limit_micros],
        secret: [],
        ignore: [created_at, updated_at],
    }
}

auditable! {
    BudgetOverride as "user_ai_budget_override" {
        id: |own| own.user_id.0.uuid(),
        target: |own| own.user_id.0.to_string(),
        organization: |_| OrganizationId::nil(),
        track: [
            user_id => user_id.0, group_id => group_id.0, spend_limit_micros => spend_limit_micros,
        ],
        secret: [],
        ignore: [created_at, updated_at],
    }
}

auditable! {
    Seat as "ai_seat" {
        id: |seat| seat.user_id.0.uuid(),
        target: |_| "AI Seat".to_owned(),
        organization: |_| OrganizationId::nil(),
        track: [
            user_id => user_id.0, first_used_at => first_used_at.unix_timestamp(),
            last_event_type => last_event_type, last_event_description => last_event_description,
        ],
        secret: [],
        ignore: [last_used_at, updated_at],
    }
}
