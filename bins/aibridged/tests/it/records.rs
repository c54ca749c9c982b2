//! What goes through the daemon is in the database, with the right counts.

use reqwest::Method;
use serde_json::{Value, json};

use crate::exchange::{Api, Open, ask};
use crate::place::{Place, WORD};

#[tokio::test(flavor = "multi_thread")]
async fn every_exchange_is_recorded_with_its_tokens_and_its_caller() {
    let mut place = Place::new().await;
    let member = place.member("mia").await;
    let mut daemon = place.daemon("one", &[]).await;
    for api in Api::ALL {
        let answer = ask(&place.http, &daemon.url, &member, api).await;
        assert_eq!(answer.status, 200, "{api:?}: {}", answer.text);
        let stream = Open::begin(&place.http, &daemon.url, &member, api, 7).await;
        let (whole, text) = stream.rest().await;
        assert!(whole, "{api:?}: {text}");
    }
    let rows = place.all_recorded().await;
    assert_eq!(rows.len(), 6);
    for row in &rows {
        assert_eq!(row["error_type"], Value::Null, "{row}");
        assert_eq!(row["initiator"]["username"], "mia", "{row}");
        assert_eq!(row["api_key_id"], member.split_once('-').unwrap().0, "{row}");
        let prompt = row["user_prompts"][0]["prompt"].as_str().unwrap();
        assert!(prompt.starts_with(WORD), "{row}");
    }
    // A client that brings nothing is told so in its own dialect, and nothing is recorded of it.
    for api in Api::ALL {
        let answer = ask(&place.http, &daemon.url, "", api).await;
        assert!(answer.is_refusal(api, 400, "missing_api_key"), "{api:?}: {answer:?}");
        let answer = ask(&place.http, &daemon.url, "a-b", api).await;
        assert!(answer.is_refusal(api, 403, "unauthorized"), "{api:?}: {answer:?}");
    }
    assert_eq!(place.all_recorded().await.len(), 6);

    // What was stored and what was written down are equal, and a change to either shows.
    daemon.shipped(&place.http).await;
    let (sound, said) = place.verify("one");
    assert!(sound && said.contains("stored as it was recorded"), "{said}");
    assert!(said.contains("6 starts, 6 ends, 6 prompts, 6 token counts"), "{said}");
    let sums = place.provider.served().iter().fold((0, 0), |(input, output), served| {
        (input + served.usage.input, output + served.usage.output)
    });
    assert!(said.contains(&format!("{} input, {} output", sums.0, sums.1)), "{said}");
    for (tampering, wanted) in [
        (
            "DELETE FROM aibridge_user_prompts WHERE id = (SELECT min(id::text)::uuid FROM aibridge_user_prompts)",
            "missing        1\n               prompt ",
        ),
        (
            "UPDATE aibridge_token_usages SET output_tokens = output_tokens + 1
              WHERE id = (SELECT min(id::text)::uuid FROM aibridge_token_usages)",
            "different      1\n               tokens ",
        ),
    ] {
        place.db.sql(tampering).await.unwrap();
        let (sound, said) = place.verify("one");
        assert!(!sound && said.contains(wanted), "{said}");
        assert!(said.contains("NOT all that was acknowledged"), "{said}");
        assert!(!said.contains(WORD), "{said}");
    }
    place.close(vec![daemon]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_verified_is_told_and_is_no_success() {
    let mut place = Place::new().await;
    let (sound, said) = place.verify("absent");
    let dir = place.spool("absent");
    assert!(!sound && said.contains(dir.to_str().unwrap()), "{said}");
    assert!(!dir.exists(), "looking for it does not make it");

    let daemon = place.daemon("one", &[]).await;
    assert_eq!(ask(&place.http, &daemon.url, &place.owner, Api::Chat).await.status, 200);
    place.all_recorded().await;
    // The key is gone, and so is the daemon's right to ask.
    let id = place.key.0.clone();
    place.new_key("second").await;
    let (sound, said) = place.verify("one");
    assert!(sound, "{said}");
    place.ok(Method::DELETE, &format!("/ai-gateway/keys/{id}"), json!(null)).await;
    let mut daemon = daemon;
    assert!(!daemon.program.ended().await, "{}", daemon.program.log());
    let id = place.key.0.clone();
    place.ok(Method::DELETE, &format!("/ai-gateway/keys/{id}"), json!(null)).await;
    let (sound, said) = place.verify("one");
    assert!(!sound && said.contains("CODER_AI_GATEWAY_KEY"), "{said}");
    place.close(Vec::new()).await;
}
