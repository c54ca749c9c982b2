use stdx::ids::{ConnectionLogId, WorkspaceAgentId, WorkspaceId};
use store::connection_logs::{
    Connection, ConnectionEvent, CountConnectionLogs, Filter, ListConnectionLogs, NoteAppRequest,
    Terminal, UpsertConnectionLogs,
};
use uuid::Uuid;

use super::{NEW, NOW, Refusal, Visitor};

const WORKSPACE: WorkspaceId =
    WorkspaceId::new(Uuid::from_u128(0xa3000000_0000_4000_8000_000000000001));

const AGENT: WorkspaceAgentId =
    WorkspaceAgentId::new(Uuid::from_u128(0xa6000000_0000_4000_8000_000000000001));

pub(super) fn visit(v: &mut impl Visitor) {
    let event = ConnectionEvent {
        id: ConnectionLogId::new(NEW),
        time: NOW,
        workspace_id: WORKSPACE,
        agent_name: "main".to_owned(),
        ip: None,
        connection: Connection::Opened { terminal: Terminal::Ssh, connection_id: NEW },
    };
    v.visit(UpsertConnectionLogs(vec![event]), Refusal::Inputs);
    let request = NoteAppRequest {
        id: NEW,
        agent_id: AGENT,
        app_id: None,
        user_id: None,
        ip: None,
        user_agent: String::new(),
        slug_or_port: "8080".to_owned(),
        status_code: 200,
        now: NOW,
        window: time::Duration::MINUTE,
    };
    v.visit(request, Refusal::Inputs);
    let filter = Filter::default();
    let list = ListConnectionLogs { filter: filter.clone(), after: None, offset: 0, limit: 0 };
    v.visit(list, Refusal::Empty(|page: &Option<Vec<_>>| page.as_ref().is_none_or(Vec::is_empty)));
    v.visit(CountConnectionLogs { filter, cap: 10 }, Refusal::Empty(|count| *count == 0));
}
