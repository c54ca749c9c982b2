use std::sync::LazyLock;

use proptest::prelude::*;
use stdx::{SeededRng, SharedRng};
use uuid::Uuid;

use super::*;

static RNG: LazyLock<SharedRng> = LazyLock::new(|| SeededRng::shared(11));

fn base64_key(fill: u8) -> Secret<String> {
    Secret::new(STANDARD.encode([fill; 32]))
}

fn ring(fills: &[u8]) -> Keyring {
    let keys: Vec<_> = fills.iter().map(|fill| base64_key(*fill)).collect();
    Keyring::from_base64(&keys).unwrap()
}

fn place() -> Place<'static> {
    Place::new("ai_provider_keys", "api_key", Uuid::from_u128(1))
}

fn seal(ring: &Keyring, plain: &str) -> SealedText {
    ring.seal(place(), &Secret::from(plain), &**RNG).unwrap()
}

fn open(ring: &Keyring, sealed: &SealedText) -> Result<String, OpenError> {
    ring.open(place(), &sealed.text, sealed.key_digest.as_deref()).map(|s| s.expose().clone())
}

/// A value as older products wrote it: no prefix, no associated data, short digest.
fn legacy(fill: u8, plain: &[u8]) -> SealedText {
    let key = Key::new(&[fill; 32]).unwrap();
    let sealed = key.seal(plain, &[], &**RNG).unwrap();
    SealedText {
        text: STANDARD.encode(sealed),
        key_digest: Some(key.digest()[..LEGACY_DIGEST_LEN].to_owned()),
    }
}

#[test]
fn bad_keys_are_refused_by_position_and_never_shown() {
    let planted = "PLANTED/PLANTED/PLANTED/PLANTED/";
    for (keys, want, text) in [
        (
            vec![base64_key(1), Secret::from("%PLANTED%")],
            KeyringError::NotBase64 { position: 2 },
            "encryption key 2 is not standard base64",
        ),
        (
            vec![Secret::from(planted)],
            KeyringError::Length { position: 1, found: 24 },
            "encryption key 1 is 24 bytes long, it must be exactly 32",
        ),
        (
            vec![Secret::from("")],
            KeyringError::Length { position: 1, found: 0 },
            "encryption key 1 is 0 bytes long, it must be exactly 32",
        ),
        (
            vec![base64_key(1), base64_key(2), base64_key(1)],
            KeyringError::Twice { first: 1, position: 3 },
            "encryption keys 1 and 3 are the same, remove one",
        ),
    ] {
        let error = Keyring::from_base64(&keys).unwrap_err();
        assert_eq!(error, want);
        assert_eq!(error.to_string(), text);
        assert!(!format!("{error:?}").contains("PLANTED"));
    }
}

#[test]
fn the_first_key_is_primary_and_digests_keep_their_order() {
    let ring = ring(&[1, 2]);
    let digests: Vec<_> = ring.digests().collect();
    assert_eq!(ring.primary_digest(), digests.first().copied());
    assert_eq!(digests.len(), 2);
    assert!(digests.iter().all(|digest| digest.len() == 16));
    // printf "aes256gcm" and 32 bytes of 0x01, through sha256sum.
    assert_eq!(digests[0], "39d228ee434e6956");
    assert!(Keyring::from_base64(&[]).unwrap().primary_digest().is_none());
}

#[test]
fn without_keys_values_pass_through_and_sealed_ones_stay_shut() {
    let empty = Keyring::empty();
    let plain = seal(&empty, "sk-plain");
    assert_eq!((plain.text.as_str(), &plain.key_digest), ("sk-plain", &None));
    assert_eq!(open(&empty, &plain).unwrap(), "sk-plain");
    let blank_digest = SealedText { text: "sk-plain".into(), key_digest: Some(String::new()) };
    assert_eq!(open(&ring(&[1]), &blank_digest).unwrap(), "sk-plain");

    let sealed = seal(&ring(&[1]), "sk-sealed");
    assert!(matches!(open(&empty, &sealed), Err(OpenError::UnknownKey { .. })));
}

#[test]
fn an_old_key_opens_after_rotation_and_the_new_one_seals() {
    let before = seal(&ring(&[1]), "sk-old");
    let rotated = ring(&[2, 1]);
    assert_eq!(open(&rotated, &before).unwrap(), "sk-old");
    let after = seal(&rotated, "sk-new");
    assert_eq!(after.key_digest.as_deref(), rotated.primary_digest());
    assert_ne!(after.key_digest, before.key_digest);
    assert!(matches!(open(&ring(&[2]), &before), Err(OpenError::UnknownKey { .. })));

    let leaving = rotated.without_primary();
    assert_eq!(open(&leaving, &after).unwrap(), "sk-new");
    assert_eq!(seal(&leaving, "sk-plain").key_digest, None);
}

#[test]
fn a_value_moved_to_another_place_does_not_open() {
    let keys = ring(&[1]);
    let sealed = seal(&keys, "sk-planted");
    let row = Uuid::from_u128(1);
    for moved in [
        Place::new("user_ai_provider_keys", "api_key", row),
        Place::new("ai_provider_keys", "settings", row),
        Place::new("ai_provider_keys", "api_key", Uuid::from_u128(2)),
        Place::new("ai_provider_keys", "api_key", ""),
    ] {
        let result = keys.open(moved, &sealed.text, sealed.key_digest.as_deref());
        assert_eq!(result.unwrap_err(), OpenError::Tampered, "{moved:?}");
    }
}

