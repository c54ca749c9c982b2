//! The series of one kind of interception, looked up once a request instead of once a count.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::{
    ByModel, InFlight, Interception, Label, Metrics, Prompts, Tokens as TokenLabels, Tools,
};
use stdx::ids::UserId;

/// Kinds remembered. The labels behind them are bounded too, but their product is not small.
const KINDS_MAX: usize = 4_096;

/// Token counts that every answer has, by the names of their label.
pub(super) const TOKEN_KINDS: [&str; 4] =
    ["input", "output", "cache_read_input_tokens", "cache_write_input_tokens"];

/// What the metrics of one interception have in common, with the series they count in.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) provider: Label,
    pub(crate) model: Label,
    pub(crate) route: &'static str,
    pub(crate) client: &'static str,
    pub(super) initiator: Label,
    /// As the request had it: [`Self::model`] may be `other`.
    asked_model: Box<str>,
    user: Option<UserId>,
    pub(super) in_flight: Gauge,
    pub(super) duration: Histogram,
    completed: OnceLock<Counter>,
    failed: OnceLock<Counter>,
    prompts: OnceLock<Counter>,
    tokens: [OnceLock<Counter>; 4],
}

impl Series {
    /// The model as the request had it.
    pub(crate) fn asked_model(&self) -> &str {
        &self.asked_model
    }

    /// A request of this kind is under way.
    pub(crate) fn began(&self) {
        self.in_flight.inc();
    }
}

/// A shared handle of a [`Series`].
pub(crate) type Subject = Arc<Series>;

/// All kinds that were seen lately.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    state: RandomState,
    known: RwLock<HashMap<u64, Vec<Subject>>>,
}

impl Metrics {
    /// The series for requests of this kind.
    pub(crate) fn subject(
        &self,
        provider: &str,
        model: &str,
        route: &'static str,
        client: &'static str,
        initiator: UserId,
    ) -> Subject {
        let user = self.by_initiator.then_some(initiator);
        let key = self.kinds.state.hash_one((provider, model, route, client, user));
        let fits = |kind: &&Subject| {
            *kind.provider == *provider
                && *kind.asked_model == *model
                && kind.route == route
                && kind.client == client
                && kind.user == user
        };
        {
            let known = self.kinds.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(kind) = known.get(&key).and_then(|kinds| kinds.iter().find(fits)) {
                return Arc::clone(kind);
            }
        }
        let kind = Arc::new(self.series(provider, model, route, client, user));
        let mut known = self.kinds.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KINDS_MAX {
            // Those in use stay alive where they are used, and count in the same series as their heirs.
            known.clear();
        }
        known.entry(key).or_default().push(Arc::clone(&kind));
        kind
    }

    fn series(
        &self,
        provider: &str,
        model: &str,
        route: &'static str,
        client: &'static str,
        user: Option<UserId>,
    ) -> Series {
        let label = self.models.get(model);
        let provider: Label = provider.into();
        let in_flight =
            InFlight { provider: Arc::clone(&provider), model: Arc::clone(&label), route };
        let by_model = ByModel { provider: Arc::clone(&provider), model: Arc::clone(&label) };
        Series {
            in_flight: self.in_flight.get_or_create(&in_flight).clone(),
            duration: self.duration.get_or_create(&by_model).clone(),
            initiator: user
                .map_or_else(|| "".into(), |user| self.initiators.get(&user.to_string())),
            asked_model: model.into(),
            provider,
            model: label,
            route,
            client,
            user,
            completed: OnceLock::new(),
            failed: OnceLock::new(),
            prompts: OnceLock::new(),
            tokens: Default::default(),
        }
    }

    pub(super) fn interceptions_of<'a>(&self, subject: &'a Series, completed: bool) -> &'a Counter {
        let (cell, status) =
            if completed { (&subject.completed, "completed") } else { (&subject.failed, "failed") };
        cell.get_or_init(|| {
            let labels = Interception {
                provider: Arc::clone(&subject.provider),
                model: Arc::clone(&subject.model),
                status,
                route: subject.route,
                method: "POST",
                initiator_id: Arc::clone(&subject.initiator),
                client: subject.client,
            };
            self.interceptions.get_or_create(&labels).clone()
        })
    }

    pub(super) fn prompts_of<'a>(&self, subject: &'a Series) -> &'a Counter {
        subject.prompts.get_or_init(|| {
            let labels = Prompts {
                provider: Arc::clone(&subject.provider),
                model: Arc::clone(&subject.model),
                initiator_id: Arc::clone(&subject.initiator),
                client: subject.client,
            };
            self.prompts.get_or_create(&labels).clone()
        })
    }

    /// Counts tokens of one of [`TOKEN_KINDS`].
    pub(super) fn count_tokens(&self, subject: &Series, kind: usize, count: u64) {
        let (Some(cell), Some(name)) = (subject.tokens.get(kind), TOKEN_KINDS.get(kind)) else {
            return;
        };
        let make = || self.tokens_of(subject, self.token_types.get(name));
        cell.get_or_init(make).inc_by(count);
    }

    pub(super) fn tokens_of(&self, subject: &Series, kind: Label) -> Counter {
        let labels = TokenLabels {
            provider: Arc::clone(&subject.provider),
            model: Arc::clone(&subject.model),
            r#type: kind,
            initiator_id: Arc::clone(&subject.initiator),
            client: subject.client,
        };
        self.tokens.get_or_create(&labels).clone()
    }

    pub(super) fn tools_of(&self, subject: &Series, name: Label) -> Counter {
        let labels = Tools {
            provider: Arc::clone(&subject.provider),
            model: Arc::clone(&subject.model),
            name,
        };
        self.tools.get_or_create(&labels).clone()
    }
}
