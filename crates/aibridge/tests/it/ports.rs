//! The gateway's ports, kept in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aibridge::facts::Fact;
use aibridge::ports::{
    Authenticator, BoxFuture, Durable, Identity, RecordError, Recorder, Refused,
};
use stdx::ids::UserId;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use crate::world::within;

/// Alice's token.
pub(crate) const TOKEN: &str = "alice0001-secretsecretsecret";

/// Bob's token.
pub(crate) const BOB: &str = "bob000001-secretsecretsecret";

/// Knows Alice and Bob, and one token about which it cannot say anything.
#[derive(Debug, Default)]
pub(crate) struct People;

impl Authenticator for People {
    fn resolve<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, Refused>> {
        Box::pin(async move {
            match token {
                TOKEN => Ok(person(0xa11ce, "alice", "alice0001")),
                BOB => Ok(person(0xb0b, "bob", "bob000001")),
                "narrow" => Err(Refused::Scope),
                "undecidable" => Err(Refused::Unavailable),
                _ => Err(Refused::Credential),
            }
        })
    }
}

fn person(number: u128, username: &str, key: &str) -> Identity {
    Identity {
        user: UserId::new(Uuid::from_u128(number)),
        username: username.into(),
        api_key_id: key.into(),
    }
}

/// How the recorder behaves.
#[derive(Clone, Debug, Default)]
pub(crate) enum Mood {
    #[default]
    Willing,
    /// Takes nothing.
    Refuses(RecordError),
    /// Takes batches, but each needs a permit to become durable.
    Slow(Arc<Semaphore>),
    /// Takes batches and then fails to make them durable.
    Forgets,
}

/// Keeps facts.
#[derive(Debug, Default)]
pub(crate) struct Book {
    facts: Mutex<Vec<Fact>>,
    mood: Mutex<Mood>,
    appended: Notify,
}

impl Recorder for Book {
    fn append(&self, facts: Vec<Fact>) -> Result<Durable, RecordError> {
        let mood = self.mood.lock().unwrap().clone();
        if let Mood::Refuses(error) = mood {
            return Err(error);
        }
        self.facts.lock().unwrap().extend(facts);
        self.appended.notify_waiters();
        Ok(Durable::later(async move {
            match mood {
                Mood::Slow(gate) => gate.acquire().await.unwrap().forget(),
                Mood::Forgets => return Err(RecordError::Closed),
                Mood::Willing | Mood::Refuses(_) => {}
            }
            Ok(())
        }))
    }
}

impl Book {
    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    pub(crate) fn facts(&self) -> Vec<Fact> {
        self.facts.lock().unwrap().clone()
    }

    /// Waits for the first end fact, then tells everything in short lines.
    pub(crate) async fn ended(&self) -> Vec<String> {
        within(async {
            loop {
                let appended = self.appended.notified();
                if self.facts().iter().any(|fact| matches!(fact, Fact::End(_))) {
                    return;
                }
                appended.await;
            }
        })
        .await;
        self.lines()
    }

    /// Every fact as one line, without what differs from run to run. Checks on the way that all facts
    /// belong to one interception per start.
    pub(crate) fn lines(&self) -> Vec<String> {
        let facts = self.facts();
        let known = |fact: &Fact| {
            let mut starts = facts.iter().filter_map(|fact| match fact {
                Fact::Start(start) => Some(start.id),
                _ => None,
            });
            starts.any(|id| id == fact.interception())
        };
        assert!(facts.iter().all(known), "{facts:?}");
        facts.iter().map(line).collect()
    }
}

fn pairs<T: std::fmt::Display>(map: &BTreeMap<String, T>) -> String {
    map.iter().fold(String::new(), |text, (key, value)| text + " " + key + "=" + &value.to_string())
}

fn line(fact: &Fact) -> String {
    match fact {
        Fact::Start(f) => format!(
            "start {} {} {} {:?} {} {:?} session={:?} result-of={:?}{}",
            f.provider,
            f.provider_name,
            f.model,
            f.client,
            f.credential_kind.as_str(),
            f.credential_hint,
            f.client_session_id,
            f.correlating_tool_call_id,
            pairs(&f.metadata),
        ),
        Fact::End(f) => {
            let error = f.error_type.map_or("ok", |error| error.as_str());
            let message = f.error_message.as_deref().unwrap_or_default();
            format!("end {:?} {error} {message}", f.credential_hint).trim_end().to_owned()
        }
        Fact::Prompt(f) => format!("prompt {:?} {:?}", f.response_id, f.prompt),
        Fact::Tokens(f) => format!(
            "tokens {:?} in={} out={} read={} write={}{}{}",
            f.response_id,
            f.input,
            f.output,
            f.cache_read,
            f.cache_write,
            pairs(&f.extra),
            pairs(&f.metadata),
        ),
        Fact::Tool(f) => {
            format!("tool {:?} {:?} {} {}", f.response_id, f.tool_call_id, f.tool, f.input)
        }
        Fact::Thought(f) => format!("thought {:?}{}", f.content, pairs(&f.metadata)),
    }
}
