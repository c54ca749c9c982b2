use http::StatusCode;
use serde_json::{Value, json};

use super::*;

const ID: &str = "0a000000-0000-4000-8000-000000000001";

fn me() -> UserId {
    ID.parse().unwrap()
}

fn read_json(checks: &Value) -> ApiResult<Vec<Question>> {
    read(serde_json::from_value(json!({ "checks": checks })).unwrap(), me())
}

/// Message, and field and detail of each validation.
fn refusal(checks: &Value) -> (String, Vec<(String, String)>) {
    match read_json(checks) {
        Err(ApiError::Answer { status: StatusCode::BAD_REQUEST, body }) => {
            assert!(body.detail.is_empty());
            let faults = body.validations.into_iter().map(|fault| (fault.field, fault.detail));
            (body.message, faults.collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_wrong_is_told_with_its_field_and_key() {
    let read = |object: Value| json!({ "object": object, "action": "read" });
    for (check, field, message) in [
        (
            read(json!({})),
            "resource_type",
            "Object's \"resource_type\" field must be defined for key \"k\".",
        ),
        (
            read(json!({ "resource_type": "task" })),
            "resource_type",
            "unknown resource type \"task\", for key \"k\".",
        ),
        (
            read(json!({ "resource_type": "*" })),
            "resource_type",
            "unknown resource type \"*\", for key \"k\".",
        ),
        (
            read(json!({ "resource_type": "file", "owner_id": "alice" })),
            "owner_id",
            "owner id must be a UUID: \"alice\", for key \"k\".",
        ),
        (
            read(json!({ "resource_type": "file", "organization_id": "default" })),
            "organization_id",
            "organization id must be a UUID: \"default\", for key \"k\".",
        ),
        (
            read(json!({ "resource_type": "file", "organization_id": ID, "any_org": true })),
            "any_org",
            "an object is in one organization or in any, not both: \
             organization id 0a000000-0000-4000-8000-000000000001 and any_org, for key \"k\".",
        ),
        (
            read(json!({ "resource_type": "file", "resource_id": ID })),
            "resource_type",
            "Object type \"file\" does not support \"resource_id\" field.",
        ),
        (
            read(json!({ "resource_type": "user", "resource_id": "me" })),
            "resource_id",
            "Object's \"resource_id\" must be a UUID for key \"k\": \"me\".",
        ),
        (
            json!({ "object": { "resource_type": "file" }, "action": "fly" }),
            "action",
            "unknown action \"fly\", for key \"k\".",
        ),
        (
            json!({ "object": { "resource_type": "file" }, "action": "*" }),
            "action",
            "unknown action \"*\", for key \"k\".",
        ),
    ] {
        let seen = refusal(&json!({ "k": check }));
        assert_eq!(seen, (message.to_owned(), vec![(field.to_owned(), message.to_owned())]));
    }
}

#[test]
fn all_faults_are_told_and_long_texts_cut() {
    let long = "k".repeat(1000);
    let (message, faults) = refusal(&json!({
        "a": { "object": { "resource_type": "file" }, "action": "read" },
        "b": { "object": { "resource_type": "b".repeat(1000) }, "action": "read" },
        long: { "object": { "resource_type": "" }, "action": "read" },
    }));
    assert!(message.starts_with("unknown resource type"));
    assert_eq!(faults.len(), 2);
    assert!(faults.iter().all(|(field, detail)| field == "resource_type" && detail.len() < 200));
}

#[test]
fn questions_are_bounded() {
    let many = |count: usize, object: &Value| -> Value {
        let check = json!({ "object": object, "action": "read" });
        (0..count).map(|n| (n.to_string(), check.clone())).collect::<serde_json::Map<_, _>>().into()
    };
    let (plain, row) =
        (json!({ "resource_type": "file" }), json!({ "resource_type": "user", "resource_id": ID }));
    assert_eq!(read_json(&many(100, &plain)).unwrap().len(), 100);
    let (message, faults) = refusal(&many(101, &plain));
    assert_eq!(message, "At most 100 checks can be made at once, not 101.");
    assert_eq!(faults[0].0, "checks");
    assert_eq!(read_json(&many(10, &row)).unwrap().len(), 10);
    let (message, faults) = refusal(&many(12, &row));
    assert_eq!(
        message,
        "Endpoint only supports using \"resource_id\" field 10 times, used 12 times. \
         Remove 2 objects with this field set."
    );
    assert_eq!(faults[0].0, "resource_id");
}

#[test]
fn objects_are_described_as_rules_speak_of_them() {
    let ask = |object: Value| {
        let questions = read_json(&json!({ "k": { "object": object, "action": "read" } }));
        match questions.unwrap().remove(0).target {
            Target::Described(object) => object,
            Target::Row(kind, id) => panic!("{kind:?} {id}"),
        }
    };
    let file = Object::new(rbac::Resource::File);
    let org = ID.parse().unwrap();
    for (object, wanted) in [
        (json!({ "resource_type": "file" }), file),
        (json!({ "resource_type": "file", "owner_id": "me" }), file.owner(me())),
        (json!({ "resource_type": "file", "owner_id": ID }), file.owner(me())),
        (json!({ "resource_type": "file", "owner_id": "*" }), file),
        (json!({ "resource_type": "file", "organization_id": ID }), file.in_org(org)),
        (json!({ "resource_type": "file", "any_org": true }), file.any_org()),
        (json!({ "resource_type": "file", "resource_id": "" }), file),
    ] {
        assert_eq!(ask(object), wanted);
    }
}
