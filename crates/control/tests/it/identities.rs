//! Who is served while coderd is there, is not, and comes back.

use std::sync::Arc;
use std::time::Duration;

use aibridge::ports::{Authenticator as _, Identity, Refused};
use control::client::{
    ClientMetrics, Coderd, Ended, Heartbeats, Identities, IdentitySettings, Link, Replica, Standing,
};
use control::wire::{RefusedReason, Resolved, Revoked, SpoolDepth};
use control::{VERSION, VERSION_HEADER};
use stdx::ids::UserId;
use stdx::{Clock as _, Lifecycle, ManualClock, SystemRng};
use telemetry::Registry;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::peer::{KEY, Mood, Peer, Running, client, eventually, identity, within};

const GRACE: Duration = Duration::from_hours(1);

/// Identities, the heartbeat that keeps them true, and the peer that both ask.
struct World {
    peer: Arc<Peer>,
    running: Running,
    identities: Arc<Identities>,
    link: Link,
    clock: Arc<ManualClock>,
    lifecycle: Lifecycle,
}

impl World {
    async fn new() -> Self {
        Self::with(GRACE, KEY).await
    }

    async fn with(grace: Duration, key: &str) -> Self {
        let peer = Peer::new();
        let running = peer.start(0).await;
        let clock = ManualClock::new(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000));
        let lifecycle = Lifecycle::new();
        let coderd: Coderd = client(running.address, key);
        let metrics = ClientMetrics::register(&mut Registry::new()).unwrap();
        let link = Link::new(Arc::clone(&clock) as _, grace);
        let identities = Identities::start(
            IdentitySettings::default(),
            coderd.clone(),
            link.clone(),
            Arc::clone(&clock) as _,
            metrics.clone(),
            &lifecycle,
        );
        let heartbeats = Heartbeats {
            coderd,
            replica: Replica { id: Uuid::from_u128(5), build: "test".to_owned() },
            identities: Arc::clone(&identities),
            link: link.clone(),
            metrics,
            rng: SystemRng::shared(),
        };
        heartbeats.start(SpoolDepth::default, &lifecycle);
        let world = Self { peer, running, identities, link, clock, lifecycle };
        if key == KEY {
            world.connected().await;
        }
        world
    }

    async fn connected(&self) {
        eventually(|| self.link.is_connected()).await;
    }

    async fn away(&self) {
        eventually(|| matches!(self.link.standing(), Standing::Away { .. })).await;
    }

    /// As the gateway does it.
    async fn who(&self, token: &str) -> Result<Identity, Refused> {
        match self.identities.cached(token) {
            Some(known) => known,
            None => within(self.identities.resolve(token)).await,
        }
    }

    fn knows(&self, token: &str) {
        self.peer.knows(token, identity(token, self.clock.now() + time::Duration::days(1)));
    }

    /// Ends the peer; the port to start it on again.
    async fn gone(&self) -> u16 {
        let port = self.running.stop().await;
        self.away().await;
        port
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.lifecycle.begin_stop();
    }
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_confirmed_behind_the_callers_back() {
    let world = World::new().await;
    world.knows("t");
    assert!(world.identities.cached("t").is_none());
    let ann = world.who("t").await.unwrap();
    assert_eq!((&*ann.username, &*ann.api_key_id), ("ann", "id-of-t"));
    for _ in 0..100 {
        assert_eq!(world.identities.cached("t"), Some(Ok(ann.clone())));
    }
    assert_eq!(world.peer.asked(), 1);

    world.clock.advance(Duration::from_secs(30));
    for _ in 0..100 {
        assert_eq!(world.identities.cached("t"), Some(Ok(ann.clone())), "served meanwhile");
    }
    eventually(|| world.peer.asked() == 2).await;

    // A confirmation that turns out to be a refusal ends it.
    world.clock.advance(Duration::from_secs(30));
    world.peer.knows("t", Resolved::Refused { reason: RefusedReason::Scope });
    eventually(|| world.identities.cached("t") == Some(Err(Refused::Scope))).await;
    assert_eq!(world.peer.asked(), 3);
    assert_eq!(world.identities.count(), 0);
}

