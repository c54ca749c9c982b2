-- A request that carries a tool's result may be stored before the one that called the tool: two gateways ship
-- their records each at its own pace. The call it waits for is kept, so that it is linked when that arrives.

ALTER TABLE aibridge_interceptions ADD COLUMN correlating_tool_call_id varchar(256);
CREATE INDEX aibridge_interceptions_waiting_idx ON aibridge_interceptions (correlating_tool_call_id, initiator_id, started_at)
    WHERE thread_parent_id IS NULL AND correlating_tool_call_id IS NOT NULL;
COMMENT ON COLUMN aibridge_interceptions.correlating_tool_call_id IS 'The tool call whose result the request carries. Without thread_parent_id: who called it is not stored (yet).';
