use store::purge::{
    DeleteExpiredApiKeys, DeleteExpiredCodes, DeleteExpiredTokens, DeleteOldAppSessions,
    DeleteOldConnectionLogs, DeleteOldInterceptions, DeleteOldTelemetryLocks, DeleteStaleReplicas,
    DeleteUnseenProvisioners, DropOldMonths, MeasureTables,
};

use super::{NOW, Refusal, Visitor};

pub(super) fn visit(v: &mut impl Visitor) {
    let (before, limit) = (NOW, 10);
    v.visit(DropOldMonths { before }, Refusal::Inputs);
    v.visit(DeleteOldInterceptions { before, limit }, Refusal::Inputs);
    v.visit(DeleteExpiredApiKeys { before, limit }, Refusal::Inputs);
    v.visit(DeleteOldConnectionLogs { before, limit }, Refusal::Inputs);
    v.visit(DeleteOldAppSessions { before, limit }, Refusal::Inputs);
    v.visit(MeasureTables, Refusal::Inputs);
    v.visit(DeleteExpiredCodes { before, limit }, Refusal::Inputs);
    v.visit(DeleteExpiredTokens { before, limit }, Refusal::Inputs);
    v.visit(DeleteUnseenProvisioners { before, limit }, Refusal::Inputs);
    v.visit(DeleteOldTelemetryLocks { before, limit }, Refusal::Inputs);
    v.visit(DeleteStaleReplicas { before, limit }, Refusal::Inputs);
}
