use stdx::Secret;
use store::crypto_keys::{DeleteCryptoKeys, InsertCryptoKey, ListCryptoKeys, RetireCryptoKey};

use super::{NEW, NOW, Refusal, Visitor};

pub(super) fn visit(v: &mut impl Visitor) {
    let feature = "oidc_convert";
    v.visit(ListCryptoKeys { feature }, Refusal::Inputs);
    v.visit(
        InsertCryptoKey {
            id: NEW,
            feature,
            sequence: 9,
            secret: Secret::from("00"),
            starts_at: NOW,
        },
        Refusal::Inputs,
    );
    v.visit(RetireCryptoKey { id: NEW, deletes_at: NOW }, Refusal::Inputs);
    v.visit(DeleteCryptoKeys { now: NOW }, Refusal::Inputs);
}
