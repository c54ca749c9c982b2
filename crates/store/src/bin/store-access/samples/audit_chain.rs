use store::audit_chain::{DeleteOldAuditLogs, MakeCheckpoint, RotateSigningKey};

use super::{NOW, Refusal, Visitor};

pub(super) fn visit(v: &mut impl Visitor) {
    v.visit(MakeCheckpoint { rows_min: 1, old: NOW, now: NOW }, Refusal::Inputs);
    v.visit(RotateSigningKey { now: NOW }, Refusal::Inputs);
    v.visit(DeleteOldAuditLogs { before: NOW, limit: 10, now: NOW }, Refusal::Inputs);
}
