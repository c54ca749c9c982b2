use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use rbac::Action;
use time::OffsetDateTime;

use super::ANY;
use crate::query::{Access, Db, Fut, Permit, Query, check};

/// How one model of a provider was used by one client program.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct TelemetrySummary {
    /// Kind of the provider.
    #[diesel(sql_type = Text)]
    pub provider: String,
    /// Model that was asked for.
    #[diesel(sql_type = Text)]
    pub model: String,
    /// Client program.
    #[diesel(sql_type = Text)]
    pub client: String,
    /// Interceptions that ended.
    #[diesel(sql_type = BigInt)]
    pub interceptions: i64,
    /// Users who began them, each counted once.
    #[diesel(sql_type = BigInt)]
    pub unique_initiators: i64,
    /// Milliseconds that half of them took at most.
    #[diesel(sql_type = BigInt)]
    pub duration_p50_ms: i64,
    /// Milliseconds that 90 of 100 took at most.
    #[diesel(sql_type = BigInt)]
    pub duration_p90_ms: i64,
    /// Milliseconds that 95 of 100 took at most.
    #[diesel(sql_type = BigInt)]
    pub duration_p95_ms: i64,
    /// Milliseconds that 99 of 100 took at most.
    #[diesel(sql_type = BigInt)]
    pub duration_p99_ms: i64,
    /// Prompts of people.
    #[diesel(sql_type = BigInt)]
    pub user_prompts: i64,
    /// Reports of tokens.
    #[diesel(sql_type = BigInt)]
    pub token_usages: i64,
    /// Tokens that were not read from a cache.
    #[diesel(sql_type = BigInt)]
    pub input_tokens: i64,
    /// Tokens of answers.
    #[diesel(sql_type = BigInt)]
    pub output_tokens: i64,
    /// Tokens read from a cache.
    #[diesel(sql_type = BigInt)]
    pub cache_read_input_tokens: i64,
    /// Tokens written to a cache.
    #[diesel(sql_type = BigInt)]
    pub cache_write_input_tokens: i64,
    /// Calls of tools that the gateway put into the request.
    #[diesel(sql_type = BigInt)]
    pub injected_tool_calls: i64,
    /// Calls of tools that the client brought.
    #[diesel(sql_type = BigInt)]
    pub non_injected_tool_calls: i64,
    /// Calls of injected tools that failed.
    #[diesel(sql_type = BigInt)]
    pub injected_tool_errors: i64,
}

/// Sums up the interceptions that ended in a period, by provider, model and client; the most used first, at most 1,000.
/// Those that took longer than a day are left out: they were closed for want of an end.
#[derive(Debug)]
pub struct SummarizeForTelemetry {
    /// Ended at this instant or later.
    pub from: OffsetDateTime,
    /// Ended before this.
    pub to: OffsetDateTime,
}

/// Starts are indexed and ends are not, hence the bounds of both.
const SUMMARIES: &str = "
    WITH ended AS MATERIALIZED (
        SELECT id, provider, model, client, initiator_id,
               greatest(floor(extract(epoch FROM ended_at - started_at) * 1000), 0)::bigint AS ms
          FROM aibridge_interceptions
         WHERE ended_at >= $1 AND ended_at < $2
           AND started_at >= $1 - interval '1 day' AND started_at < $2 + interval '1 day'
    ), used AS (
        SELECT provider, model, client, count(*) AS interceptions,
               count(DISTINCT initiator_id) AS unique_initiators,
               percentile_disc(ARRAY[0.5, 0.9, 0.95, 0.99]) WITHIN GROUP (ORDER BY ms) AS ms
          FROM ended GROUP BY provider, model, client
    ), prompts AS (
        SELECT e.provider, e.model, e.client, count(*) AS user_prompts
          FROM ended e JOIN aibridge_user_prompts p ON p.interception_id = e.id
         GROUP BY e.provider, e.model, e.client
    ), tokens AS (
        SELECT e.provider, e.model, e.client, count(*) AS token_usages,
               sum(t.input_tokens) AS input_tokens, sum(t.output_tokens) AS output_tokens,
               sum(t.cache_read_input_tokens) AS cache_read_input_tokens,
               sum(t.cache_write_input_tokens) AS cache_write_input_tokens
          FROM ended e JOIN aibridge_token_usages t ON t.interception_id = e.id
         GROUP BY e.provider, e.model, e.client
    ), tools AS (
        SELECT e.provider, e.model, e.client,
               count(*) FILTER (WHERE c.injected) AS injected_tool_calls,
               count(*) FILTER (WHERE NOT c.injected) AS non_injected_tool_calls,
               count(*) FILTER (WHERE c.injected AND coalesce(c.invocation_error, '') <> '') AS injected_tool_errors
          FROM ended e JOIN aibridge_tool_usages c ON c.interception_id = e.id
         GROUP BY e.provider, e.model, e.client
    )
    SELECT provider, model, client, interceptions, unique_initiators,
           ms[1] AS duration_p50_ms, ms[2] AS duration_p90_ms, ms[3] AS duration_p95_ms, ms[4] AS duration_p99_ms,
           coalesce(user_prompts, 0) AS user_prompts, coalesce(token_usages, 0) AS token_usages,
           coalesce(input_tokens, 0)::bigint AS input_tokens, coalesce(output_tokens, 0)::bigint AS output_tokens,
           coalesce(cache_read_input_tokens, 0)::bigint AS cache_read_input_tokens,
           coalesce(cache_write_input_tokens, 0)::bigint AS cache_write_input_tokens,
           coalesce(injected_tool_calls, 0) AS injected_tool_calls,
           coalesce(non_injected_tool_calls, 0) AS non_injected_tool_calls,
           coalesce(injected_tool_errors, 0) AS injected_tool_errors
      FROM used
      LEFT JOIN prompts USING (provider, model, client)
      LEFT JOIN tokens USING (provider, model, client)
      LEFT JOIN tools USING (provider, model, client)
     ORDER BY interceptions DESC, provider, model, client
     LIMIT 1000";

impl Query for SummarizeForTelemetry {
    const NAME: &'static str = "interceptions.summarize_for_telemetry";
    type Out = Vec<TelemetrySummary>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Self::Out> {
        Box::pin(async move {
            Ok(diesel::sql_query(SUMMARIES)
                .bind::<Timestamptz, _>(self.from)
                .bind::<Timestamptz, _>(self.to)
                .load(db.conn())
                .await?)
        })
    }
}
