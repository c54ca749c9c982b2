use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::{
    Api, Provider, ProviderKind, ProviderSpec, ProviderState, ProviderStatus, Route, clean, routes,
};
use crate::dialect::Dialect;

/// The providers as of one moment. Never changed; replaced as a whole.
#[derive(Debug, Default)]
pub struct Snapshot {
    by_name: HashMap<String, Entry>,
    statuses: Vec<ProviderStatus>,
    /// False until there is a first set, even an empty one.
    loaded: bool,
}

#[derive(Debug)]
enum Entry {
    Enabled(Arc<Provider>),
    Disabled(ProviderKind),
}

/// What a request's path leads to.
#[derive(Debug)]
pub enum Found<'a> {
    /// Nobody knows yet; the dialect is what the path looks like.
    NotLoaded(Option<Dialect>),
    /// No such provider, or a path that is not looked up; errors are plain text.
    Nothing,
    /// The provider has no such route.
    NoRoute(Dialect),
    /// The provider is switched off.
    Disabled(&'a str, Dialect),
    /// A route, with the path to append to the provider's base URL.
    Route(Arc<Provider>, Route, &'a str),
}

impl Found<'_> {
    /// How errors about this request are worded; absent for plain text.
    #[must_use]
    pub fn dialect(&self) -> Option<Dialect> {
        match self {
            Self::Nothing => None,
            Self::NotLoaded(dialect) => *dialect,
            Self::NoRoute(dialect) | Self::Disabled(_, dialect) => Some(*dialect),
            Self::Route(_, Route::Intercept(api, _), _) => Some(api.dialect()),
            Self::Route(provider, Route::Passthrough(_), _) => Some(provider.kind.dialect()),
        }
    }
}

impl Snapshot {
    /// Checks all rows. A bad one gets a status and nothing else; the first of two rows with one name wins.
    pub(crate) fn build(specs: &[ProviderSpec], before: &Self, allow_byok: bool) -> Self {
        let mut by_name = HashMap::with_capacity(specs.len());
        let mut statuses = Vec::with_capacity(specs.len());
        for spec in specs {
            let state = if !name_is_valid(&spec.name) {
                let text = "name: must be lower-case letters and digits, joined by single hyphens";
                ProviderState::Error(text.to_owned())
            } else if by_name.contains_key(&spec.name) {
                ProviderState::Error(
                    "name: another provider has it; rename one of the two".to_owned(),
                )
            } else if !spec.enabled {
                by_name.insert(spec.name.clone(), Entry::Disabled(spec.kind));
                ProviderState::Disabled
            } else {
                match Provider::build(spec, before.served(spec), allow_byok) {
                    Ok(provider) => {
                        by_name.insert(spec.name.clone(), Entry::Enabled(Arc::new(provider)));
                        ProviderState::Enabled
                    }
                    Err(error) => ProviderState::Error(error),
                }
            };
            statuses.push(ProviderStatus {
                id: spec.id,
                name: spec.name.clone(),
                kind: spec.kind,
                state,
            });
        }
        Self { by_name, statuses, loaded: true }
    }

    fn served(&self, spec: &ProviderSpec) -> Option<&Provider> {
        self.enabled().find(|provider| provider.id == spec.id).map(AsRef::as_ref)
    }

    /// The providers that serve.
    pub(crate) fn enabled(&self) -> impl Iterator<Item = &Arc<Provider>> {
        self.by_name.values().filter_map(|entry| match entry {
            Entry::Enabled(provider) => Some(provider),
            Entry::Disabled(_) => None,
        })
    }

    /// What became of each row, in the order in which they were given.
    #[must_use]
    pub fn statuses(&self) -> &[ProviderStatus] {
        &self.statuses
    }

    /// Looks a path up: `/{provider}/...`, the gateway's own root already removed.
    #[must_use]
    pub fn find<'a>(&self, method: &Method, path: &'a str) -> Found<'a> {
        let Ok(path) = clean(path) else {
            return Found::Nothing;
        };
        let below = path.strip_prefix('/').unwrap_or(path);
        let name = below.split('/').next().unwrap_or(below);
        let rest = below.strip_prefix(name).unwrap_or_default();
        if !self.loaded {
            return Found::NotLoaded(routes::looks_like(rest).map(Api::dialect));
        }
        match self.by_name.get(name) {
            None => Found::Nothing,
            Some(Entry::Disabled(kind)) => Found::Disabled(name, kind.dialect()),
            Some(Entry::Enabled(provider)) => match routes::find(provider.kind, method, rest) {
                None => Found::NoRoute(provider.kind.dialect()),
                Some((route, rest)) => Found::Route(Arc::clone(provider), route, rest),
            },
        }
    }
}

fn name_is_valid(name: &str) -> bool {
    name.len() <= 64
        && name.split('-').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use stdx::ids::ProviderId;

    use super::*;

    fn spec(name: &str, enabled: bool, base_url: &str) -> ProviderSpec {
        ProviderSpec {
            id: ProviderId::nil(),
            kind: ProviderKind::Anthropic,
            name: name.to_owned(),
            enabled,
            base_url: base_url.to_owned(),
            keys: Ok(vec!["k".into()]),
        }
    }

    #[test]
    fn a_bad_row_disables_only_itself() {
        let rows = [
            spec("good", true, ""),
            spec("good", true, ""),
            spec("Bad", true, ""),
            spec("a--b", true, ""),
            spec("broken", true, "nonsense"),
            spec("off", false, "nonsense"),
        ];
        let snapshot = Snapshot::build(&rows, &Snapshot::default(), true);
        let states: Vec<_> =
            snapshot.statuses().iter().map(|status| status.state.as_str()).collect();
        assert_eq!(states, ["enabled", "error", "error", "error", "error", "disabled"]);

        let found = |path: &str| match snapshot.find(&Method::POST, path) {
            Found::NotLoaded(_) => "not loaded",
            Found::Nothing => "nothing",
            Found::NoRoute(_) => "no route",
            Found::Disabled(..) => "disabled",
            Found::Route(..) => "route",
        };
        for (path, want) in [
            ("/good/v1/messages", "route"),
            ("/good/v1/nothing", "no route"),
            ("/good", "no route"),
            ("/good/v1/../v1/messages", "nothing"),
            ("/broken/v1/messages", "nothing"),
            ("/off/whatever", "disabled"),
            ("/off", "disabled"),
            ("/", "nothing"),
        ] {
            assert_eq!(found(path), want, "{path}");
        }
    }
}