#[tokio::test]
async fn many_who_ask_the_same_are_one_question_and_refusals_are_remembered() {
    let world = World::new().await;
    world.knows("t");
    let gate = Arc::new(Semaphore::new(0));
    world.peer.gate(Some(Arc::clone(&gate)));
    let asks: Vec<_> = (0..50).map(|_| world.identities.resolve("t")).collect();
    let all = async {
        let mut answers = Vec::new();
        for ask in asks {
            answers.push(ask.await);
        }
        answers
    };
    let open = async {
        eventually(|| world.peer.asked() == 1).await;
        gate.add_permits(100);
    };
    let (answers, ()) = within(async { tokio::join!(all, open) }).await;
    assert!(answers.iter().all(Result::is_ok));

    let before = world.peer.asked();
    for _ in 0..50 {
        assert_eq!(world.who("nobody").await, Err(Refused::Credential));
    }
    assert_eq!(world.peer.asked(), before + 1, "a flood of one bad token costs one question");
    world.clock.advance(Duration::from_secs(3));
    assert_eq!(world.who("nobody").await, Err(Refused::Credential));
    assert_eq!(world.peer.asked(), before + 2);
    // What is no token of ours is not worth a question.
    let long = "x".repeat(10_000);
    assert_eq!(world.who(&long).await, Err(Refused::Credential));
    assert_eq!(world.peer.asked(), before + 2);
}

#[tokio::test]
async fn a_revocation_is_felt_at_once() {
    let world = World::new().await;
    for token in ["a", "b"] {
        world.knows(token);
        world.who(token).await.unwrap();
    }
    world.peer.knows("a", Resolved::Refused { reason: RefusedReason::Credential });
    let began = std::time::Instant::now();
    world.peer.revoke(Revoked::ApiKey("id-of-a".to_owned()));
    eventually(|| world.identities.cached("a").is_none()).await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(world.who("a").await, Err(Refused::Credential));
    assert!(world.identities.cached("b").is_some(), "the other one stays");
    world.peer.revoke(Revoked::User(UserId::new(Uuid::from_u128(7))));
    eventually(|| world.identities.cached("b").is_none()).await;
}

#[tokio::test]
async fn an_answer_from_before_a_revocation_is_neither_kept_nor_given_after_it() {
    let world = World::new().await;
    world.knows("t");
    let gate = Arc::new(Semaphore::new(0));
    world.peer.gate(Some(Arc::clone(&gate)));
    let slow = world.identities.resolve("t");
    let meanwhile = async {
        // The answer is made, and under way for a while.
        eventually(|| world.peer.waiting.load(std::sync::atomic::Ordering::SeqCst) == 1).await;
        world.peer.knows("t", Resolved::Refused { reason: RefusedReason::Credential });
        // Another one is dropped by the same news, so one can see when it has arrived.
        world.peer.gate(None);
        world.knows("witness");
        world.who("witness").await.unwrap();
        world.peer.revoke(Revoked::ApiKey("id-of-t".to_owned()));
        world.peer.revoke(Revoked::ApiKey("id-of-witness".to_owned()));
        eventually(|| world.identities.cached("witness").is_none()).await;
        gate.add_permits(1);
    };
    let (answer, ()) = within(async { tokio::join!(slow, meanwhile) }).await;
    // Others may have joined the question after the revocation.
    assert_eq!(answer, Err(Refused::Credential));
    assert_eq!(world.who("t").await, Err(Refused::Credential));
}

