DROP TABLE ai_gateway_keys;
