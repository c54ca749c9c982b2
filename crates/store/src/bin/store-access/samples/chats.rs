//! Chats, their messages and models, and the MCP servers that their agents may reach.

use rbac::{Action, Resource};
use serde_json::json;
use stdx::ids::{ChatId, ChatModelId, McpServerId, ReplicaId};
use store::chat_models::{
    DeleteModel, GetModel, GetUsageLimit, InsertModel, ListModels, ModelSettings, SetDefaultModel,
    UpdateModel, UpsertUsageLimit,
};
use store::chats::{
    AcquireChats, GetChat, HeartbeatChats, InsertChat, InsertMessages, InsertQueued, ListChats,
    ListMessages, ListQueued, PopQueued, ReleaseStaleChats, UpdateChat, UpdateStatus,
};
use store::mcp_servers::{
    DeleteMcpServer, DeleteUserToken, GetMcpServer, GetUserToken, InsertMcpServer, ListMcpServers,
    McpSettings, NewSecrets, UpdateMcpServer, UpsertUserToken,
};
use store::user_links::Tokens;
use uuid::Uuid;

use super::{NEW, NOW, ORGANIZATION, Refusal, USER, Visitor};

const CHAT: ChatId = ChatId::new(Uuid::from_u128(0xb1000000_0000_4000_8000_000000000001));
const MODEL: ChatModelId =
    ChatModelId::new(Uuid::from_u128(0xb0000000_0000_4000_8000_000000000001));
const SERVER: McpServerId =
    McpServerId::new(Uuid::from_u128(0xb2000000_0000_4000_8000_000000000001));
const WORKER: ReplicaId = ReplicaId::new(Uuid::from_u128(0x92000000_0000_4000_8000_000000000001));

pub(super) fn visit(v: &mut impl Visitor) {
    chats(v);
    work(v);
    messages(v);
    models(v);
    servers(v);
}

fn chats(v: &mut impl Visitor) {
    v.visit(
        InsertChat {
            id: ChatId::new(NEW),
            owner_id: USER,
            organization_id: ORGANIZATION,
            workspace_id: None,
            parent: Some(CHAT),
            title: "New".to_owned(),
            status: "waiting",
            client_type: "ui",
            model_config_id: MODEL,
            mode: None,
            plan_mode: None,
            mcp_server_ids: vec![SERVER],
            labels: json!({}),
            dynamic_tools: None,
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(GetChat { id: CHAT }, Refusal::Row(Action::Read, Resource::Chat));
    let list = ListChats {
        owner_id: USER,
        archived: None,
        labels: None,
        after: None,
        offset: 0,
        limit: 10,
    };
    v.visit(list, Refusal::Empty(Vec::is_empty));
    let update = UpdateChat { archived: Some(true), ..UpdateChat::of(CHAT, NOW) };
    v.visit(update, Refusal::Row(Action::Update, Resource::Chat));
}

fn work(v: &mut impl Visitor) {
    v.visit(
        UpdateStatus { id: CHAT, status: "pending", last_error: None, worker_id: None, now: NOW },
        Refusal::Row(Action::Update, Resource::Chat),
    );
    v.visit(AcquireChats { worker_id: WORKER, now: NOW, limit: 10 }, Refusal::Inputs);
    v.visit(HeartbeatChats { worker_id: WORKER, ids: vec![CHAT], now: NOW }, Refusal::Inputs);
    v.visit(ReleaseStaleChats { silent_since: NOW, now: NOW, limit: 10 }, Refusal::Inputs);
}

fn messages(v: &mut impl Visitor) {
    let api_key_id = || Some("abcdefghij".to_owned());
    v.visit(
        InsertMessages { chat_id: CHAT, api_key_id: api_key_id(), messages: Vec::new(), now: NOW },
        Refusal::Row(Action::Update, Resource::Chat),
    );
    v.visit(ListMessages { chat_id: CHAT, after: 0, limit: 10 }, Refusal::Empty(Vec::is_empty));
    let content = json!([{ "type": "text", "text": "more" }]);
    v.visit(
        InsertQueued { chat_id: CHAT, api_key_id: api_key_id(), content, now: NOW },
        Refusal::Row(Action::Update, Resource::Chat),
    );
    v.visit(ListQueued { chat_id: CHAT }, Refusal::Empty(Vec::is_empty));
    v.visit(PopQueued { chat_id: CHAT }, Refusal::Row(Action::Update, Resource::Chat));
}

fn models(v: &mut impl Visitor) {
    let settings = ModelSettings {
        ai_provider_id: None,
        provider: "openai".to_owned(),
        model: "gpt".to_owned(),
        display_name: "New".to_owned(),
        enabled: true,
        context_limit: 100_000,
        compression_threshold: 70,
        options: json!({}),
    };
    let (id, by, now) = (ChatModelId::new(NEW), Some(USER), NOW);
    v.visit(
        InsertModel { id, settings: settings.clone(), is_default: false, by, now },
        Refusal::Inputs,
    );
    v.visit(GetModel { id: MODEL }, Refusal::Inputs);
    v.visit(ListModels { only_enabled: true }, Refusal::Empty(Vec::is_empty));
    v.visit(UpdateModel { id: MODEL, settings, by, now }, Refusal::Inputs);
    v.visit(SetDefaultModel { id: MODEL, by, now }, Refusal::Inputs);
    v.visit(DeleteModel { id: MODEL, by, now }, Refusal::Inputs);
    v.visit(GetUsageLimit, Refusal::Inputs);
    v.visit(
        UpsertUsageLimit { enabled: true, default_limit_micros: 1, period: "day", now },
        Refusal::Inputs,
    );
}

fn servers(v: &mut impl Visitor) {
    let settings = McpSettings {
        display_name: "New".to_owned(),
        slug: "new".to_owned(),
        description: String::new(),
        url: "https://new.example.com/".to_owned(),
        auth_type: "none".to_owned(),
        oauth2_client_id: String::new(),
        api_key_header: String::new(),
        enabled: true,
    };
    let (secrets, now) = (NewSecrets::default, NOW);
    v.visit(
        InsertMcpServer {
            id: McpServerId::new(NEW),
            settings: settings.clone(),
            secrets: secrets(),
            now,
        },
        Refusal::Inputs,
    );
    v.visit(GetMcpServer { id: SERVER }, Refusal::Inputs);
    v.visit(ListMcpServers { only_enabled: true, ids: None }, Refusal::Empty(Vec::is_empty));
    v.visit(UpdateMcpServer { id: SERVER, settings, secrets: secrets(), now }, Refusal::Inputs);
    v.visit(DeleteMcpServer { id: SERVER }, Refusal::Inputs);
    let (user_id, server_id, token_type) = (USER, SERVER, "Bearer".to_owned());
    let tokens = Tokens::default();
    v.visit(
        UpsertUserToken { id: NEW, user_id, server_id, tokens, token_type, now },
        Refusal::Inputs,
    );
    v.visit(GetUserToken { user_id, server_id }, Refusal::Inputs);
    v.visit(DeleteUserToken { user_id, server_id }, Refusal::Inputs);
}
