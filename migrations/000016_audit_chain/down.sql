DROP TABLE connection_logs;
DROP TABLE audit_checkpoints;
DROP TABLE audit_signing_keys;
DROP TABLE audit_chain;
DROP INDEX audit_logs_sequence_key;
ALTER TABLE audit_logs
    DROP CONSTRAINT audit_logs_chained,
    DROP COLUMN hash,
    DROP COLUMN previous_hash,
    DROP COLUMN sequence;
COMMENT ON TABLE audit_logs IS NULL;
