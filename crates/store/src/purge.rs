//! What is removed because it is old. Each query removes one batch, oldest first, in a transaction of its own.

use diesel::sql_types::{BigInt, Bool, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use time::OffsetDateTime;

use crate::query::{Access, Check, Db, Fut, Permit, Query, check};

/// Most rows of a batch.
pub const BATCH_MAX: i64 = 10_000;

const SYSTEM: Object<'static> = Object::new(Resource::System);
const RECORDS: Object<'static> = Object::new(Resource::Interception);

#[derive(diesel::QueryableByName)]
struct Due {
    #[diesel(sql_type = Bool)]
    due: bool,
}

#[derive(diesel::QueryableByName)]
struct Dropped {
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// Drops the months of the gateway's records that ended before an instant, parents and children together. Yields
/// how many interceptions went. Locks nothing when no month is due, and otherwise waits no longer than two seconds for
/// those who read or write the tables: the gateway's records wait behind it.
#[derive(Debug)]
pub struct DropOldMonths {
    /// What is younger stays.
    pub before: OffsetDateTime,
}

impl Query for DropOldMonths {
    const NAME: &'static str = "purge.drop_old_months";
    type Out = i64;
    const ATOMIC: bool = true;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, RECORDS)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, i64> {
        Box::pin(async move {
            let Due { due } = diesel::sql_query(
                "SELECT EXISTS (
                    SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                     WHERE i.inhparent = 'aibridge_interceptions'::regclass
                       AND c.relname ~ '^aibridge_interceptions_[0-9]{6}$'
                       AND (to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month') AT TIME ZONE 'UTC' <= $1
                 ) AS due",
            )
            .bind::<Timestamptz, _>(self.before)
            .get_result(db.conn())
            .await?;
            if !due {
                return Ok(0);
            }
            diesel::sql_query("SET LOCAL lock_timeout = '2s'").execute(db.conn()).await?;
            let dropped: Dropped = diesel::sql_query("SELECT aibridge_drop_partitions($1) AS rows")
                .bind::<Timestamptz, _>(self.before)
                .get_result(db.conn())
                .await?;
            Ok(dropped.rows)
        })
    }
}

/// How much room a kind of row takes.
#[derive(Clone, Debug, PartialEq, Eq, diesel::QueryableByName)]
pub struct TableSize {
    /// As in the metrics: `aibridge_records`, `audit_logs`, `connection_logs`, `expired_api_keys`.
    #[diesel(sql_type = Text)]
    pub record_type: String,
    /// With indexes and all partitions.
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
}

/// How much room each kind of row takes that is kept for a time which administrators choose.
#[derive(Debug)]
pub struct MeasureTables;

impl Query for MeasureTables {
    const NAME: &'static str = "purge.measure_tables";
    type Out = Vec<TableSize>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Delete, SYSTEM)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Vec<TableSize>> {
        Box::pin(async move {
            Ok(diesel::sql_query(
                "SELECT kind AS record_type, sum(
                    pg_total_relation_size(relation::regclass)
                    + (SELECT coalesce(sum(pg_total_relation_size(i.inhrelid)), 0) FROM pg_inherits i
                        WHERE i.inhparent = relation::regclass)
                 )::bigint AS bytes
                 FROM (VALUES ('aibridge_records', 'aibridge_interceptions'), ('aibridge_records', 'aibridge_token_usages'),
                              ('aibridge_records', 'aibridge_user_prompts'), ('aibridge_records', 'aibridge_tool_usages'),
                              ('aibridge_records', 'aibridge_model_thoughts'), ('audit_logs', 'audit_logs'),
                              ('connection_logs', 'connection_logs'), ('expired_api_keys', 'api_keys')
                      ) AS kept (kind, relation)
                GROUP BY kind ORDER BY kind",
            )
            .load(db.conn())
            .await?)
        })
    }
}

