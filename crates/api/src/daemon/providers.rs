//! The providers and their keys, for daemons that wait for a change.

use std::sync::Arc;
use std::time::Duration;

use aibridge::ProviderSpec;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use control::wire::{Keys, Provider, Providers};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};

use super::WAIT_SECONDS_MAX;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::json::answer;
use crate::paging;

/// How long an answer waits for a change when the daemon does not say.
const WAIT_SECONDS: i64 = 30;

/// `GET providers`. All who wait share what the feed read once.
pub(super) async fn providers(
    State(app): State<App>,
    RawQuery(query): RawQuery,
) -> ApiResult<Response> {
    let mut given = paging::params(query.as_deref());
    let after = given.text("after");
    let wait = given.number("wait_seconds").unwrap_or(WAIT_SECONDS);
    let wait = u32::try_from(wait).ok().filter(|seconds| *seconds <= WAIT_SECONDS_MAX);
    if wait.is_none() {
        given.fault("wait_seconds", format!("must be 0 to {WAIT_SECONDS_MAX}"));
    }
    given.finish_lenient(paging::INVALID)?;
    let wait = Duration::from_secs(wait.unwrap_or_default().into());

    let mut feed = app.daemons.providers.clone();
    let is_news = |set: &Option<Arc<Providers>>| {
        set.as_ref().is_some_and(|set| after.as_deref() != Some(&*set.version))
    };
    let news = tokio::select! {
        biased;
        news = feed.wait_for(is_news) => news.ok().and_then(|set| set.clone()),
        () = app.daemons.patience(wait) => None,
    };
    let has_loaded = app.daemons.providers.borrow().is_some();
    match news {
        Some(set) => {
            let mut response = answer(StatusCode::OK, &*set);
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().insert(CACHE_CONTROL, no_store);
            Ok(response)
        }
        None if has_loaded => Ok(StatusCode::NO_CONTENT.into_response()),
        None => Err(ApiError::Busy("The providers could not be read yet. Please try again.")),
    }
}

/// The set as daemons get it.
pub(crate) fn to_wire(specs: Vec<ProviderSpec>) -> Providers {
    let providers: Vec<Provider> = specs
        .into_iter()
        .map(|spec| Provider {
            id: spec.id,
            kind: spec.kind.as_str().to_owned(),
            name: spec.name,
            enabled: spec.enabled,
            base_url: spec.base_url,
            keys: match spec.keys {
                Ok(keys) => Keys::Open(keys),
                Err(reason) => Keys::Error(reason),
            },
        })
        .collect();
    Providers { version: version(&providers), providers }
}

/// Names the content, so that every process of the deployment gives the same set the same name, also after a new
/// start. Of keys it takes a digest each: they are too random for it to tell anything about them.
fn version(providers: &[Provider]) -> String {
    let mut text = Vec::new();
    let mut put = |part: &[u8]| {
        // Lengths first, so that no two sets run together to the same bytes.
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part);
    };
    for provider in providers {
        put(provider.id.uuid().as_bytes());
        put(provider.kind.as_bytes());
        put(provider.name.as_bytes());
        put(&[u8::from(provider.enabled)]);
        put(provider.base_url.as_bytes());
        match &provider.keys {
            Keys::Open(keys) => {
                put(&(keys.len() as u64).to_be_bytes());
                for key in keys {
                    put(&crypt::sha256(key.expose().as_bytes()));
                }
            }
            Keys::Error(reason) => put(reason.as_bytes()),
        }
    }
    let mut version = crypt::hex(&crypt::sha256(&text));
    // 128 bits are plenty for a name.
    version.truncate(32);
    version
}

#[cfg(test)]
mod tests {
    use aibridge::ProviderKind;
    use stdx::Secret;
    use stdx::ids::ProviderId;
    use uuid::Uuid;

    use super::*;

    fn spec() -> ProviderSpec {
        ProviderSpec {
            id: ProviderId::new(Uuid::from_u128(1)),
            kind: ProviderKind::OpenAi,
            name: "one".to_owned(),
            enabled: true,
            base_url: "https://one.example/".to_owned(),
            keys: Ok(vec![Secret::from("sk-one"), Secret::from("sk-two")]),
        }
    }

    fn version_of(change: impl FnOnce(&mut ProviderSpec)) -> String {
        let mut spec = spec();
        change(&mut spec);
        to_wire(vec![spec]).version
    }

    #[test]
    fn the_version_names_the_content_and_stays_over_releases() {
        let same = version_of(|_| {});
        assert_eq!(same, version_of(|_| {}));
        assert_eq!(same, "a578c9ed09f3e027ba9db383bd4c7a5c");
        let changed = [
            to_wire(Vec::new()).version,
            to_wire(vec![spec(), spec()]).version,
            version_of(|spec| spec.id = ProviderId::new(Uuid::from_u128(2))),
            version_of(|spec| spec.kind = ProviderKind::Azure),
            version_of(|spec| spec.name = "two".to_owned()),
            version_of(|spec| spec.enabled = false),
            version_of(|spec| spec.base_url = "https://two.example/".to_owned()),
            version_of(|spec| spec.keys = Ok(Vec::new())),
            version_of(|spec| spec.keys = Ok(vec![Secret::from("sk-two"), Secret::from("sk-one")])),
            version_of(|spec| spec.keys = Ok(vec![Secret::from("sk-onesk-two")])),
            version_of(|spec| spec.keys = Err("api_keys: broken".to_owned())),
            version_of(|spec| spec.keys = Err("api_keys: lost".to_owned())),
        ];
        for (place, one) in changed.iter().enumerate() {
            assert_ne!(*one, same, "{place}");
            assert!(!changed.iter().take(place).any(|other| other == one), "{place}");
        }
    }

    #[test]
    fn a_broken_row_keeps_its_reason_and_its_neighbours() {
        let broken = ProviderSpec { keys: Err("api_keys: broken".to_owned()), ..spec() };
        let set = to_wire(vec![broken, spec()]);
        assert!(matches!(&set.providers[0].keys, Keys::Error(why) if why == "api_keys: broken"));
        assert!(matches!(&set.providers[1].keys, Keys::Open(keys) if keys.len() == 2));
        assert!(!format!("{set:?}").contains("sk-one"));
    }
}
