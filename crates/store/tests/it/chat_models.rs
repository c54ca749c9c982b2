//! Models that chats may use: one default, and what people may spend.

use std::time::Duration;

use rbac::{AllowList, Scope};
use serde_json::json;
use stdx::ids::{ChatModelId, ProviderId};
use store::chat_models::{
    ChatModel, DeleteModel, GetModel, GetUsageLimit, InsertModel, ListModels, ModelSettings,
    SetDefaultModel, UpdateModel, UpsertUsageLimit,
};
use store::{Call, Constraint, Error, Full, Pk, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::meeting::{meet, refused};
use crate::scene::{NOW, add_user, limited, member, owner, subject, user_id, value};

pub(crate) const fn model_id(n: u32) -> ChatModelId {
    ChatModelId::new(Uuid::from_u128(0xb000 + n as u128))
}

fn settings(model: &str) -> ModelSettings {
    ModelSettings {
        ai_provider_id: None,
        provider: "anthropic".to_owned(),
        model: model.to_owned(),
        display_name: String::new(),
        enabled: true,
        context_limit: 200_000,
        compression_threshold: 70,
        options: json!({}),
    }
}

pub(crate) fn model(n: u32, name: &str) -> InsertModel {
    InsertModel { id: model_id(n), settings: settings(name), is_default: false, by: None, now: NOW }
}

async fn scene() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    add_user(&store, 1, "alice").await;
    (db, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_offered_changed_and_taken_away_by_owners() {
    let (db, store) = scene().await;
    let (owner, member) = (owner(), member(1));
    let (by, other) = (Call::by(&owner), Call::by(&member));
    let (id, user) = (model_id(1), Some(user_id(1)));
    let new = || InsertModel { by: user, ..model(1, "sonnet") };
    refused!(store.run(other, new()).await, Error::Denied(_));
    let made = store.run(by, new()).await.unwrap().new.unwrap();
    assert_eq!((made.id.0, made.created_by, made.is_default), (id, user.map(Pk), false));
    refused!(store.run(by, new()).await, Error::Conflict(Constraint::ChatModelConfigsPkey));
    for (wrong, constraint) in [
        (
            ModelSettings { context_limit: 0, ..settings("a") },
            Constraint::ChatModelConfigsContextLimitCheck,
        ),
        (
            ModelSettings { compression_threshold: 101, ..settings("a") },
            Constraint::ChatModelConfigsCompressionThresholdCheck,
        ),
        (
            ModelSettings { options: json!([]), ..settings("a") },
            Constraint::ChatModelConfigsOptionsObject,
        ),
    ] {
        let insert = InsertModel { settings: wrong, ..model(9, "a") };
        let refused = store.run(by, insert).await;
        assert!(matches!(refused, Err(Error::Check(found)) if found == constraint), "{refused:?}");
    }
    let provider = Some(Pk(ProviderId::new(Uuid::from_u128(9))));
    let provider = ModelSettings { ai_provider_id: provider, ..settings("a") };
    let provider = InsertModel { settings: provider, ..model(9, "a") };
    refused!(
        store.run(by, provider).await,
        Error::Missing(Constraint::ChatModelConfigsAiProviderFk)
    );

    let update = |id| UpdateModel {
        id,
        settings: ModelSettings { enabled: false, ..settings("opus") },
        by: None,
        now: NOW + Duration::from_secs(1),
    };
    refused!(store.run(other, update(id)).await, Error::Denied(_));
    let change = store.run(by, update(id)).await.unwrap();
    let changed = change.new.unwrap();
    assert_eq!(change.old, Some(made.clone()));
    let wanted = ChatModel {
        model: "opus".to_owned(),
        enabled: false,
        updated_by: None,
        updated_at: NOW + Duration::from_secs(1),
        ..made
    };
    assert_eq!(changed, wanted);
    refused!(store.run(by, update(model_id(9))).await, Error::NotFound);

    for (n, name) in [(2, "sonnet"), (3, "haiku")] {
        store.run(by, InsertModel { is_default: n == 2, ..model(n, name) }).await.unwrap();
    }
    let one = AllowList::parse(&[format!("chat_model_config:{}", model_id(3))]).unwrap();
    let one = limited(user_id(900), &["owner"], Scope::all().narrowed_to(&one));
    let auditor = subject(user_id(2), &["auditor"]);
    let list = async |call, only_enabled| {
        let listed: Vec<ChatModel> = store.run(call, ListModels { only_enabled }).await.unwrap();
        listed.into_iter().map(|model| model.model).collect::<Vec<_>>()
    };
    assert_eq!(list(by, false).await, ["sonnet", "haiku", "opus"], "the default comes first");
    assert_eq!(list(by, true).await, ["sonnet", "haiku"]);
    assert_eq!(list(other, false).await, [""; 0]);
    assert_eq!(list(Call::by(&auditor), false).await.len(), 3);
    assert_eq!(list(Call::by(&one), false).await, ["haiku"]);

    let delete = |n| DeleteModel { id: model_id(n), by: user, now: NOW };
    refused!(store.run(other, delete(2)).await, Error::Denied(_));
    let gone = store.run(by, delete(2)).await.unwrap().new.unwrap();
    assert!(gone.deleted && !gone.is_default && gone.deleted_at == Some(NOW));
    for absent in [2, 9] {
        refused!(store.run(by, delete(absent)).await, Error::NotFound);
    }
    refused!(store.run(by, update(model_id(2))).await, Error::NotFound);
    assert_eq!(list(by, false).await, ["haiku", "opus"]);
    // Chats that used it still show what it was.
    assert_eq!(store.run(by, GetModel { id: model_id(2) }).await.unwrap(), gone);
    refused!(store.run(by, GetModel { id: model_id(9) }).await, Error::NotFound);
    refused!(store.run(other, GetModel { id: model_id(2) }).await, Error::Denied(_));
    assert_eq!(value(&db, "SELECT count(*) FROM chat_model_configs").await, "3");
}

const DEFAULTS: &str =
    "SELECT string_agg(model, ' ' ORDER BY model) FROM chat_model_configs WHERE is_default";

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_default_at_most_also_when_two_choose_one() {
    let (db, store) = scene().await;
    let owner = owner();
    let by = Call::by(&owner);
    for (n, name) in [(1, "a"), (2, "b"), (3, "c")] {
        store.run(by, model(n, name)).await.unwrap();
    }
    let set = |n| SetDefaultModel { id: model_id(n), by: None, now: NOW };
    refused!(store.run(Call::by(&member(1)), set(1)).await, Error::Denied(_));
    refused!(store.run(by, set(9)).await, Error::NotFound);
    let first = store.run(by, set(1)).await.unwrap();
    assert_eq!(first.len(), 1);
    assert!(first[0].new.as_ref().unwrap().is_default);
    let taken = InsertModel { is_default: true, ..model(4, "d") };
    let taken = store.run(by, taken).await;
    refused!(taken, Error::Conflict(Constraint::ChatModelConfigsDefaultKey));
    for (one, other) in [(2, 3), (3, 2)] {
        let (first, second) = meet((&db, &store), (by, || set(one)), (by, set(other))).await;
        first.unwrap();
        let second = second.unwrap();
        let flags: Vec<_> = second
            .iter()
            .map(|change| {
                (change.new.as_ref().unwrap().id.0, change.new.as_ref().unwrap().is_default)
            })
            .collect();
        assert_eq!(flags, [(model_id(one), false), (model_id(other), true)]);
    }
    assert_eq!(value(&db, DEFAULTS).await, "b");
    // One that goes while it is chosen is not the default; one that is chosen while it goes neither.
    let delete = |n| DeleteModel { id: model_id(n), by: None, now: NOW };
    let (gone, chosen) = meet((&db, &store), (by, || delete(1)), (by, set(1))).await;
    assert!(gone.is_ok());
    refused!(chosen, Error::NotFound);
    let (chosen, gone) = meet((&db, &store), (by, || set(3)), (by, delete(3))).await;
    assert!(chosen.is_ok());
    assert!(gone.unwrap().old.unwrap().is_default);
    assert_eq!(value(&db, DEFAULTS).await, "NULL");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_set_once_and_then_changed() {
    let (db, store) = scene().await;
    let (owner, member) = (owner(), member(1));
    let by = Call::by(&owner);
    let set = |default_limit_micros, period| UpsertUsageLimit {
        enabled: true,
        default_limit_micros,
        period,
        now: NOW,
    };
    refused!(store.run(by, GetUsageLimit).await, Error::NotFound);
    refused!(store.run(Call::by(&member), set(1, "day")).await, Error::Denied(_));
    let (one, two) = meet((&db, &store), (by, || set(5, "day")), (by, set(7, "week"))).await;
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((&one.old, &two.old), (&None, &one.new));
    let limit = store.run(by, GetUsageLimit).await.unwrap();
    assert_eq!((limit.default_limit_micros, limit.period.as_str()), (7, "week"));
    assert_eq!(two.new, Some(limit));
    let negative = store.run(by, set(-1, "day")).await;
    refused!(negative, Error::Check(Constraint::ChatUsageLimitConfigLimitCheck));
    let period = store.run(by, set(1, "year")).await;
    refused!(period, Error::Check(Constraint::ChatUsageLimitConfigPeriodKnown));
    refused!(store.run(Call::by(&member), GetUsageLimit).await, Error::Denied(_));
    assert_eq!(value(&db, "SELECT count(*) FROM chat_usage_limit_config").await, "1");
}
