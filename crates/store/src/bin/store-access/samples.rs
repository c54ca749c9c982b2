//! One value of every query. Identifiers are those of the rows in `fixtures/sql`, so that a query which
//! looks at a row first finds it. The integration tests go through the same list.

#[path = "samples/ai.rs"]
mod ai;
#[path = "samples/audit_chain.rs"]
mod audit_chain;
#[path = "samples/chats.rs"]
mod chats;
#[path = "samples/connection_logs.rs"]
mod connection_logs;
#[path = "samples/crypto_keys.rs"]
mod crypto_keys;
#[path = "samples/licenses.rs"]
mod licenses;
#[path = "samples/oauth2.rs"]
mod oauth2;
#[path = "samples/people.rs"]
mod people;
#[path = "samples/personal.rs"]
mod personal;
#[path = "samples/provisioner_keys.rs"]
mod provisioner_keys;
#[path = "samples/purge.rs"]
mod purge;
#[path = "samples/state.rs"]
mod state;
#[path = "samples/workspaces.rs"]
mod workspaces;

use std::net::{IpAddr, Ipv4Addr};

use rbac::{Action, Resource, RoleOptions, Sharing};
use serde_json::Value;
use stdx::Secret;
use stdx::ids::{
    AuditId, CustomRoleId, GatewayKeyId, GroupId, InterceptionId, OrganizationId, ProviderId,
    ProviderKeyId, RequestId, UserId,
};
use store::ai_providers::{
    DeleteKey, DeleteProvider, GetProvider, InsertKey, InsertProvider, ListKeys, ListProviders,
    ListServed, NewSettings, ProviderRef, UpdateProvider,
};
use store::api_keys::{
    ApiKey, DeleteApiKey, ExpireApiKey, GetApiKey, GetTokenByName, InsertApiKey, ListTokens,
    TouchApiKey,
};
use store::audit_logs::{
    AuditLog, CountAuditLogs, InsertAuditLog, ListAuditLogs, ListDeleted, Perishable,
};
use store::custom_roles::{DeleteCustomRole, InsertCustomRole, ListCustomRoles, UpdateCustomRole};
use store::gateway_keys::{
    DeleteGatewayKey, FindByHash, HashedGatewayKey, InsertGatewayKey, ListExisting,
    ListGatewayKeys, TouchGatewayKeys,
};
use store::groups::GetGroup;
use store::interceptions::{
    CompareFacts, CountInterceptions, CountSessions, EnsurePartitions, Facts, GetLineageByToolCall,
    GetSession, IngestFacts, ListClients, ListInterceptions, ListModels, ListProviderNames,
    ListSessions, ListThreads, Page, Session, SumTokenDetails, SummarizeForTelemetry, SweepOpen,
};
use store::locks::{Acquire, Lock, TryAcquire};
use store::members::{GetMember, ListMemberships, UpdateMemberRoles};
use store::organizations::{
    GetByName, GetDefault, GetOrganization, InsertMember, InsertOrganization, ListByIds,
    ListIdsOfUser, UpdateSharing,
};
use store::pubsub::{Channel, Publish};
use store::site_configs::{DEPLOYMENT_ID, GetOrInsert};
use store::system_roles::ReconcileSystemRoles;
use store::users::{
    AnyExists, FindLogin, GetAuthorization, GetUser, GetUserByName, InsertUser, UpdateLastSeen,
    UpdatePasswordHash, UpdateRoles, UpdateStatus, UserName,
};
use store::{Pk, Query, audit_logs, interceptions};
use time::OffsetDateTime;
use uuid::Uuid;

const USER: UserId = UserId::new(Uuid::from_u128(0x10000000_0000_4000_8000_000000000001));
const ORGANIZATION: OrganizationId =
    OrganizationId::new(Uuid::from_u128(0x20000000_0000_4000_8000_000000000001));
const GROUP: GroupId = GroupId::new(Uuid::from_u128(0x30000000_0000_4000_8000_000000000001));
const PROVIDER: ProviderId =
    ProviderId::new(Uuid::from_u128(0x40000000_0000_4000_8000_000000000001));
const KEY: ProviderKeyId =
    ProviderKeyId::new(Uuid::from_u128(0x41000000_0000_4000_8000_000000000001));
const INTERCEPTION: InterceptionId =
    InterceptionId::new(Uuid::from_u128(0x019b76da_a800_7000_8000_000000000001));
const GATEWAY_KEY: GatewayKeyId =
    GatewayKeyId::new(Uuid::from_u128(0x60000000_0000_4000_8000_000000000001));