#[tokio::test]
async fn while_coderd_is_away_the_known_are_served_within_the_grace_and_others_told_to_wait() {
    let world = World::new().await;
    world.knows("t");
    let soon = world.clock.now() + time::Duration::minutes(10);
    world.peer.knows("short", identity("short", soon));
    let ann = world.who("t").await.unwrap();
    world.who("short").await.unwrap();
    let port = world.gone().await;

    assert_eq!(world.who("t").await, Ok(ann.clone()));
    assert_eq!(world.who("stranger").await, Err(Refused::Unavailable));
    world.clock.advance(Duration::from_mins(9));
    assert_eq!(world.who("t").await, Ok(ann.clone()), "not fresh any more");
    assert!(world.who("short").await.is_ok());
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.who("short").await, Err(Refused::Unavailable), "its token has expired");
    world.clock.advance(Duration::from_mins(49));
    assert_eq!(world.who("t").await, Ok(ann.clone()));
    assert!(world.link.can_serve());
    world.clock.advance(Duration::from_mins(1));
    assert_eq!(world.who("t").await, Err(Refused::Unavailable), "the grace is over");
    assert!(!world.link.can_serve());

    // Another coderd process: everybody has to be confirmed.
    world.peer.reborn();
    let _running = world.peer.start(port).await;
    world.connected().await;
    assert_eq!(world.who("t").await, Ok(ann));
    assert_eq!(world.who("stranger").await, Err(Refused::Credential));
}

#[tokio::test]
async fn after_a_new_coderd_everybody_is_confirmed_before_being_served() {
    let world = World::new().await;
    world.knows("t");
    world.who("t").await.unwrap();
    let port = world.gone().await;
    world.peer.knows("t", Resolved::Refused { reason: RefusedReason::Credential });
    world.peer.reborn();
    assert!(world.who("t").await.is_ok(), "nobody can know yet");
    let _running = world.peer.start(port).await;
    world.connected().await;
    assert_eq!(world.identities.cached("t"), None);
    assert_eq!(world.who("t").await, Err(Refused::Credential));
}

#[tokio::test]
async fn after_a_short_absence_of_the_same_coderd_only_what_was_missed_is_forgotten() {
    let world = World::new().await;
    for token in ["a", "b"] {
        world.knows(token);
        world.who(token).await.unwrap();
    }
    let asked = world.peer.asked();
    let port = world.gone().await;
    world.peer.revoke(Revoked::ApiKey("id-of-a".to_owned()));
    let _running = world.peer.start(port).await;
    world.connected().await;
    assert_eq!(world.identities.cached("a"), None);
    assert!(world.identities.cached("b").is_some());
    assert_eq!(world.peer.asked(), asked);
}

#[tokio::test]
async fn without_a_grace_nobody_is_served_while_coderd_is_away() {
    let world = World::with(Duration::ZERO, KEY).await;
    world.knows("t");
    world.who("t").await.unwrap();
    assert!(world.identities.cached("t").is_some_and(|known| known.is_ok()));
    world.gone().await;
    assert_eq!(world.who("t").await, Err(Refused::Unavailable));
}

#[tokio::test]
async fn a_coderd_without_its_database_is_as_good_as_away() {
    let world = World::new().await;
    world.knows("t");
    let ann = world.who("t").await.unwrap();
    let busy = vec![(VERSION_HEADER, VERSION), ("retry-after", "1")];
    world.peer.set(Mood::Says(503, busy, r#"{"message":"No database."}"#));
    world.away().await;
    world.clock.advance(Duration::from_mins(6));
    assert_eq!(world.who("t").await, Ok(ann));
    assert_eq!(world.who("stranger").await, Err(Refused::Unavailable));
    world.peer.set(Mood::Fine);
    world.connected().await;
    assert_eq!(world.who("stranger").await, Err(Refused::Credential));
}

#[tokio::test]
async fn a_refused_key_is_the_end() {
    let world = World::with(GRACE, "cgw_unknown00000000000000000000000000000000").await;
    assert!(matches!(within(world.link.ended()).await, Ended::Key(_)));
    assert!(!world.link.is_connected());

    let world = World::new().await;
    world.peer.set(Mood::Says(401, vec![(VERSION_HEADER, VERSION)], "{}"));
    assert!(matches!(within(world.link.ended()).await, Ended::Key(_)), "deleted later");
}

#[tokio::test]
async fn replicas_of_coderd_that_know_nothing_of_each_other_are_not_asked_without_end() {
    let world = World::new().await;
    eventually(|| world.link.is_connected()).await;
    world.peer.forget_all_the_time();
    let (started, before) = (std::time::Instant::now(), world.peer.heartbeats());
    eventually(|| world.peer.heartbeats() >= before + 7).await;
    // The first two at most are not held back.
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
}
