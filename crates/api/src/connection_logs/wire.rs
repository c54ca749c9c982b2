use sdk::{ConnectionLogSshInfo, ConnectionLogWebInfo, ConnectionType, MinimalOrganization};
use store::Error;
use store::connection_logs::{ConnectionLog, ListedConnection};
use store::organizations::Organization;

use crate::error::ApiResult;
use crate::users;

/// The kinds, as rows and searches name them.
pub(super) const KINDS: [(&str, ConnectionType); 6] = [
    ("ssh", ConnectionType::Ssh),
    ("vscode", ConnectionType::Vscode),
    ("jetbrains", ConnectionType::Jetbrains),
    ("reconnecting_pty", ConnectionType::ReconnectingPty),
    ("workspace_app", ConnectionType::WorkspaceApp),
    ("port_forwarding", ConnectionType::PortForwarding),
];

/// A row as the wire has it.
pub(super) fn to_wire(
    listed: ListedConnection,
    organizations: &[Organization],
) -> ApiResult<sdk::ConnectionLog> {
    let ListedConnection { log, workspace_owner, user } = listed;
    let kind = KINDS.iter().find(|(name, _)| *name == log.kind).map(|(_, kind)| *kind);
    let kind = kind.ok_or_else(|| corrupt(&log, "type"))?;
    // Whoever may not see the organization itself still learns which one it is.
    let named = organizations.iter().find(|found| found.id == log.organization_id);
    let text = |of: fn(&Organization) -> &String| named.map(of).cloned().unwrap_or_default();
    let organization = MinimalOrganization {
        id: log.organization_id.0.uuid(),
        name: text(|found| &found.name),
        display_name: text(|found| &found.display_name),
        icon: text(|found| &found.icon),
    };
    let (web_info, ssh_info) = match kind {
        ConnectionType::WorkspaceApp | ConnectionType::PortForwarding => {
            let info = ConnectionLogWebInfo {
                user_agent: log.user_agent.clone().unwrap_or_default(),
                user: user.map(|user| users::to_wire(user, Vec::new())),
                slug_or_port: log.slug_or_port.clone().unwrap_or_default(),
                status_code: log.code.unwrap_or_default(),
            };
            (Some(info), None)
        }
        _ => {
            let info = ConnectionLogSshInfo {
                connection_id: log.connection_id.ok_or_else(|| corrupt(&log, "connection_id"))?,
                disconnect_time: log.disconnect_time.map(Into::into),
                disconnect_reason: log.disconnect_reason.clone(),
                exit_code: log.code,
            };
            (None, Some(info))
        }
    };
    Ok(sdk::ConnectionLog {
        id: log.id.0.uuid(),
        connect_time: log.connect_time.into(),
        organization,
        workspace_owner_id: log.workspace_owner_id.0.uuid(),
        workspace_owner_username: workspace_owner,
        workspace_id: log.workspace_id.0.uuid(),
        workspace_name: log.workspace_name,
        agent_name: log.agent_name,
        ip: log.ip.map(|network| network.addr().to_string()),
        kind,
        web_info,
        ssh_info,
    })
}

fn corrupt(log: &ConnectionLog, column: &'static str) -> Error {
    Error::Corrupt { table: "connection_logs", column, row: log.id.0.to_string() }
}