const NEW: Uuid = Uuid::from_u128(0x99000000_0000_4000_8000_000000000001);
const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// What a subject without any right gets.
pub(crate) enum Refusal<Q: Query> {
    /// Denied from the inputs alone.
    Inputs,
    /// Denied to do this to such a thing, after a look at the row.
    Row(Action, Resource),
    /// An answer without rows; the function says whether it is one.
    Empty(fn(&Q::Out) -> bool),
    /// What everybody gets.
    Nothing,
}

/// What is done with each sample.
pub(crate) trait Visitor {
    fn visit<Q: Query>(&mut self, query: Q, refusal: Refusal<Q>);
}

/// Goes through all queries. A query that is missing here fails the test of the lists.
pub(crate) fn visit_all(visitor: &mut impl Visitor) {
    users(visitor);
    organizations(visitor);
    roles(visitor);
    api_keys(visitor);
    ai_providers(visitor);
    gateway_keys(visitor);
    recorded(visitor);
    audit(visitor);
    deployment(visitor);
    audit_chain::visit(visitor);
    ai::visit(visitor);
    connection_logs::visit(visitor);
    crypto_keys::visit(visitor);
    purge::visit(visitor);
    people::visit(visitor);
    personal::visit(visitor);
    licenses::visit(visitor);
    provisioner_keys::visit(visitor);
    state::visit(visitor);
    chats::visit(visitor);
    workspaces::visit(visitor);
    oauth2::visit(visitor);
}

