//! Workspaces with their templates, agents and tasks.

use std::collections::BTreeMap;

use rbac::{Action, Resource};
use serde_json::json;
use stdx::Secret;
use stdx::ids::{TaskId, TemplateId, TemplateVersionId, UserId, WorkspaceAgentId, WorkspaceId};
use store::tasks::{DeleteTask, GetTask, GetTaskByOwnerAndName, InsertTask, ListTasks};
use store::templates::{GetTemplate, UpdateTemplateAcl};
use store::workspace_agents::{
    DeleteSubAgent, FindAuthenticatedAgent, GetAgentWithWorkspace, ListAgentsOfLatestBuild,
    ListMetadata, ListSubAgents, NewMetadata, UpdateMetadata,
};
use store::workspaces::{
    CountWorkspaces, DeleteWorkspaceAcl, Filter, GetWorkspace, GetWorkspaceAcl, ListWorkspaces,
    UpdateWorkspaceAcl,
};
use uuid::Uuid;

use super::{NEW, NOW, ORGANIZATION, Refusal, USER, Visitor};

const TEMPLATE: TemplateId =
    TemplateId::new(Uuid::from_u128(0xa1000000_0000_4000_8000_000000000001));
const VERSION: TemplateVersionId =
    TemplateVersionId::new(Uuid::from_u128(0xa2000000_0000_4000_8000_000000000001));
const WORKSPACE: WorkspaceId =
    WorkspaceId::new(Uuid::from_u128(0xa3000000_0000_4000_8000_000000000001));
const AGENT: WorkspaceAgentId =
    WorkspaceAgentId::new(Uuid::from_u128(0xa6000000_0000_4000_8000_000000000001));
const SUB_AGENT: WorkspaceAgentId =
    WorkspaceAgentId::new(Uuid::from_u128(0xa6000000_0000_4000_8000_000000000002));
const TOKEN: Uuid = Uuid::from_u128(0xa7000000_0000_4000_8000_000000000001);
const TASK: TaskId = TaskId::new(Uuid::from_u128(0xa8000000_0000_4000_8000_000000000001));

pub(super) fn visit(v: &mut impl Visitor) {
    workspaces(v);
    agents(v);
    tasks(v);
    v.visit(GetTemplate { id: TEMPLATE }, Refusal::Row(Action::Read, Resource::Template));
    v.visit(
        UpdateTemplateAcl { id: TEMPLATE, users: BTreeMap::new(), groups: BTreeMap::new() },
        Refusal::Row(Action::Create, Resource::Template),
    );
}

fn workspaces(v: &mut impl Visitor) {
    let filter = Filter::default;
    v.visit(
        ListWorkspaces { filter: filter(), offset: 0, limit: 10 },
        Refusal::Empty(Vec::is_empty),
    );
    v.visit(CountWorkspaces { filter: filter(), cap: 100 }, Refusal::Empty(|count| *count == 0));
    v.visit(GetWorkspace { id: WORKSPACE }, Refusal::Row(Action::Read, Resource::Workspace));
    v.visit(GetWorkspaceAcl { id: WORKSPACE }, Refusal::Row(Action::Read, Resource::Workspace));
    let users = BTreeMap::from([(UserId::new(NEW), Action::Read.into())]);
    v.visit(
        UpdateWorkspaceAcl { id: WORKSPACE, users, groups: BTreeMap::new() },
        Refusal::Row(Action::Share, Resource::Workspace),
    );
    v.visit(DeleteWorkspaceAcl { id: WORKSPACE }, Refusal::Row(Action::Share, Resource::Workspace));
}

fn agents(v: &mut impl Visitor) {
    v.visit(
        FindAuthenticatedAgent { auth_token: Secret::new(TOKEN.into_bytes()) },
        Refusal::Inputs,
    );
    v.visit(GetAgentWithWorkspace { id: AGENT }, Refusal::Row(Action::Read, Resource::Workspace));
    v.visit(
        ListAgentsOfLatestBuild { workspace_id: WORKSPACE },
        Refusal::Row(Action::Read, Resource::Workspace),
    );
    v.visit(ListSubAgents { parent_id: AGENT }, Refusal::Row(Action::Read, Resource::Workspace));
    v.visit(
        DeleteSubAgent { id: SUB_AGENT, now: NOW },
        Refusal::Row(Action::DeleteAgent, Resource::Workspace),
    );
    let new = NewMetadata {
        agent_id: AGENT,
        key: "cpu".to_owned(),
        value: "7".to_owned(),
        error: String::new(),
        collected_at: NOW,
    };
    v.visit(UpdateMetadata(vec![new]), Refusal::Row(Action::Update, Resource::Workspace));
    v.visit(ListMetadata { agent_id: AGENT }, Refusal::Row(Action::Read, Resource::Workspace));
}

fn tasks(v: &mut impl Visitor) {
    v.visit(GetTask { id: TASK }, Refusal::Row(Action::Read, Resource::Workspace));
    v.visit(
        GetTaskByOwnerAndName { owner_id: USER, name: "fix-build".to_owned() },
        Refusal::Row(Action::Read, Resource::Workspace),
    );
    v.visit(
        ListTasks { owner_id: USER, dormant: false, offset: 0, limit: 10 },
        Refusal::Empty(Vec::is_empty),
    );
    v.visit(
        InsertTask {
            id: TaskId::new(NEW),
            organization_id: ORGANIZATION,
            owner_id: USER,
            name: "new".to_owned(),
            display_name: String::new(),
            workspace_id: Some(WORKSPACE),
            template_version_id: VERSION,
            template_parameters: json!({}),
            prompt: String::new(),
            now: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(DeleteTask { id: TASK, now: NOW }, Refusal::Row(Action::Delete, Resource::Workspace));
}