#[test]
fn a_bound_value_does_not_open_as_an_unbound_one() {
    let keys = ring(&[1]);
    let mut sealed = seal(&keys, "sk-planted");
    sealed.text = sealed.text.trim_start_matches(PREFIX).to_owned();
    assert_eq!(open(&keys, &sealed), Err(OpenError::Tampered));
}

#[test]
fn the_old_form_opens_with_its_short_digest() {
    let keys = ring(&[9, 1]);
    assert_eq!(open(&keys, &legacy(1, b"sk-legacy")).unwrap(), "sk-legacy");
    assert!(keys.holds(&ring(&[1]).primary_digest().unwrap()[..7]));
    assert_eq!(open(&keys, &legacy(1, &[0xFF, 0xFE])), Err(OpenError::NotText));
    for digest in ["", "a", "00000000"] {
        assert!(!keys.holds(digest), "{digest:?}");
    }
}

#[test]
fn malformed_values_and_unknown_keys_say_so_without_the_value() {
    let keys = ring(&[1]);
    let digest = keys.primary_digest().unwrap().to_owned();
    let short = STANDARD.encode([0; 27]);
    for (text, digest, want) in [
        ("v1:PLANTED!!", digest.as_str(), OpenError::Malformed),
        ("v1:", &digest, OpenError::Malformed),
        ("", &digest, OpenError::Malformed),
        (&short, &digest, OpenError::Malformed),
        (
            "v1:AAAA",
            "0123456789abcdef",
            OpenError::UnknownKey { digest: "0123456789abcdef".into() },
        ),
        ("v1:AAAA", "sk-PLANTED", OpenError::UnknownKey { digest: "(malformed)".into() }),
    ] {
        let error = keys.open(place(), text, Some(digest)).unwrap_err();
        assert_eq!(error, want);
        assert!(!format!("{error} {error:?}").contains("PLANTED"));
    }
}

#[test]
fn debug_shows_neither_keys_nor_values() {
    let keys = ring(&[1]);
    let plain = seal(&Keyring::empty(), "sk-planted");
    assert_eq!(format!("{keys:?}"), "Keyring { keys: 1, .. }");
    assert_eq!(format!("{plain:?}"), "SealedText { key_digest: None, .. }");
}

#[test]
fn the_sentinel_recognises_its_key_and_no_other() {
    let keys = ring(&[1]);
    let sealed = keys.seal_sentinel(&**RNG).unwrap().unwrap();
    let digest = sealed.key_digest.as_deref().unwrap();
    assert_eq!(keys.check_sentinel(&sealed.text, digest), Ok(()));
    assert_eq!(ring(&[2, 1]).check_sentinel(&sealed.text, digest), Ok(()));
    assert!(matches!(
        ring(&[2]).check_sentinel(&sealed.text, digest),
        Err(OpenError::UnknownKey { .. })
    ));
    let other = ring(&[2]).seal_sentinel(&**RNG).unwrap().unwrap();
    assert_eq!(keys.check_sentinel(&other.text, digest), Err(OpenError::Tampered));
    assert!(keys.check_sentinel(SENTINEL, "").is_err());
    let wrong = legacy(1, b"chest");
    assert_eq!(
        keys.check_sentinel(&wrong.text, wrong.key_digest.as_deref().unwrap()),
        Err(OpenError::Sentinel)
    );
    assert_eq!(Keyring::empty().seal_sentinel(&**RNG), Ok(None));
}

proptest! {
    #[test]
    fn what_was_sealed_opens_and_never_seals_twice_alike(plain in ".{0,200}") {
        let keys = ring(&[1]);
        let (one, two) = (seal(&keys, &plain), seal(&keys, &plain));
        prop_assert_ne!(&one.text, &two.text);
        prop_assert_eq!(open(&keys, &one).unwrap(), plain);
    }

    #[test]
    fn any_flipped_bit_is_refused(plain in ".{0,60}", at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let keys = ring(&[1]);
        let mut sealed = seal(&keys, &plain);
        let mut bytes = STANDARD.decode(&sealed.text[PREFIX.len()..]).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        sealed.text = format!("{PREFIX}{}", STANDARD.encode(bytes));
        prop_assert_eq!(open(&keys, &sealed), Err(OpenError::Tampered));
    }

    #[test]
    fn any_cut_is_refused(plain in ".{0,60}", keep in any::<prop::sample::Index>()) {
        let keys = ring(&[1]);
        let mut sealed = seal(&keys, &plain);
        let keep = keep.index(sealed.text.len());
        sealed.text.truncate(keep);
        prop_assert!(open(&keys, &sealed).is_err());
    }

    #[test]
    fn another_key_under_the_same_digest_is_refused(plain in ".{0,60}", fill in 2..=255u8) {
        let sealed = seal(&ring(&[1]), &plain);
        let other = ring(&[fill]);
        let digest = other.primary_digest();
        let result = other.open(place(), &sealed.text, digest);
        prop_assert_eq!(result.unwrap_err(), OpenError::Tampered);
    }

    #[test]
    fn no_stored_text_makes_opening_panic(text in ".{0,80}") {
        let keys = ring(&[1]);
        prop_assert!(keys.open(place(), &text, keys.primary_digest()).is_err());
    }
}
