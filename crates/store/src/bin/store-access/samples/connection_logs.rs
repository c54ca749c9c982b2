use stdx::ids::{ConnectionLogId, WorkspaceId};
use store::connection_logs::{
    Connection, ConnectionEvent, CountConnectionLogs, Filter, ListConnectionLogs, Terminal,
    UpsertConnectionLogs,
};
use uuid::Uuid;

use super::{NEW, NOW, Refusal, Visitor};

const WORKSPACE: WorkspaceId =
    WorkspaceId::new(Uuid::from_u128(0xa3000000_0000_4000_8000_000000000001));

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
    let filter = Filter::default();
    let list = ListConnectionLogs { filter: filter.clone(), after: None, offset: 0, limit: 0 };
    v.visit(list, Refusal::Empty(|page: &Option<Vec<_>>| page.as_ref().is_none_or(Vec::is_empty)));
    v.visit(CountConnectionLogs { filter, cap: 10 }, Refusal::Empty(|count| *count == 0));
}
