//! Single calls: HTTP/2, the headers, and what each failure means.

use control::client::{CallError, Coderd, CoderdError, CoderdSettings, Ended};
use control::wire::ResolveRequest;
use control::{VERSION, VERSION_HEADER};

use crate::peer::{KEY, Mood, Peer, client, client_of, identity, within};

fn ask(token: &str) -> ResolveRequest {
    ResolveRequest { token: token.into() }
}

#[tokio::test]
async fn calls_go_by_http_2_with_the_key_and_the_version() {
    let peer = Peer::new();
    let running = peer.start(0).await;
    let expires = time::OffsetDateTime::UNIX_EPOCH;
    peer.knows("t", identity("t", expires));
    let coderd = client(running.address, KEY);
    assert_eq!(within(coderd.resolve(&ask("t"))).await.unwrap(), identity("t", expires));
    assert_eq!(*peer.calls.lock().unwrap(), ["POST /api/v2/ai-gateway/daemon/v1/resolve HTTP/2.0"]);
    // Below a path, as behind a proxy.
    let coderd = client_of(&format!("http://{}/below/", running.address), KEY, None);
    peer.set(Mood::Says(204, vec![(VERSION_HEADER, VERSION)], ""));
    assert!(within(coderd.providers(Some("a b&c"), 7)).await.unwrap().is_none());
    assert_eq!(
        peer.calls.lock().unwrap().last().unwrap(),
        "GET /below/api/v2/ai-gateway/daemon/v1/providers?wait_seconds=7&after=a+b%26c HTTP/2.0"
    );
}

#[tokio::test]
async fn every_kind_of_answer_is_told_apart() {
    let peer = Peer::new();
    let running = peer.start(0).await;
    let v = (VERSION_HEADER, VERSION);
    let stranger = client(running.address, "cgw_other0000000000000000000000000000000000");
    let error = within(stranger.resolve(&ask("t"))).await.unwrap_err();
    assert_eq!(error, CallError::Ended(Ended::Key("Unknown key".to_owned())));

    let coderd = client(running.address, KEY);
    for (status, headers, body, want) in [
        (401, vec![v], "{}", "coderd does not accept the gateway key"),
        (401, vec![], "<login>", "check CODER_URL"),
        (409, vec![v], "{}", "another version of the control protocol"),
        (200, vec![(VERSION_HEADER, "2.0")], "{}", "another version of the control protocol"),
        (200, vec![], "{}", "does not speak the gateway protocol"),
        (200, vec![v], r#"{"outcome":"secret-text"}"#, "answer is not understood"),
        (204, vec![v], "", "empty answer"),
        (302, vec![("location", "http://elsewhere/")], "", "check CODER_URL"),
        (429, vec![v, ("retry-after", "3")], "{}", "try again later"),
        (503, vec![v], r#"{"message":"Busy."}"#, "try again later: Busy"),
        (500, vec![v], "{}", "coderd answered 500"),
        (400, vec![v], r#"{"message":"What?"}"#, "does not understand"),
    ] {
        peer.set(Mood::Says(status, headers, body));
        let error = within(coderd.resolve(&ask("t"))).await.unwrap_err().to_string();
        assert!(error.contains(want), "{status}: {error}");
        assert!(!error.contains("secret-text") && !error.contains(KEY), "{error}");
    }
    let port = running.stop().await;
    let gone = client_of(&format!("http://127.0.0.1:{port}"), KEY, None);
    let error = within(gone.resolve(&ask("t"))).await.unwrap_err();
    assert!(
        matches!(&error, CallError::Away(text) if text.contains("cannot be reached")),
        "{error}"
    );
}

#[tokio::test]
async fn a_silent_coderd_is_not_waited_for_for_ever() {
    let peer = Peer::new();
    let running = peer.start(0).await;
    peer.set(Mood::Silent);
    let coderd = client(running.address, KEY);
    let error = within(coderd.resolve(&ask("t"))).await.unwrap_err();
    assert_eq!(error, CallError::Away("coderd did not answer within 5 seconds".to_owned()));
}

#[tokio::test]
async fn tls_is_spoken_with_whom_the_named_authority_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("crt"), dir.path().join("key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let pair = (certificate.clone(), key.clone());
    let tls = serve::Tls::new(serve::TlsSettings::new(vec![pair])).unwrap();
    let peer = Peer::new();
    let running = peer.start_with(0, Some(tls)).await;
    peer.knows("t", identity("t", time::OffsetDateTime::UNIX_EPOCH));

    let url = format!("https://localhost:{}", running.address.port());
    let trusting = client_of(&url, KEY, Some(certificate));
    within(trusting.resolve(&ask("t"))).await.unwrap();
    assert!(peer.calls.lock().unwrap()[0].ends_with("HTTP/2.0"), "negotiated");
    let by_address = format!("https://127.0.0.1:{}", running.address.port());
    for (url, ca_file) in [(&url, None), (&by_address, Some(dir.path().join("crt")))] {
        let error = within(client_of(url, KEY, ca_file).resolve(&ask("t"))).await.unwrap_err();
        assert!(matches!(error, CallError::Away(_)), "{error}");
    }
    assert_eq!(peer.calls.lock().unwrap().len(), 1, "nothing was sent to a stranger");

    let settings = |url: &str, key: &str, ca_file| CoderdSettings {
        url: url.parse().unwrap(),
        key: key.into(),
        ca_file,
        build: "test",
    };
    for (settings, want) in [
        (settings("ftp://x", KEY, None), "is no URL of coderd: check CODER_URL"),
        (settings("http://x", "a\nb", None), "is not \"cgw_\" and 39 letters and digits"),
        (settings("https://x", KEY, Some(dir.path().join("none"))), "(CODER_URL_CA_FILE)"),
        (settings("https://x", KEY, Some(key.clone())), "there is no certificate in it"),
    ] {
        let error: CoderdError = Coderd::new(settings).unwrap_err();
        assert!(error.to_string().contains(want), "{error}");
    }
}