/// Rows of one table that are older than an instant.
macro_rules! old_rows {
    ($($(#[$doc:meta])* $query:ident = $name:literal, $checks:expr, $sql:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// Yields how many rows it removed.
        #[derive(Debug)]
        pub struct $query {
            /// What is younger stays.
            pub before: OffsetDateTime,
            /// Most rows; at most [`BATCH_MAX`].
            pub limit: i64,
        }

        impl Query for $query {
            const NAME: &'static str = $name;
            type Out = usize;
            const ATOMIC: bool = true;

            fn access(&self) -> Access<Self> {
                let checks: Vec<Check> = $checks;
                Access::Before(checks)
            }

            fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, usize> {
                Box::pin(async move {
                    Ok(diesel::sql_query($sql)
                        .bind::<Timestamptz, _>(self.before)
                        .bind::<BigInt, _>(self.limit.clamp(0, BATCH_MAX))
                        .execute(db.conn())
                        .await?)
                })
            }
        }
    )*};
}

old_rows! {
    /// Removes interceptions that began before an instant, with everything recorded about them: those of the months
    /// that are not over yet, and those of no month.
    DeleteOldInterceptions = "purge.delete_old_interceptions",
        vec![check(Action::Delete, RECORDS)],
        "WITH old AS MATERIALIZED (
            SELECT id FROM aibridge_interceptions WHERE started_at < $1
             ORDER BY started_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ), tokens AS (
            DELETE FROM aibridge_token_usages WHERE interception_id IN (SELECT id FROM old)
         ), prompts AS (
            DELETE FROM aibridge_user_prompts WHERE interception_id IN (SELECT id FROM old)
         ), tools AS (
            DELETE FROM aibridge_tool_usages WHERE interception_id IN (SELECT id FROM old)
         ), thoughts AS (
            DELETE FROM aibridge_model_thoughts WHERE interception_id IN (SELECT id FROM old)
         )
         DELETE FROM aibridge_interceptions WHERE id IN (SELECT id FROM old)";
    /// Removes keys that expired before an instant. OAuth2 refresh tokens outlive their access tokens: they are
    /// detached from the keys that go.
    DeleteExpiredApiKeys = "purge.delete_expired_api_keys",
        vec![check(Action::Delete, Object::new(Resource::ApiKey))],
        "WITH old AS MATERIALIZED (
            SELECT id FROM api_keys WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
         ), detached AS (
            UPDATE oauth2_provider_app_tokens SET api_key_id = NULL WHERE api_key_id IN (SELECT id FROM old)
         )
         DELETE FROM api_keys WHERE id IN (SELECT id FROM old)";
    /// Removes connections to workspaces that began before an instant.
    DeleteOldConnectionLogs = "purge.delete_old_connection_logs",
        vec![check(Action::Delete, SYSTEM)],
        "DELETE FROM connection_logs WHERE id IN (
            SELECT id FROM connection_logs WHERE connect_time < $1
             ORDER BY connect_time LIMIT $2 FOR UPDATE SKIP LOCKED)";
    /// Removes uses of apps that went on until an instant at most.
    DeleteOldAppSessions = "purge.delete_old_app_sessions",
        vec![check(Action::Delete, SYSTEM)],
        "DELETE FROM workspace_app_audit_sessions WHERE id IN (
            SELECT id FROM workspace_app_audit_sessions WHERE updated_at < $1
             ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED)";
    /// Removes OAuth2 authorization codes that expired before an instant.
    DeleteExpiredCodes = "purge.delete_expired_codes",
        vec![check(Action::Delete, Object::new(Resource::Oauth2AppCodeToken))],
        "DELETE FROM oauth2_provider_app_codes WHERE id IN (
            SELECT id FROM oauth2_provider_app_codes WHERE expires_at < $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)";
    /// Removes OAuth2 refresh tokens that expired before an instant, with the API keys that are their access tokens.
    DeleteExpiredTokens = "purge.delete_expired_tokens",
        vec![check(Action::Delete, Object::new(Resource::Oauth2AppCodeToken))],
        "DELETE FROM oauth2_provider_app_tokens WHERE id IN (
            SELECT id FROM oauth2_provider_app_tokens WHERE expires_at < $1
             ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)";
    /// Removes provisioner daemons that were not seen since an instant.
    DeleteUnseenProvisioners = "purge.delete_unseen_provisioners",
        vec![check(Action::Delete, SYSTEM)],
        "DELETE FROM provisioner_daemons WHERE id IN (
            SELECT id FROM provisioner_daemons WHERE coalesce(last_seen_at, created_at) < $1
             ORDER BY coalesce(last_seen_at, created_at) LIMIT $2 FOR UPDATE SKIP LOCKED)";
    /// Removes the marks of telemetry periods that ended before an instant.
    DeleteOldTelemetryLocks = "purge.delete_old_telemetry_locks",
        vec![check(Action::Delete, SYSTEM)],
        "DELETE FROM telemetry_locks WHERE (event_type, period_ending_at) IN (
            SELECT event_type, period_ending_at FROM telemetry_locks WHERE period_ending_at < $1
             ORDER BY period_ending_at LIMIT $2 FOR UPDATE SKIP LOCKED)";
    /// Removes servers that gave no sign of life since an instant.
    DeleteStaleReplicas = "purge.delete_stale_replicas",
        vec![check(Action::Delete, SYSTEM)],
        "DELETE FROM replicas WHERE id IN (
            SELECT id FROM replicas WHERE updated_at < $1 ORDER BY updated_at LIMIT $2 FOR UPDATE SKIP LOCKED)";
}

crate::queries![
    DropOldMonths,
    MeasureTables,
    DeleteOldInterceptions,
    DeleteExpiredApiKeys,
    DeleteOldConnectionLogs,
    DeleteOldAppSessions,
    DeleteExpiredCodes,
    DeleteExpiredTokens,
    DeleteUnseenProvisioners,
    DeleteOldTelemetryLocks,
    DeleteStaleReplicas,
];
