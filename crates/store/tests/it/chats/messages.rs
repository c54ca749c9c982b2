//! What is said in chats, and what waits to be said.

use serde_json::{Value, json};
use store::chats::{
    BATCH_MAX, InsertMessages, InsertQueued, ListMessages, ListQueued, NewMessage, PopQueued, Usage,
};
use store::{Call, Constraint, Error, Pk, Store as _};

use super::{MINUTE, chat_id, new_chat, scene};
use crate::chat_models::model_id;
use crate::meeting::{meet, refused};
use crate::scene::{NOW, member, new_key, owner, user_id, value};
use store::api_keys::{DeleteApiKey, InsertApiKey};

fn text(text: &str) -> Value {
    json!([{ "type": "text", "text": text }])
}

fn said(words: &str) -> NewMessage {
    NewMessage {
        model_config_id: None,
        created_by: Some(Pk(user_id(1))),
        role: "user",
        content: Some(text(words)),
        content_version: 1,
        visibility: "both",
        usage: Usage::default(),
        compressed: false,
        provider_response_id: None,
    }
}

fn insert(n: u32, messages: Vec<NewMessage>) -> InsertMessages {
    InsertMessages { chat_id: chat_id(n), api_key_id: None, messages, now: NOW + MINUTE }
}

fn list(n: u32, after: i64) -> ListMessages {
    ListMessages { chat_id: chat_id(n), after, limit: 100 }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_stored_in_their_order_and_read_from_one_on() {
    let (db, store, alice, bob) = scene().await;
    let by = Call::by(&alice);
    for n in [1, 2] {
        store.run(by, new_chat(n, 1)).await.unwrap();
    }
    store.run(by, InsertApiKey(new_key("key0000001", 1, ""))).await.unwrap();
    let answer = NewMessage {
        model_config_id: Some(Pk(model_id(2))),
        created_by: None,
        role: "assistant",
        usage: Usage { input_tokens: Some(10), output_tokens: Some(20), ..Usage::default() },
        provider_response_id: Some("msg_01".to_owned()),
        ..said("hi")
    };
    let turn = || InsertMessages {
        api_key_id: Some("key0000001".to_owned()),
        ..insert(1, vec![said("hello"), answer.clone(), said("thanks")])
    };
    for other in [&bob, &member(1)] {
        refused!(store.run(Call::by(other), turn()).await, Error::Denied(_));
    }
    let stored = store.run(by, turn()).await.unwrap();
    let words = |messages: &[store::chats::Message]| -> Vec<String> {
        let word = |message: &store::chats::Message| {
            let content = message.content.as_ref().unwrap();
            content[0]["text"].as_str().unwrap().to_owned()
        };
        messages.iter().map(word).collect()
    };
    assert_eq!(words(&stored), ["hello", "hi", "thanks"]);
    assert!(stored.iter().all(|message| message.api_key_id.as_deref() == Some("key0000001")));
    let second = &stored[1];
    assert_eq!((second.role.as_str(), &second.usage), ("assistant", &answer.usage));
    assert_eq!((second.created_by, second.created_at), (None, NOW + MINUTE));
    let chat =
        "SELECT concat_ws(' ', last_model_config_id, updated_at = '2031-01-15 12:01Z') FROM chats
        WHERE title = 'Chat 1'";
    assert_eq!(value(&db, chat).await, format!("{} t", model_id(2)), "it goes on with that model");
    let more = store.run(by, insert(1, vec![said("bye")])).await.unwrap();
    assert_eq!(value(&db, chat).await, format!("{} t", model_id(2)));
    assert_eq!(more[0].api_key_id, None);
    store.run(by, insert(2, vec![said("elsewhere")])).await.unwrap();

    let read = async |list: ListMessages| words(&store.run(by, list).await.unwrap()[..]);
    assert_eq!(read(list(1, 0)).await, ["hello", "hi", "thanks", "bye"]);
    assert_eq!(read(list(1, second.id)).await, ["thanks", "bye"]);
    assert_eq!(read(ListMessages { limit: 1, ..list(1, second.id) }).await, ["thanks"]);
    assert_eq!(read(ListMessages { limit: -1, ..list(1, 0) }).await, [""; 0]);
    assert_eq!(read(list(9, 0)).await, [""; 0]);
    for other in [&bob, &member(1)] {
        assert_eq!(store.run(Call::by(other), list(1, 0)).await.unwrap(), []);
    }
    assert_eq!(store.run(Call::by(&owner()), list(1, 0)).await.unwrap().len(), 4);
    db.sql("UPDATE chat_messages SET deleted = true WHERE role = 'assistant'").await.unwrap();
    assert_eq!(read(list(1, 0)).await, ["hello", "thanks", "bye"]);
    // Without its key a turn cannot go on, but what was said stays.
    store.run(by, DeleteApiKey { id: "key0000001".to_owned() }).await.unwrap();
    let kept = store.run(by, list(1, 0)).await.unwrap();
    assert!(kept.len() == 3 && kept.iter().all(|message| message.api_key_id.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_stored_whole_or_not_at_all() {
    let (db, store, alice, _bob) = scene().await;
    let by = Call::by(&alice);
    store.run(by, new_chat(1, 1)).await.unwrap();
    let role = NewMessage { role: "fool", ..said("b") };
    refused!(
        store.run(by, insert(1, vec![said("a"), role])).await,
        Error::Check(Constraint::ChatMessagesRoleKnown)
    );
    let shown = NewMessage { visibility: "nobody", ..said("b") };
    refused!(
        store.run(by, insert(1, vec![said("a"), shown])).await,
        Error::Check(Constraint::ChatMessagesVisibilityKnown)
    );
    let keyless =
        InsertMessages { api_key_id: Some("absent".to_owned()), ..insert(1, vec![said("a")]) };
    refused!(store.run(by, keyless).await, Error::Missing(Constraint::ChatMessagesApiKeyFk));
    let model = NewMessage { model_config_id: Some(Pk(model_id(9))), ..said("a") };
    refused!(
        store.run(by, insert(1, vec![model])).await,
        Error::Missing(Constraint::ChatMessagesModelConfigFk)
    );
    let many = |count| vec![said("a"); count];
    refused!(store.run(by, insert(1, many(BATCH_MAX + 1))).await, Error::Unfit(_));
    refused!(store.run(by, insert(9, many(1))).await, Error::NotFound);
    assert_eq!(store.run(by, insert(1, many(0))).await.unwrap(), []);
    assert_eq!(value(&db, "SELECT count(*) FROM chat_messages").await, "0");
    assert_eq!(store.run(by, insert(1, many(BATCH_MAX))).await.unwrap().len(), BATCH_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_turns_at_once_the_second_comes_after_the_first() {
    let (db, store, alice, _bob) = scene().await;
    let by = Call::by(&alice);
    store.run(by, new_chat(1, 1)).await.unwrap();
    for _ in 0..2 {
        let first = || insert(1, vec![said("a"), said("b")]);
        let second = insert(1, vec![said("c"), said("d")]);
        let (one, two) = meet((&db, &store), (by, first), (by, second)).await;
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one[1].id < two[0].id, "who has read the second must not miss the first");
    }
}

fn queue(n: u32, words: &str) -> InsertQueued {
    InsertQueued { chat_id: chat_id(n), api_key_id: None, content: text(words), now: NOW }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_said_in_its_order_and_once() {
    let (db, store, alice, bob) = scene().await;
    let by = Call::by(&alice);
    for n in [1, 2] {
        store.run(by, new_chat(n, 1)).await.unwrap();
    }
    let pop = |n| PopQueued { chat_id: chat_id(n) };
    let listed = |n| ListQueued { chat_id: chat_id(n) };
    for other in [&bob, &member(1)] {
        refused!(store.run(Call::by(other), queue(1, "a")).await, Error::Denied(_));
        refused!(store.run(Call::by(other), pop(1)).await, Error::Denied(_));
    }
    refused!(store.run(by, queue(9, "a")).await, Error::NotFound);
    refused!(store.run(by, pop(9)).await, Error::NotFound);
    let keyless = InsertQueued { api_key_id: Some("absent".to_owned()), ..queue(1, "a") };
    refused!(store.run(by, keyless).await, Error::Missing(Constraint::ChatQueuedMessagesApiKeyFk));
    assert_eq!(store.run(by, pop(1)).await.unwrap(), None);
    for words in ["a", "b", "c"] {
        let queued = store.run(by, queue(1, words)).await.unwrap();
        assert_eq!((queued.content, queued.created_at), (text(words), NOW));
    }
    store.run(by, queue(2, "elsewhere")).await.unwrap();
    let waiting = store.run(by, listed(1)).await.unwrap();
    let words: Vec<_> = waiting.iter().map(|queued| queued.content.clone()).collect();
    assert_eq!(words, [text("a"), text("b"), text("c")]);
    assert_eq!(store.run(Call::by(&bob), listed(1)).await.unwrap(), []);

    let (one, two) = meet((&db, &store), (by, || pop(1)), (by, pop(1))).await;
    let (one, two) = (one.unwrap().unwrap(), two.unwrap().unwrap());
    assert_eq!((one.content, two.content), (text("a"), text("b")));
    let (one, two) = meet((&db, &store), (by, || pop(1)), (by, pop(1))).await;
    assert_eq!((one.unwrap().unwrap().content, two.unwrap()), (text("c"), None));
    let (one, two) = meet((&db, &store), (by, || queue(1, "d")), (by, pop(1))).await;
    assert_eq!(one.unwrap(), two.unwrap().unwrap(), "one that comes meanwhile is waited for");
    let (one, two) = meet((&db, &store), (by, || pop(1)), (by, queue(1, "e"))).await;
    assert_eq!((one.unwrap(), two.unwrap().content), (None, text("e")));
    assert_eq!(store.run(by, listed(2)).await.unwrap().len(), 1);
}
