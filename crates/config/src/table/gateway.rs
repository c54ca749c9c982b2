//! The AI gateway and its budgets.

use std::path::PathBuf;
use std::time::Duration;

use super::{GATEWAYS, options};
use crate::groups::AI_GATEWAY;
use crate::value::{BudgetPeriod, BudgetPolicy, ByteSize, UnpricedPolicy};

/// The names of an option from the time when the gateway was called AI Bridge.
macro_rules! old_names {
    ($env:literal, $flag:literal) => {
        &[$crate::row::Alias {
            env: concat!("CODER_AIBRIDGE_", $env),
            flag: concat!("aibridge-", $flag),
            yaml: "",
            deprecated: true,
        }]
    };
    ($env:literal, $flag:literal, $yaml:literal) => {
        &[$crate::row::Alias {
            env: concat!("CODER_AIBRIDGE_", $env),
            flag: concat!("aibridge-", $flag),
            yaml: concat!("aibridge.", $yaml),
            deprecated: true,
        }]
    };
}
pub(super) use old_names;

/// Timeouts of less are over before a provider can do anything, those of more are none.
const TIMEOUTS: Option<(i128, i128)> = Some((100_000_000, 86_400_000_000_000));

options! {
    /// The AI gateway.
    Gateway at "gateway" {
        /// Serve the AI gateway.
        enabled: bool = "true" {
            name: "AI Gateway Enabled", env: "CODER_AI_GATEWAY_ENABLED",
            flag: "ai-gateway-enabled", yaml: "enabled", group: &AI_GATEWAY,
            json: "ai.bridge.enabled", aliases: old_names!("ENABLED", "enabled", "enabled"),
        },
        /// How long records of AI requests are kept. 0 keeps them for ever.
        retention: Duration = "60d" {
            name: "AI Gateway Data Retention Duration", env: "CODER_AI_GATEWAY_RETENTION",
            flag: "ai-gateway-retention", yaml: "retention", group: &AI_GATEWAY,
            json: "ai.bridge.retention", aliases: old_names!("RETENTION", "retention", "retention"),
        },
        /// Most AI requests served at once by one replica. Further ones get 503 at once.
        ///
        /// 0 means no limit. A request counts until its last body byte has been sent.
        max_concurrency: u32 = "0" {
            name: "AI Gateway Max Concurrency", env: "CODER_AI_GATEWAY_MAX_CONCURRENCY",
            flag: "ai-gateway-max-concurrency", yaml: "max_concurrency", group: &AI_GATEWAY,
            json: "ai.bridge.max_concurrency", daemons: GATEWAYS,
            aliases: old_names!("MAX_CONCURRENCY", "max-concurrency", "max_concurrency"),
        },
        /// AI requests per second and user on one replica. Further ones get 429. 0 means no limit.
        ///
        /// A user may send as many at once. What is passed through unread, such as lists of models, does
        /// not count.
        rate_limit: u32 = "0" {
            name: "AI Gateway Rate Limit", env: "CODER_AI_GATEWAY_RATE_LIMIT",
            flag: "ai-gateway-rate-limit", yaml: "rate_limit", group: &AI_GATEWAY,
            json: "ai.bridge.rate_limit", daemons: GATEWAYS,
            aliases: old_names!("RATE_LIMIT", "rate-limit", "rate_limit"),
        },
        /// Most bytes of AI requests, and of copies of answers, that one replica holds in memory at once.
        /// Further requests get 503 until there is room.
        ///
        /// 0 means no limit. Less than 64 MiB refuses the largest requests at all times.
        memory_max: ByteSize = "1GiB" {
            name: "AI Gateway Memory Max", env: "CODER_AI_GATEWAY_MEMORY_MAX",
            flag: "ai-gateway-memory-max", yaml: "memory_max", group: &AI_GATEWAY,
            daemons: GATEWAYS, range: Some((0, 1 << 50)),
        },
        /// How long a provider may take to the first byte of a stream. Then the request gets 504.
        ///
        /// Nothing is sent to the client before, because its status depends on that byte.
        first_byte_timeout: Duration = "2m" {
            name: "AI Gateway First Byte Timeout", env: "CODER_AI_GATEWAY_FIRST_BYTE_TIMEOUT",
            flag: "ai-gateway-first-byte-timeout", yaml: "first_byte_timeout", group: &AI_GATEWAY,
            daemons: GATEWAYS, range: TIMEOUTS,
        },
        /// How long a provider may be silent in the middle of a stream. Then the stream ends with an error
        /// event.
        stream_idle_timeout: Duration = "5m" {
            name: "AI Gateway Stream Idle Timeout", env: "CODER_AI_GATEWAY_STREAM_IDLE_TIMEOUT",
            flag: "ai-gateway-stream-idle-timeout", yaml: "stream_idle_timeout",
            group: &AI_GATEWAY, daemons: GATEWAYS, range: TIMEOUTS,
        },
        /// How long a provider may take for an answer that is not a stream, from the request to the last
        /// byte.
        blocking_timeout: Duration = "10m" {
            name: "AI Gateway Blocking Timeout", env: "CODER_AI_GATEWAY_BLOCKING_TIMEOUT",
            flag: "ai-gateway-blocking-timeout", yaml: "blocking_timeout", group: &AI_GATEWAY,
            daemons: GATEWAYS, range: TIMEOUTS,
        },
        /// Write the records of AI requests to the log too, for collection elsewhere.
        structured_logging: bool = "false" {
            name: "AI Gateway Structured Logging", env: "CODER_AI_GATEWAY_STRUCTURED_LOGGING",
            flag: "ai-gateway-structured-logging", yaml: "structured_logging", group: &AI_GATEWAY,
            json: "ai.bridge.structured_logging",
            aliases: old_names!("STRUCTURED_LOGGING", "structured-logging", "structured_logging"),
        },
        /// Tell providers who is asking, in `X-Ai-Bridge-Actor-Id` and
        /// `X-Ai-Bridge-Actor-Metadata-Username`.
        send_actor_headers: bool = "false" {
            name: "AI Gateway Send Actor Headers", env: "CODER_AI_GATEWAY_SEND_ACTOR_HEADERS",
            flag: "ai-gateway-send-actor-headers", yaml: "send_actor_headers", group: &AI_GATEWAY,
            json: "ai.bridge.send_actor_headers", daemons: GATEWAYS,
            aliases: old_names!("SEND_ACTOR_HEADERS", "send-actor-headers", "send_actor_headers"),
        },
        /// Let users bring their own key of a provider.
        allow_byok: bool = "true" {
            name: "AI Gateway Allow BYOK", env: "CODER_AI_GATEWAY_ALLOW_BYOK",
            flag: "ai-gateway-allow-byok", yaml: "allow_byok", group: &AI_GATEWAY,
            json: "ai.bridge.allow_byok", daemons: GATEWAYS,
            aliases: old_names!("ALLOW_BYOK", "allow-byok", "allow_byok"),
        },
        /// Stop asking a provider for a while after it has failed repeatedly (429, 503, 504, 529).
        circuit_breaker_enabled: bool = "false" {
            name: "AI Gateway Circuit Breaker Enabled",
            env: "CODER_AI_GATEWAY_CIRCUIT_BREAKER_ENABLED",
            flag: "ai-gateway-circuit-breaker-enabled", yaml: "circuit_breaker_enabled",
            group: &AI_GATEWAY, json: "ai.bridge.circuit_breaker_enabled", daemons: GATEWAYS,
            aliases: old_names!(
                "CIRCUIT_BREAKER_ENABLED", "circuit-breaker-enabled", "circuit_breaker_enabled"
            ),
        },
        /// Failures in a row that open the circuit.
        circuit_breaker_failure_threshold: u32 = "5" {
            name: "AI Gateway Circuit Breaker Failure Threshold",
            env: "CODER_AI_GATEWAY_CIRCUIT_BREAKER_FAILURE_THRESHOLD",
            flag: "ai-gateway-circuit-breaker-failure-threshold",
            yaml: "circuit_breaker_failure_threshold", group: &AI_GATEWAY, hidden: true,
            json: "ai.bridge.circuit_breaker_failure_threshold", daemons: GATEWAYS,
            range: Some((1, 1_000_000)),
            aliases: old_names!(
                "CIRCUIT_BREAKER_FAILURE_THRESHOLD", "circuit-breaker-failure-threshold",
                "circuit_breaker_failure_threshold"
            ),
        },
        /// Span after which the count of failures of a closed circuit starts anew.
        circuit_breaker_interval: Duration = "10s" {
            name: "AI Gateway Circuit Breaker Interval",
            env: "CODER_AI_GATEWAY_CIRCUIT_BREAKER_INTERVAL",
            flag: "ai-gateway-circuit-breaker-interval", yaml: "circuit_breaker_interval",
            group: &AI_GATEWAY, json: "ai.bridge.circuit_breaker_interval", hidden: true,
            daemons: GATEWAYS, range: Some((1, i128::MAX)),
            aliases: old_names!(
                "CIRCUIT_BREAKER_INTERVAL", "circuit-breaker-interval", "circuit_breaker_interval"
            ),
        },
        /// How long an open circuit stays open before it is tried again.
        circuit_breaker_timeout: Duration = "30s" {
            name: "AI Gateway Circuit Breaker Timeout",
            env: "CODER_AI_GATEWAY_CIRCUIT_BREAKER_TIMEOUT",
            flag: "ai-gateway-circuit-breaker-timeout", yaml: "circuit_breaker_timeout",
            group: &AI_GATEWAY, json: "ai.bridge.circuit_breaker_timeout", hidden: true,
            daemons: GATEWAYS, range: Some((1, i128::MAX)),
            aliases: old_names!(
                "CIRCUIT_BREAKER_TIMEOUT", "circuit-breaker-timeout", "circuit_breaker_timeout"
            ),
        },
        /// Most requests that may try a half-open circuit.
        circuit_breaker_max_requests: u32 = "3" {
            name: "AI Gateway Circuit Breaker Max Requests",
            env: "CODER_AI_GATEWAY_CIRCUIT_BREAKER_MAX_REQUESTS",
            flag: "ai-gateway-circuit-breaker-max-requests", yaml: "circuit_breaker_max_requests",
            group: &AI_GATEWAY, json: "ai.bridge.circuit_breaker_max_requests", hidden: true,
            daemons: GATEWAYS, range: Some((1, 1_000_000)),
            aliases: old_names!(
                "CIRCUIT_BREAKER_MAX_REQUESTS", "circuit-breaker-max-requests",
                "circuit_breaker_max_requests"
            ),
        },
        /// Offer the deployment's own MCP tools to models.
        inject_coder_mcp_tools: bool = "false" {
            name: "AI Gateway Inject Coder MCP tools",
            env: "CODER_AI_GATEWAY_INJECT_CODER_MCP_TOOLS",
            flag: "ai-gateway-inject-coder-mcp-tools", yaml: "inject_coder_mcp_tools",
            group: &AI_GATEWAY, json: "ai.bridge.inject_coder_mcp_tools", hidden: true,
            use_instead: "an MCP server that is configured in the client",
            aliases: old_names!(
                "INJECT_CODER_MCP_TOOLS", "inject-coder-mcp-tools", "inject_coder_mcp_tools"
            ),
        },
        /// Directory for dumps of AI requests and answers, one sub-directory per provider.
        ///
        /// For debugging only: the dumps hold what users wrote. Empty writes none.
        dump_dir: Option<PathBuf> = "" {
            name: "AI Gateway API Dump Directory", env: "CODER_AI_GATEWAY_DUMP_DIR",
            flag: "ai-gateway-dump-dir", yaml: "api_dump_dir", group: &AI_GATEWAY,
            json: "ai.bridge.api_dump_dir", daemons: GATEWAYS,
        },
    }
}

options! {
    /// AI budgets.
    Budgets at "budgets" {
        /// Which budget counts for a user who is in several groups with one.
        policy: BudgetPolicy = "highest" {
            name: "AI Budget Policy", env: "CODER_AI_BUDGET_POLICY", flag: "ai-budget-policy",
            yaml: "budget_policy", group: &AI_GATEWAY, json: "ai.bridge.budget_policy",
        },
        /// The span over which spend adds up, in UTC.
        period: BudgetPeriod = "month" {
            name: "AI Budget Period", env: "CODER_AI_BUDGET_PERIOD", flag: "ai-budget-period",
            yaml: "budget_period", group: &AI_GATEWAY, json: "ai.bridge.budget_period",
        },
        /// What happens to requests for a model whose price is unknown.
        unpriced: UnpricedPolicy = "allow" {
            name: "AI Budget Unpriced Models", env: "CODER_AI_BUDGET_UNPRICED",
            flag: "ai-budget-unpriced", yaml: "budget_unpriced", group: &AI_GATEWAY,
        },
    }
}
