//! Logs, metric declarations and redaction.
