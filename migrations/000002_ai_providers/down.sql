DROP TABLE ai_provider_keys;
DROP TABLE ai_providers;
