//! The variables from which AI providers are seeded into the database, once.

use stdx::Secret;
use url::Url;

use super::gateway::old_names;
use super::options;
use crate::check;
use crate::groups::AI_GATEWAY;
use crate::row::Alias;

const INSTEAD: &str = "the provider list of the deployment (these options only seed it)";

options! {
    /// The variables from which AI providers are seeded once. See [`crate::ai_providers`].
    GatewaySeed at "gateway_seed" {
        /// Base URL of OpenAI or of a service that speaks its protocol.
        openai_base_url: Url = "https://api.openai.com/v1/" {
            name: "AI Gateway OpenAI Base URL", env: "CODER_AI_GATEWAY_OPENAI_BASE_URL",
            flag: "ai-gateway-openai-base-url", yaml: "openai_base_url", group: &AI_GATEWAY,
            check: Some(check::http_url), use_instead: INSTEAD,
            aliases: old_names!("OPENAI_BASE_URL", "openai-base-url", "openai_base_url"),
        },
        /// Key for OpenAI.
        openai_key: Option<Secret<String>> = "" {
            name: "AI Gateway OpenAI Key", env: "CODER_AI_GATEWAY_OPENAI_KEY",
            flag: "ai-gateway-openai-key", group: &AI_GATEWAY, use_instead: INSTEAD,
            aliases: old_names!("OPENAI_KEY", "openai-key"),
        },
        /// Base URL of Anthropic.
        anthropic_base_url: Url = "https://api.anthropic.com/" {
            name: "AI Gateway Anthropic Base URL", env: "CODER_AI_GATEWAY_ANTHROPIC_BASE_URL",
            flag: "ai-gateway-anthropic-base-url", yaml: "anthropic_base_url", group: &AI_GATEWAY,
            check: Some(check::http_url), use_instead: INSTEAD,
            aliases: old_names!("ANTHROPIC_BASE_URL", "anthropic-base-url", "anthropic_base_url"),
        },
        /// Key for Anthropic.
        anthropic_key: Option<Secret<String>> = "" {
            name: "AI Gateway Anthropic Key", env: "CODER_AI_GATEWAY_ANTHROPIC_KEY",
            flag: "ai-gateway-anthropic-key", group: &AI_GATEWAY, use_instead: INSTEAD,
            aliases: old_names!("ANTHROPIC_KEY", "anthropic-key"),
        },
        /// Base URL of AWS Bedrock. Beats the region.
        bedrock_base_url: Option<Url> = "" {
            name: "AI Gateway Bedrock Base URL", env: "CODER_AI_GATEWAY_BEDROCK_BASE_URL",
            flag: "ai-gateway-bedrock-base-url", yaml: "bedrock_base_url", group: &AI_GATEWAY,
            check: Some(check::http_url), use_instead: INSTEAD,
            aliases: old_names!("BEDROCK_BASE_URL", "bedrock-base-url", "bedrock_base_url"),
        },
        /// AWS region of Bedrock.
        bedrock_region: String = "" {
            name: "AI Gateway Bedrock Region", env: "CODER_AI_GATEWAY_BEDROCK_REGION",
            flag: "ai-gateway-bedrock-region", yaml: "bedrock_region", group: &AI_GATEWAY,
            use_instead: INSTEAD,
            aliases: old_names!("BEDROCK_REGION", "bedrock-region", "bedrock_region"),
        },
        /// AWS access key id for Bedrock.
        bedrock_access_key: Option<Secret<String>> = "" {
            name: "AI Gateway Bedrock Access Key", env: "CODER_AI_GATEWAY_BEDROCK_ACCESS_KEY",
            flag: "ai-gateway-bedrock-access-key", group: &AI_GATEWAY, use_instead: INSTEAD,
            aliases: old_names!("BEDROCK_ACCESS_KEY", "bedrock-access-key"),
        },
        /// AWS secret access key for Bedrock.
        bedrock_access_key_secret: Option<Secret<String>> = "" {
            name: "AI Gateway Bedrock Access Key Secret",
            env: "CODER_AI_GATEWAY_BEDROCK_ACCESS_KEY_SECRET",
            flag: "ai-gateway-bedrock-access-key-secret", group: &AI_GATEWAY, use_instead: INSTEAD,
            aliases: old_names!("BEDROCK_ACCESS_KEY_SECRET", "bedrock-access-key-secret"),
        },
        /// Model that Bedrock is asked for.
        bedrock_model: String = "global.anthropic.claude-sonnet-4-5-20250929-v1:0" {
            name: "AI Gateway Bedrock Model", env: "CODER_AI_GATEWAY_BEDROCK_MODEL",
            flag: "ai-gateway-bedrock-model", yaml: "bedrock_model", group: &AI_GATEWAY,
            use_instead: INSTEAD,
            aliases: old_names!("BEDROCK_MODEL", "bedrock-model", "bedrock_model"),
        },
        /// Model that Bedrock is asked for when the client wants a small, fast one.
        bedrock_small_fast_model: String = "global.anthropic.claude-haiku-4-5-20251001-v1:0" {
            name: "AI Gateway Bedrock Small Fast Model",
            env: "CODER_AI_GATEWAY_BEDROCK_SMALL_FAST_MODEL",
            flag: "ai-gateway-bedrock-small-fastmodel", yaml: "bedrock_small_fast_model",
            group: &AI_GATEWAY, use_instead: INSTEAD,
            aliases: &[
                Alias {
                    env: "", flag: "ai-gateway-bedrock-small-fast-model", yaml: "",
                    deprecated: false,
                },
                Alias {
                    env: "CODER_AIBRIDGE_BEDROCK_SMALL_FAST_MODEL",
                    flag: "aibridge-bedrock-small-fastmodel",
                    yaml: "aibridge.bedrock_small_fast_model", deprecated: true,
                },
            ],
        },
    }
}
