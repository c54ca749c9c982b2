//! Everything the gateway counts. Each family is registered under its name of today
//! (`coder_ai_gateway_`) and under its older one (`coder_aibridged_`).
//!
//! Label values are finite: models, tools and users are taken as they come only up to a cap, and are
//! `other` from then on; users only when the operator asked for them.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use stdx::SharedClock;

use crate::facts::Fact;
use crate::keys::Rejection;
use crate::provider::{Provider, Snapshot};

mod series;

pub(crate) use series::Subject;
use series::{Kinds, TOKEN_KINDS};

/// Most distinct values of one label that clients choose.
pub(crate) const LABEL_VALUES_MAX: usize = 200;
/// Longer label values are `other`.
const LABEL_BYTES_MAX: usize = 96;
const OTHER: &str = "other";
pub(crate) const PREFIXES: [&str; 2] = ["coder_ai_gateway", "coder_aibridged"];

/// A label value.
pub(crate) type Label = Arc<str>;

/// A finite set of values, filled as they come.
#[derive(Debug, Default)]
struct Capped(Mutex<HashSet<Label>>);

impl Capped {
    fn get(&self, value: &str) -> Label {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(label) = known.get(value) {
            return Arc::clone(label);
        }
        if known.len() >= LABEL_VALUES_MAX || value.len() > LABEL_BYTES_MAX {
            return OTHER.into();
        }
        let label: Label = value.into();
        known.insert(Arc::clone(&label));
        label
    }
}

macro_rules! labels {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
        struct $name { $($field: $type),* }
    )*};
}

