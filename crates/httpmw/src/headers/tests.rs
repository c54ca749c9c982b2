use super::*;

#[test]
fn hsts_options_are_checked() {
    let none: [&str; 0] = [];
    assert_eq!(Hsts::parse(0, &none), Ok(None));
    assert_eq!(Hsts::parse(0, &["preload"]), Err(HstsError::NoMaxAge));
    assert_eq!(Hsts::parse(9, &["always"]), Err(HstsError::Option("always".into())));
    let hsts = Hsts::parse(31_536_000, &["includesubdomains", "preload"]).unwrap().unwrap();
    assert_eq!(hsts.0, "max-age=31536000; includeSubDomains; preload");
}

#[test]
fn the_policy_names_the_host_and_refuses_to_be_extended_by_it() {
    let site = SiteHeaders::default();
    let policy = site.policy(Some("coder.example.com:8443"));
    assert!(
        policy.contains(
            "connect-src 'self' wss://coder.example.com:8443 ws://coder.example.com:8443;"
        ),
        "{policy}"
    );
    for host in ["evil; script-src *", "", "a b", "a,b"] {
        let policy = site.policy(Some(host));
        assert!(policy.contains("connect-src 'self';"), "{policy}");
        assert_eq!(policy, site.policy(None));
    }
}

#[test]
fn frame_ancestors_can_be_replaced_and_removed() {
    let policy = |sources: Option<&str>| {
        SiteHeaders { frame_ancestors: sources.map(str::to_owned), ..SiteHeaders::default() }
            .policy(None)
    };
    assert!(policy(None).ends_with("frame-ancestors 'self'"));
    assert!(policy(Some("https://a.example")).ends_with("frame-ancestors https://a.example"));
    assert!(!policy(Some("")).contains("frame-ancestors"));
}
