use store::licenses::{DeleteLicense, GetLicense, InsertLicense, ListLicenses};

use super::{NEW, NOW, Refusal, Visitor};

pub(super) fn visit(v: &mut impl Visitor) {
    let (uuid, jwt) = (NEW, "d.e.f".to_owned());
    v.visit(InsertLicense { uuid, now: NOW, jwt, exp: NOW }, Refusal::Inputs);
    v.visit(GetLicense { id: 1 }, Refusal::Inputs);
    v.visit(ListLicenses { live_at: Some(NOW) }, Refusal::Inputs);
    v.visit(DeleteLicense { id: 1 }, Refusal::Inputs);
}
