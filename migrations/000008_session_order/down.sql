DROP INDEX aibridge_interceptions_provider_name_idx;
DROP INDEX aibridge_interceptions_client_idx;
DROP INDEX aibridge_interceptions_model_idx;
DROP INDEX aibridge_interceptions_session_idx;
CREATE INDEX aibridge_interceptions_model_idx   ON aibridge_interceptions (model);
CREATE INDEX aibridge_interceptions_client_idx  ON aibridge_interceptions (client);
CREATE INDEX aibridge_interceptions_session_idx ON aibridge_interceptions (session_id) WHERE ended_at IS NOT NULL;
