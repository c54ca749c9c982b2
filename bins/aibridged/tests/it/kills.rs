//! A daemon that is killed: what it answered is recorded by the next one, once.

use std::time::Duration;

use serde_json::Value;
use testkit::provider::Ending;

use crate::exchange::{Api, Open, ask};
use crate::place::Place;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_daemon_left_on_disk_is_shipped_and_its_open_streams_are_closed() {
    let mut place = Place::with(Duration::from_millis(10)).await;
    let mut daemon = place.daemon("one", &[]).await;
    for round in 1..=2 {
        // Known, and its records stored; the next ones cannot be.
        assert_eq!(ask(&place.http, &daemon.url, &place.owner, Api::Chat).await.status, 200);
        place.kill_coderd();
        for api in Api::ALL {
            assert_eq!(ask(&place.http, &daemon.url, &place.owner, api).await.status, 200);
        }
        let stream = Open::begin(&place.http, &daemon.url, &place.owner, Api::Chat, 2_000).await;
        daemon.program.kill();
        assert!(!stream.rest().await.0, "a cut stream does not look whole");
        let served =
            place.provider.eventually(|served| served.iter().all(|row| row.ending != Ending::Open));
        assert_eq!(served.await.unwrap().len(), 5 * round);
        place.restart_coderd().await;
        daemon = place.daemon("one", &[]).await;
        daemon.logs(&["ended the interceptions that were open", "interceptions=1"]).await;
        let rows = place.closed(5 * round).await;
        let (broken, whole): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| !row["error_type"].is_null());
        assert_eq!((broken.len(), whole.len()), (round, 4 * round));
        for row in broken {
            assert_eq!(row["error_message"], "the gateway stopped before the request ended");
            // Only its start was on disk: no more than that was told to anybody.
            assert_eq!(row["model"], "gpt-5.1", "{row}");
            assert_eq!(row["user_prompts"], Value::Array(Vec::new()), "{row}");
            assert_eq!(row["token_usages"], Value::Array(Vec::new()), "{row}");
        }
        daemon.shipped(&place.http).await;
        let (sound, said) = place.verify("one");
        assert!(sound && said.contains("waiting        0"), "{said}");
    }
    place.close(vec![daemon]).await;
}