fn users(v: &mut impl Visitor) {
    v.visit(AnyExists, Refusal::Nothing);
    v.visit(GetUser { id: USER }, Refusal::Inputs);
    v.visit(
        GetUserByName { username: "alice".to_owned() },
        Refusal::Row(Action::Read, Resource::User),
    );
    v.visit(FindLogin { email: "alice@example.com".to_owned() }, Refusal::Inputs);
    v.visit(
        InsertUser {
            id: UserId::new(NEW),
            email: "new@example.com".to_owned(),
            username: "new".to_owned(),
            name: String::new(),
            hashed_password: String::new(),
            status: "active",
            rbac_roles: Vec::new(),
            login_type: "password",
            is_service_account: false,
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(UpdateStatus { id: USER, status: "active", now: NOW }, Refusal::Inputs);
    let roles = vec!["owner".to_owned(), "auditor".to_owned()];
    v.visit(
        UpdateRoles { id: USER, roles, now: NOW },
        Refusal::Row(Action::Assign, Resource::AssignRole),
    );
    let (known, new) = (String::new(), "$".to_owned());
    v.visit(UpdatePasswordHash { id: USER, known, new }, Refusal::Inputs);
    v.visit(UpdateLastSeen { id: USER, now: NOW }, Refusal::Inputs);
    v.visit(GetAuthorization { id: USER }, Refusal::Inputs);
}

fn roles(v: &mut impl Visitor) {
    let (id, name, display_name) =
        (CustomRoleId::new(NEW), "new-role".to_owned(), "New".to_owned());
    let grants = vec![(Action::Read, Resource::Group)];
    v.visit(ListCustomRoles { organization_id: ORGANIZATION }, Refusal::Inputs);
    v.visit(
        InsertCustomRole {
            id,
            organization_id: ORGANIZATION,
            name,
            display_name: display_name.clone(),
            grants: grants.clone(),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(
        UpdateCustomRole {
            organization_id: ORGANIZATION,
            name: "key-keeper".to_owned(),
            display_name,
            grants,
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(
        DeleteCustomRole { organization_id: ORGANIZATION, name: "key-keeper".to_owned() },
        Refusal::Inputs,
    );
    v.visit(GetMember { organization_id: ORGANIZATION, user_id: USER }, Refusal::Inputs);
    v.visit(ListMemberships { user_id: USER }, Refusal::Inputs);
    v.visit(
        UpdateMemberRoles {
            organization_id: ORGANIZATION,
            user_id: USER,
            roles: vec!["organization-admin".to_owned()],
            now: NOW,
        },
        Refusal::Row(Action::Assign, Resource::AssignOrgRole),
    );
    v.visit(
        ReconcileSystemRoles { organization_id: None, options: RoleOptions::default(), now: NOW },
        Refusal::Inputs,
    );
}

fn organizations(v: &mut impl Visitor) {
    v.visit(GetOrganization { id: ORGANIZATION }, Refusal::Inputs);
    v.visit(
        UpdateSharing { id: ORGANIZATION, sharing: Sharing::Everyone, now: NOW },
        Refusal::Inputs,
    );
    v.visit(GetDefault, Refusal::Row(Action::Read, Resource::Organization));
    v.visit(
        GetByName { name: "coder".to_owned() },
        Refusal::Row(Action::Read, Resource::Organization),
    );
    v.visit(ListByIds { ids: vec![ORGANIZATION] }, Refusal::Empty(Vec::is_empty));
    v.visit(
        InsertOrganization {
            id: OrganizationId::new(NEW),
            name: "new".to_owned(),
            display_name: String::new(),
            is_default: false,
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(
        InsertMember { organization_id: ORGANIZATION, user_id: USER, now: NOW },
        Refusal::Inputs,
    );
    v.visit(ListIdsOfUser { user_id: USER }, Refusal::Inputs);
    v.visit(GetGroup { id: GROUP }, Refusal::Row(Action::Read, Resource::Group));
}

fn api_keys(v: &mut impl Visitor) {
    let id = || "abcdefghij".to_owned();
    let ip_address = IpAddr::V4(Ipv4Addr::LOCALHOST).into();
    let key = ApiKey {
        id: "newkeynewk".to_owned(),
        hashed_secret: Vec::new(),
        user_id: Pk(USER),
        last_used: NOW,
        expires_at: NOW,
        created_at: NOW,
        updated_at: NOW,
        login_type: "password".to_owned(),
        lifetime_seconds: 1,
        ip_address,
        token_name: String::new(),
        scopes: vec!["coder:all".to_owned()],
        allow_list: vec!["*:*".to_owned()],
    };
    v.visit(InsertApiKey(key), Refusal::Inputs);
    v.visit(GetApiKey { id: id() }, Refusal::Row(Action::Read, Resource::ApiKey));
    v.visit(GetTokenByName { user_id: USER, token_name: "ci".to_owned() }, Refusal::Inputs);
    v.visit(ListTokens { user_id: None, live_at: None }, Refusal::Empty(Vec::is_empty));
    v.visit(
        TouchApiKey {
            id: id(),
            user_id: USER,
            now: NOW,
            known_expires_at: NOW,
            expires_at: NOW,
            ip_address,
        },
        Refusal::Inputs,
    );
    v.visit(ExpireApiKey { id: id(), now: NOW }, Refusal::Row(Action::Update, Resource::ApiKey));
    v.visit(DeleteApiKey { id: id() }, Refusal::Row(Action::Delete, Resource::ApiKey));
}

fn ai_providers(v: &mut impl Visitor) {
    v.visit(ListProviders { include_deleted: true }, Refusal::Inputs);
    v.visit(GetProvider(ProviderRef::Id(PROVIDER)), Refusal::Inputs);
    v.visit(
        InsertProvider {
            id: ProviderId::new(NEW),
            kind: "openai".to_owned(),
            name: "new".to_owned(),
            display_name: None,
            icon: String::new(),
            enabled: true,
            base_url: "https://api.openai.com/v1/".to_owned(),
            settings: None,
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(
        UpdateProvider {
            id: PROVIDER,
            display_name: None,
            icon: String::new(),
            enabled: false,
            base_url: "https://api.anthropic.com/".to_owned(),
            settings: NewSettings::Keep,
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(DeleteProvider { id: PROVIDER, now: NOW }, Refusal::Inputs);
    v.visit(ListKeys { provider_id: None }, Refusal::Inputs);
    v.visit(ListServed, Refusal::Inputs);
    v.visit(
        InsertKey {
            id: ProviderKeyId::new(NEW),
            provider_id: PROVIDER,
            api_key: Secret::from("sk-sample"),
            created_at: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(DeleteKey { provider_id: PROVIDER, id: KEY }, Refusal::Inputs);
}

fn gateway_keys(v: &mut impl Visitor) {
    let key = HashedGatewayKey {
        id: Pk(GatewayKeyId::new(NEW)),
        created_at: NOW,
        name: "new".to_owned(),
        secret_prefix: "cgw_0123456".to_owned(),
        hashed_secret: vec![1; 32],
        last_used_at: None,
    };
    v.visit(InsertGatewayKey(key), Refusal::Inputs);
    v.visit(ListGatewayKeys, Refusal::Inputs);
    v.visit(FindByHash { hashed_secret: vec![0x5a; 32] }, Refusal::Inputs);
    v.visit(ListExisting { ids: vec![GATEWAY_KEY] }, Refusal::Inputs);
    v.visit(TouchGatewayKeys { ids: vec![GATEWAY_KEY], now: NOW }, Refusal::Inputs);
    v.visit(DeleteGatewayKey { id: GATEWAY_KEY }, Refusal::Inputs);
}

fn recorded(v: &mut impl Visitor) {
    let filter = interceptions::Filter::default;
    let prefix = String::new;
    v.visit(IngestFacts(Facts::default().into()), Refusal::Inputs);
    v.visit(CompareFacts(Facts::default().into()), Refusal::Inputs);
    v.visit(SweepOpen { started_before: NOW, limit: 10 }, Refusal::Inputs);
    v.visit(EnsurePartitions { at: NOW }, Refusal::Inputs);
    v.visit(
        ListInterceptions { filter: filter(), after: None, offset: 0, limit: 10 },
        Refusal::Empty(|page: &Option<Page>| {
            page.as_ref().is_some_and(|page| page.interceptions.is_empty())
        }),
    );
    v.visit(CountInterceptions { filter: filter(), cap: 100 }, Refusal::Empty(|count| *count == 0));
    v.visit(ListModels { prefix: prefix(), offset: 0, limit: 10 }, Refusal::Empty(Vec::is_empty));
    v.visit(ListClients { prefix: prefix(), offset: 0, limit: 10 }, Refusal::Empty(Vec::is_empty));
    v.visit(
        ListProviderNames { prefix: prefix(), offset: 0, limit: 10 },
        Refusal::Empty(Vec::is_empty),
    );
    v.visit(
        ListSessions { filter: filter(), after: None, offset: 0, limit: 10 },
        Refusal::Empty(|(sessions, users): &(Vec<Session>, Vec<UserName>)| {
            sessions.is_empty() && users.is_empty()
        }),
    );
    v.visit(CountSessions { filter: filter(), cap: 100 }, Refusal::Empty(|count| *count == 0));
    v.visit(GetSession { session_id: INTERCEPTION.to_string() }, Refusal::Empty(Option::is_none));
    v.visit(
        ListThreads {
            session_id: INTERCEPTION.to_string(),
            initiator: USER,
            after: None,
            before: None,
            limit: 10,
        },
        Refusal::Empty(|page: &Option<Page>| {
            page.as_ref().is_some_and(|page| page.interceptions.is_empty())
        }),
    );
    v.visit(
        SumTokenDetails { session_id: INTERCEPTION.to_string(), initiator: USER },
        Refusal::Empty(Option::is_none),
    );
    let provider_tool_call_id = "toolu_01".to_owned();
    v.visit(GetLineageByToolCall { provider_tool_call_id }, Refusal::Inputs);
    v.visit(SummarizeForTelemetry { from: NOW, to: NOW }, Refusal::Inputs);
}

fn audit(v: &mut impl Visitor) {
    let filter = audit_logs::Filter::default;
    let log = AuditLog {
        id: Pk(AuditId::new(NEW)),
        time: NOW,
        user_id: Pk(USER),
        organization_id: Pk(OrganizationId::nil()),
        ip: None,
        user_agent: None,
        resource_type: "user".to_owned(),
        resource_id: NEW,
        resource_target: String::new(),
        resource_icon: String::new(),
        action: "create".to_owned(),
        diff: Value::Null,
        status_code: 201,
        additional_fields: Value::Null,
        request_id: Pk(RequestId::new(NEW)),
    };
    v.visit(InsertAuditLog(log), Refusal::Inputs);
    let list = ListAuditLogs { filter: filter(), after: None, offset: 0, limit: 0 };
    v.visit(list, Refusal::Empty(|page: &Option<Vec<_>>| page.as_ref().is_none_or(Vec::is_empty)));
    v.visit(CountAuditLogs { filter: filter(), cap: 100 }, Refusal::Empty(|count| *count == 0));
    let deleted = ListDeleted { kind: Perishable::User, ids: vec![USER.uuid()] };
    v.visit(deleted, Refusal::Inputs);
}

fn deployment(v: &mut impl Visitor) {
    v.visit(GetOrInsert { key: DEPLOYMENT_ID, value: String::new() }, Refusal::Inputs);
    v.visit(Acquire(Lock::Purge), Refusal::Nothing);
    v.visit(TryAcquire(Lock::Purge), Refusal::Nothing);
    v.visit(Publish { channel: Channel::AiProviders, payload: String::new() }, Refusal::Nothing);
}