labels! {
    Interception {
        provider: Label, model: Label, status: &'static str, route: &'static str,
        method: &'static str, initiator_id: Label, client: &'static str,
    }
    InFlight { provider: Label, model: Label, route: &'static str }
    ByModel { provider: Label, model: Label }
    Passthrough { provider: Label, route: &'static str, method: &'static str }
    Prompts { provider: Label, model: Label, initiator_id: Label, client: &'static str }
    Tokens {
        provider: Label, model: Label, r#type: Label, initiator_id: Label, client: &'static str,
    }
    Tools { provider: Label, model: Label, name: Label }
    Transition { provider: Label, reason: &'static str }
    Exhaustion { provider: Label, outcome: &'static str }
    ByProvider { provider: Label }
    Loss { stage: &'static str }
    Refusal { reason: &'static str }
    Breaker { provider: Label, endpoint: &'static str, model: Label }
    PoolState { provider: String, state: &'static str }
    Info { provider_name: String, provider_type: &'static str, status: &'static str }
}

type Histograms<S> = Family<S, Histogram, fn() -> Histogram>;

/// The table of metrics.
pub(crate) struct Metrics {
    interceptions: Family<Interception, Counter>,
    in_flight: Family<InFlight, Gauge>,
    duration: Histograms<ByModel>,
    passthrough: Family<Passthrough, Counter>,
    prompts: Family<Prompts, Counter>,
    tokens: Family<Tokens, Counter>,
    tools: Family<Tools, Counter>,
    transitions: Family<Transition, Counter>,
    exhaustions: Family<Exhaustion, Counter>,
    failovers: Histograms<ByProvider>,
    lost: Family<Loss, Counter>,
    refusals: Family<Refusal, Counter>,
    breaker_state: Family<Breaker, Gauge<f64, AtomicU64>>,
    breaker_trips: Family<Breaker, Counter>,
    breaker_rejects: Family<Breaker, Counter>,
    reload: Gauge,
    reload_success: Gauge,
    models: Capped,
    tool_names: Capped,
    token_types: Capped,
    initiators: Capped,
    kinds: Kinds,
    by_initiator: bool,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn duration_buckets() -> Histogram {
    Histogram::new([0.5, 2.0, 5.0, 15.0, 30.0, 60.0, 120.0])
}

fn attempt_buckets() -> Histogram {
    Histogram::new([1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 25.0])
}

fn histograms<S: Clone + Eq + std::hash::Hash>(make: fn() -> Histogram) -> Histograms<S> {
    Family::new_with_constructor(make)
}

/// Registers one metric under both prefixes and returns it.
fn table<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    for prefix in PREFIXES {
        registry.sub_registry_with_prefix(prefix).register(name, help, metric.clone());
    }
    metric
}

fn family<S, M>(registry: &mut Registry, name: &str, help: &str) -> Family<S, M>
where
    S: Clone + Eq + std::hash::Hash,
    M: Default,
    fn() -> M: MetricConstructor<M>,
    Family<S, M>: Metric + Clone,
{
    table(registry, name, help, Family::default())
}

impl Metrics {
    #[rustfmt::skip]
    pub(crate) fn register(r: &mut Registry, by_initiator: bool) -> Self {
        Self {
            interceptions: family(r, "interceptions", "Recorded requests by how they ended"),
            in_flight: family(r, "interceptions_inflight", "Recorded requests that have not ended"),
            duration: table(r, "interceptions_duration_seconds", "Time from accepting a request to its last byte", histograms(duration_buckets)),
            passthrough: family(r, "passthrough", "Requests relayed unread"),
            prompts: family(r, "prompts", "Prompts recorded"),
            tokens: family(r, "tokens", "Tokens recorded"),
            tools: family(r, "non_injected_tool_selections", "Tool calls recorded"),
            transitions: family(r, "key_pool_state_transitions", "Keys set aside, by reason"),
            exhaustions: family(r, "key_pool_exhaustions", "Requests that found no usable key"),
            failovers: table(r, "key_pool_failover_attempts", "Keys tried per request", histograms(attempt_buckets)),
            lost: family(r, "records_lost", "Batches of facts that could not be recorded"),
            refusals: family(r, "refusals", "Requests refused before they were recorded, by reason"),
            breaker_state: family(r, "circuit_breaker_state", "State of each circuit: 0 closed, 0.5 half-open, 1 open"),
            breaker_trips: family(r, "circuit_breaker_trips", "Times that a circuit opened"),
            breaker_rejects: family(r, "circuit_breaker_rejects", "Requests refused because their circuit was open"),
            reload: table(r, "providers_last_reload_timestamp_seconds", "When the providers were last installed, with errors or not", Gauge::default()),
            reload_success: table(r, "providers_last_reload_success_timestamp_seconds", "When the providers were last installed without an error in any row", Gauge::default()),
            models: Capped::default(),
            tool_names: Capped::default(),
            token_types: Capped::default(),
            initiators: Capped::default(),
            kinds: Kinds::default(),
            by_initiator,
        }
    }

    pub(crate) fn ended(&self, subject: &Subject, completed: bool, after: Duration) {
        subject.in_flight.dec();
        self.interceptions_of(subject, completed).inc();
        subject.duration.observe(after.as_secs_f64());
    }

    /// Prepares the counts of a batch; they are added once the batch is durable.
    pub(crate) fn tally(&self, facts: &[Fact]) -> Tally {
        let mut tally = Tally::default();
        for fact in facts {
            match fact {
                Fact::Prompt(prompt) if !prompt.prompt.is_empty() => tally.prompts += 1,
                Fact::Tool(tool) => tally.tools.push(self.tool_names.get(&tool.tool)),
                Fact::Tokens(tokens) => {
                    let counts =
                        [tokens.input, tokens.output, tokens.cache_read, tokens.cache_write];
                    for (sum, count) in tally.tokens.iter_mut().zip(counts) {
                        *sum += u64::try_from(count).unwrap_or_default();
                    }
                    for (name, count) in &tokens.extra {
                        if let Ok(count @ 1..) = u64::try_from(*count) {
                            tally.extra_tokens.push((self.token_types.get(name), count));
                        }
                    }
                }
                _ => {}
            }
        }
        tally
    }

    pub(crate) fn recorded(&self, subject: &Subject, tally: Tally) {
        if tally.prompts > 0 {
            self.prompts_of(subject).inc_by(tally.prompts);
        }
        for (kind, count) in tally.tokens.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            self.count_tokens(subject, kind, count);
        }
        for (kind, count) in tally.extra_tokens {
            self.tokens_of(subject, kind).inc_by(count);
        }
        for name in tally.tools {
            self.tools_of(subject, name).inc();
        }
    }

    /// `stage` is `start` or `end`.
    pub(crate) fn lost(&self, stage: &'static str) {
        self.lost.get_or_create(&Loss { stage }).inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&Refusal { reason }).inc();
    }

    pub(crate) fn breaker_state(&self, subject: &Subject, state: f64) {
        self.breaker_state.get_or_create(&breaker(subject)).set(state);
    }

    pub(crate) fn breaker_tripped(&self, subject: &Subject) {
        self.breaker_trips.get_or_create(&breaker(subject)).inc();
    }

    pub(crate) fn breaker_rejected(&self, subject: &Subject) {
        self.breaker_rejects.get_or_create(&breaker(subject)).inc();
    }

    pub(crate) fn passed_through(&self, provider: &str, route: &'static str, method: &'static str) {
        let provider = provider.into();
        self.passthrough.get_or_create(&Passthrough { provider, route, method }).inc();
    }

    pub(crate) fn key_rejected(&self, provider: &str, why: Rejection) {
        let provider = provider.into();
        let reason = why.as_str();
        self.transitions.get_or_create(&Transition { provider, reason }).inc();
    }

    pub(crate) fn pool_exhausted(&self, provider: &str, limited: bool) {
        let provider = provider.into();
        let outcome = if limited { "rate_limited" } else { "auth_failed" };
        self.exhaustions.get_or_create(&Exhaustion { provider, outcome }).inc();
    }

    pub(crate) fn attempts(&self, provider: &Provider, attempts: u32) {
        let series = provider.tried.get_or_init(|| {
            let provider = provider.name.as_str().into();
            self.failovers.get_or_create(&ByProvider { provider }).clone()
        });
        series.observe(f64::from(attempts));
    }

    pub(crate) fn reloaded(&self, unix_seconds: i64, clean: bool) {
        self.reload.set(unix_seconds);
        if clean {
            self.reload_success.set(unix_seconds);
        }
    }
}

fn breaker(subject: &Subject) -> Breaker {
    Breaker {
        provider: Arc::clone(&subject.provider),
        endpoint: subject.route,
        model: Arc::clone(&subject.model),
    }
}

/// Counts that wait for their batch to be durable.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    prompts: u64,
    /// By [`TOKEN_KINDS`].
    tokens: [u64; TOKEN_KINDS.len()],
    extra_tokens: Vec<(Label, u64)>,
    tools: Vec<Label>,
}

/// Methods as metrics name them.
pub(crate) fn method_label(method: &http::Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER)
}

/// Reads provider and key states when it is scraped, so that they are never stale.
pub(crate) struct ProviderCollector {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) clock: SharedClock,
}

impl fmt::Debug for ProviderCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderCollector").finish_non_exhaustive()
    }
}

impl Collector for ProviderCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let snapshot = self.snapshot.load();
        let now = self.clock.now();
        for prefix in PREFIXES {
            let name = format!("{prefix}_provider_info");
            let help = "Configured providers by status, always 1";
            let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            for row in snapshot.statuses() {
                let labels = Info {
                    provider_name: row.name.clone(),
                    provider_type: row.kind.as_str(),
                    status: row.state.as_str(),
                };
                ConstGauge::new(1_i64).encode(metric.encode_family(&labels)?)?;
            }
            let name = format!("{prefix}_key_pool_state");
            let help = "Keys of each provider by state";
            let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
            for provider in snapshot.enabled().filter(|provider| !provider.pool.is_empty()) {
                let census = provider.pool.census(now);
                let states = [
                    ("valid", census.valid),
                    ("rate_limited", census.limited),
                    ("refused", census.refused),
                ];
                for (state, count) in states {
                    let labels = PoolState { provider: provider.name.clone(), state };
                    ConstGauge::new(i64::from(count)).encode(metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use stdx::ids::UserId;

    use super::*;

    #[test]
    fn both_names_count_the_same_and_models_are_capped() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, false);
        let someone = UserId::new(uuid::Uuid::from_u128(7));
        for number in 0..LABEL_VALUES_MAX + 50 {
            let model = format!("m{number}");
            let subject = metrics.subject("p", &model, "/v1/messages", "Codex", someone);
            subject.began();
            metrics.ended(&subject, true, Duration::from_secs(1));
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for prefix in PREFIXES {
            let name = format!("{prefix}_interceptions_total{{");
            let rows: Vec<_> = text.lines().filter(|line| line.starts_with(&name)).collect();
            assert_eq!(rows.len(), LABEL_VALUES_MAX + 1);
            assert!(
                rows.iter().any(|row| row.contains(r#"model="other""#) && row.ends_with(" 50"))
            );
        }
        assert!(!text.contains(&someone.to_string()), "users are labels only when asked for");
    }
}
