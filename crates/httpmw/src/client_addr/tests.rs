use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn proxies() -> TrustedProxies {
    TrustedProxies::parse(
        &["10.0.0.0/8", "fd00::/8", "192.0.2.1"],
        &["CF-Connecting-IP", "X-Forwarded-For"],
    )
    .unwrap()
}

#[test]
fn wrong_settings_are_refused_by_name() {
    let none: [&str; 0] = [];
    let error = TrustedProxies::parse(&["10.0.0.0/8", "10.0.0.0/40"], &none).unwrap_err();
    assert_eq!(error, TrustedProxiesError::Origin("10.0.0.0/40".into()));
    let error = TrustedProxies::parse(&none, &["X Forwarded"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "trusted header \"X Forwarded\" is not a header name such as X-Forwarded-For"
    );
}

#[test]
fn forwarded_addresses_are_believed_from_the_right_and_from_trusted_peers_only() {
    let xff = "x-forwarded-for";
    for (case, peer, lines, want) in [
        ("untrusted peer", "198.51.100.9", vec![(xff, "203.0.113.7")], "198.51.100.9"),
        ("no header", "10.0.0.1", vec![], "10.0.0.1"),
        ("one proxy", "10.0.0.1", vec![(xff, "203.0.113.7")], "203.0.113.7"),
        ("spoofed left end", "10.0.0.1", vec![(xff, "1.1.1.1, 203.0.113.7")], "203.0.113.7"),
        (
            "spoofed first line",
            "10.0.0.1",
            vec![(xff, "1.1.1.1"), (xff, "203.0.113.7")],
            "203.0.113.7",
        ),
        (
            "trusted chain",
            "10.0.0.1",
            vec![(xff, "203.0.113.7, 10.1.1.1"), (xff, "192.0.2.1")],
            "203.0.113.7",
        ),
        ("all trusted", "10.0.0.1", vec![(xff, "10.3.3.3, 10.2.2.2")], "10.3.3.3"),
        ("with port", "10.0.0.1", vec![(xff, "203.0.113.7:4711")], "203.0.113.7"),
        ("IPv6 with port", "10.0.0.1", vec![(xff, "[2001:db8::7]:4711")], "2001:db8::7"),
        ("IPv6 in brackets", "10.0.0.1", vec![(xff, "[2001:db8::7]")], "2001:db8::7"),
        ("IPv6 proxy", "fd00::1", vec![(xff, "2001:db8::7")], "2001:db8::7"),
        ("mapped IPv4", "10.0.0.1", vec![(xff, "::ffff:203.0.113.7")], "203.0.113.7"),
        ("rubbish skipped", "10.0.0.1", vec![(xff, "203.0.113.7, unknown, ,")], "203.0.113.7"),
        ("only rubbish", "10.0.0.1", vec![(xff, "unknown")], "10.0.0.1"),
        (
            "first header wins",
            "10.0.0.1",
            vec![(xff, "203.0.113.7"), ("cf-connecting-ip", "203.0.113.8")],
            "203.0.113.8",
        ),
        (
            "next header if the first is rubbish",
            "10.0.0.1",
            vec![(xff, "203.0.113.7"), ("cf-connecting-ip", "?")],
            "203.0.113.7",
        ),
        ("header not configured", "10.0.0.1", vec![("x-real-ip", "203.0.113.7")], "10.0.0.1"),
    ] {
        let found = proxies().find(peer.parse().unwrap(), &headers(&lines));
        assert_eq!(found.ip, want.parse::<IpAddr>().unwrap(), "{case}");
        assert_eq!(found.peer, peer.parse::<IpAddr>().unwrap(), "{case}");
        assert_eq!(found.is_proxied, case != "untrusted peer", "{case}");
    }
}

#[test]
fn an_endless_list_is_looked_at_from_the_right_only() {
    let list = vec!["10.2.2.2"; 10_000].join(",");
    let found = proxies().find(
        "10.0.0.1".parse().unwrap(),
        &headers(&[("x-forwarded-for", &format!("203.0.113.7,{list}"))]),
    );
    assert_eq!(found.ip, "10.2.2.2".parse::<IpAddr>().unwrap());
}

proptest! {
    #[test]
    fn no_header_makes_an_untrusted_peer_someone_else(value in "[ -~]{0,60}") {
        let peer: IpAddr = "198.51.100.9".parse().unwrap();
        let found = proxies().find(peer, &headers(&[("x-forwarded-for", &value)]));
        prop_assert_eq!(found.ip, peer);
    }

    #[test]
    fn an_appended_client_always_wins_over_what_stands_before(value in "[ -~]{0,60}") {
        let list = format!("{value},203.0.113.7");
        let found = proxies().find("10.0.0.1".parse().unwrap(), &headers(&[("x-forwarded-for", &list)]));
        prop_assert_eq!(found.ip, "203.0.113.7".parse::<IpAddr>().unwrap());
    }
}
