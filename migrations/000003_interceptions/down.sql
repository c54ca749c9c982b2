DROP TABLE aibridge_model_thoughts;
DROP TABLE aibridge_tool_usages;
DROP TABLE aibridge_user_prompts;
DROP TABLE aibridge_token_usages;
DROP TABLE aibridge_interceptions;
DROP FUNCTION aibridge_ensure_partitions;
DROP FUNCTION uuid_v7_floor;
