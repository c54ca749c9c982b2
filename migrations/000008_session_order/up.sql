-- Lists of sessions walk from the newest interception on and ask of each whether a newer one of its session is there.
DROP INDEX aibridge_interceptions_session_idx;
CREATE INDEX aibridge_interceptions_session_idx
    ON aibridge_interceptions (session_id, initiator_id, started_at DESC, id DESC) WHERE ended_at IS NOT NULL;
-- Lists of names leap from one to the next, and what has a name is listed newest first.
DROP INDEX aibridge_interceptions_model_idx;
DROP INDEX aibridge_interceptions_client_idx;
CREATE INDEX aibridge_interceptions_model_idx
    ON aibridge_interceptions (model, started_at DESC, id DESC) WHERE ended_at IS NOT NULL;
CREATE INDEX aibridge_interceptions_client_idx
    ON aibridge_interceptions (client, started_at DESC, id DESC) WHERE ended_at IS NOT NULL;
CREATE INDEX aibridge_interceptions_provider_name_idx
    ON aibridge_interceptions (provider_name, started_at DESC, id DESC) WHERE ended_at IS NOT NULL;
