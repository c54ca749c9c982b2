use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use stdx::SeededRng;

use super::*;

fn pbkdf2(password: &str, iterations: u32, salt: &[u8], output_len: usize) -> String {
    let mut output = vec![0; output_len];
    ring::pbkdf2::derive(
        ring::pbkdf2::PBKDF2_HMAC_SHA256,
        iterations.try_into().unwrap(),
        salt,
        password.as_bytes(),
        &mut output,
    );
    format!(
        "$pbkdf2-sha256${iterations}${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(output)
    )
}

fn argon2id(password: &str, params: Params) -> String {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password.as_bytes(), &[5; 16])
        .unwrap()
        .to_string()
}

#[test]
fn texts_that_are_no_hash_match_nothing() {
    let password = Secret::from("correct horse");
    let good = pbkdf2("correct horse", 16, b"0123456789abcdef", 64);
    for stored in [
        String::new(),
        "correct horse".to_owned(),
        "$argon2id$v=19$m=19456,t=2,p=1".to_owned(),
        "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        "$pbkdf2-sha256$16".to_owned(),
        pbkdf2("correct horse", 16, b"0123456789abcdef", 32),
        good.replace("$16$", "$0$"),
        good.replace("$16$", "$4294967295$"),
        good.replace("sha256", "sha512"),
        format!("{good}$"),
    ] {
        assert_eq!(verify(&stored, &password), Verdict::Wrong, "{stored}");
    }
}

#[test]
fn a_hash_verifies_its_password_and_no_other() {
    let rng = SeededRng::shared(5);
    let password = Secret::from("correct horse");
    let stored = hash(&password, &*rng).unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert_eq!(verify(&stored, &password), Verdict::Right);
    assert_eq!(verify(&stored, &Secret::from("correct horsf")), Verdict::Wrong);
    assert_eq!(verify(&stored, &Secret::from("")), Verdict::Wrong);
    assert_ne!(stored, hash(&password, &*rng).unwrap(), "each hash has its own salt");
}

#[test]
fn the_older_form_verifies_at_any_count_and_asks_to_be_replaced() {
    for iterations in [1, 1_024, 65_535] {
        let stored = pbkdf2("correct horse", iterations, b"0123456789abcdef", 64);
        assert_eq!(verify(&stored, &Secret::from("correct horse")), Verdict::RightRehash);
        assert_eq!(verify(&stored, &Secret::from("wrong horse")), Verdict::Wrong);
    }
}

#[test]
fn other_costs_ask_to_be_replaced_and_absurd_ones_are_not_paid() {
    let password = Secret::from("correct horse");
    let cheap = argon2id("correct horse", Params::new(64, 1, 1, None).unwrap());
    assert_eq!(verify(&cheap, &password), Verdict::RightRehash);
    assert_eq!(verify(&cheap, &Secret::from("wrong")), Verdict::Wrong);
    assert!(parse(&cheap).is_some());
    for absurd in ["m=4294967295,t=1,p=1", "m=64,t=17,p=1", "m=1024,t=1,p=17"] {
        assert!(parse(&cheap.replace("m=64,t=1,p=1", absurd)).is_none(), "{absurd}");
    }
    assert!(parse(&cheap.replace("argon2id", "argon2i")).is_none());
    assert!(parse(&cheap.replace("v=19", "v=16")).is_none());
}

#[test]
fn the_parameters_in_use_are_the_ones_stated() {
    let argon2 = current();
    let params = argon2.params();
    assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (19_456, 2, 1));
}

#[test]
fn a_right_verdict_is_right_in_either_form() {
    assert!(Verdict::Right.is_right());
    assert!(Verdict::RightRehash.is_right());
    assert!(!Verdict::Wrong.is_right());
}
