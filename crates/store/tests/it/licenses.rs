//! Licences: whose they are, and that a text counts once.

use std::time::Duration;

use store::licenses::{DeleteLicense, GetLicense, InsertLicense, ListLicenses};
use store::{Call, Constraint, Error, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::scene::{NOW, member, owner, value};

fn new(n: u128, jwt: &str, days: u64) -> InsertLicense {
    let exp = NOW + Duration::from_hours(24 * days);
    InsertLicense { uuid: Uuid::from_u128(n), now: NOW, jwt: jwt.to_owned(), exp }
}

#[tokio::test(flavor = "multi_thread")]
async fn licences_are_the_owners_and_one_text_counts_once() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    let (owner, other) = (owner(), member(1));
    let by = Call::by(&owner);
    let refused = store.run(Call::by(&other), new(1, "a.b.c", 1)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    assert_eq!(value(&db, "SELECT count(*) FROM licenses").await, "0");
    let short = store.run(by, new(1, "a.b.c", 1)).await.unwrap().new.unwrap();
    let long = store.run(by, new(2, "d.e.f", 9)).await.unwrap().new.unwrap();
    assert!(short.id < long.id);
    for (name, again, constraint) in [
        ("text", new(3, "a.b.c", 9), Constraint::LicensesJwtKey),
        ("uuid", new(1, "g.h.i", 9), Constraint::LicensesUuidKey),
    ] {
        let again = store.run(by, again).await;
        assert!(matches!(again, Err(Error::Conflict(found)) if found == constraint), "{name}");
    }

    // What ends at an instant is no longer live at it.
    for (live_at, wanted) in [
        (None, vec![&short, &long]),
        (Some(NOW), vec![&short, &long]),
        (Some(short.exp), vec![&long]),
        (Some(long.exp), vec![]),
    ] {
        let listed = store.run(by, ListLicenses { live_at }).await.unwrap();
        assert_eq!(listed.iter().collect::<Vec<_>>(), wanted, "{live_at:?}");
    }
    assert_eq!(store.run(by, GetLicense { id: long.id }).await.unwrap(), long);
    let refused = store.run(Call::by(&other), GetLicense { id: long.id }).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let refused = store.run(Call::by(&other), ListLicenses { live_at: None }).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");

    let refused = store.run(Call::by(&other), DeleteLicense { id: short.id }).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let change = store.run(by, DeleteLicense { id: short.id }).await.unwrap();
    assert_eq!((change.old, change.new), (Some(short.clone()), None));
    let absent = store.run(by, DeleteLicense { id: short.id }).await;
    assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
    let absent = store.run(by, GetLicense { id: short.id }).await;
    assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
}
