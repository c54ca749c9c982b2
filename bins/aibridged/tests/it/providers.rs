//! Providers that change under traffic, in both gateways.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use testkit::provider::Ending;
use tokio::time::Instant;

use crate::exchange::{Api, Open, ask};
use crate::place::Place;

const REFUSED_WITHIN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_disabled_in_mid_stream_ends_that_stream_whole_and_refuses_the_next_request() {
    let place = Place::with(Duration::from_millis(12)).await;
    let daemon = place.daemon("one", &[]).await;
    let bases = [daemon.url.clone(), place.in_process()];
    for apis in [&[Api::Messages][..], &[Api::Chat, Api::Responses]] {
        let api = apis[0];
        let path = format!("/ai/providers/{}", api.provider());
        let mut streams = Vec::new();
        for base in &bases {
            for api in apis {
                streams.push(Open::begin(&place.http, base, &place.owner, *api, 120).await);
            }
        }
        place.ok(Method::PATCH, &path, json!({ "enabled": false })).await;
        let disabled = Instant::now();
        for (base, name) in bases.iter().zip(["aibridged", "coderd"]) {
            loop {
                let answer = ask(&place.http, base, &place.owner, api).await;
                let took = disabled.elapsed();
                if answer.status != 200 {
                    assert_eq!(answer.status, 503, "{api:?}: {}", answer.text);
                    assert!(answer.text.starts_with("provider_disabled: "), "{}", answer.text);
                    println!("{api:?}: {name} refuses a disabled provider after {took:?}");
                    break;
                }
                assert!(took < REFUSED_WITHIN, "{api:?}: {name} serves it after {took:?}");
            }
        }
        let served = place.provider.served();
        let open = served.iter().filter(|row| row.ending == Ending::Open).count();
        assert_eq!(open, streams.len(), "the streams were over before");
        for stream in streams {
            let (whole, text) = stream.rest().await;
            assert!(whole, "{api:?}: {text}");
        }
        place.ok(Method::PATCH, &path, json!({ "enabled": true })).await;
        for base in &bases {
            let enabled = Instant::now();
            while ask(&place.http, base, &place.owner, api).await.status != 200 {
                assert!(enabled.elapsed() < REFUSED_WITHIN, "{api:?}: {base} still refuses");
            }
        }
    }
    let rows = place.all_recorded().await;
    assert!(rows.iter().all(|row| row["error_type"].is_null()));
    place.close(vec![daemon]).await;
}
