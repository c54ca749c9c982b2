//! Large requests and answers beside small ones on one thread. What is asserted is the order in which they
//! are done: with a large body read on the thread that serves the sockets, it would be done first.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use crate::apis::{Api, apis, reply};
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{World, chunk, post, row};

/// Far more time than a few small requests take.
const LARGE: usize = 8 << 20;
const SMALL_REQUESTS: usize = 5;

/// What was done, in order.
#[derive(Default)]
struct Done(Mutex<Vec<&'static str>>);

impl Done {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    /// Small requests came first.
    fn assert_small_first(&self, large: usize) {
        let mut want = vec!["small"; SMALL_REQUESTS];
        want.extend(vec!["large"; large]);
        assert_eq!(*self.0.lock().unwrap(), want);
    }
}

async fn small_requests(world: &World, api: &Api, done: &Done) {
    for _ in 0..SMALL_REQUESTS {
        let answer = world.ask(post(api.path, &api.request(false))).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, api.body));
        done.note("small");
    }
}

#[tokio::test]
async fn small_requests_are_answered_while_large_ones_are_read() {
    for api in apis() {
        let (world, provider) = api.world(Reply::json(200, api.body)).await;
        // Wrong at its very end: its answer comes when all of it was read and nothing else was done.
        let text = "x".repeat(LARGE);
        let request = api.request(true).replacen('}', &format!(",\"pad\":{text:?}"), 1);
        let done = Done::default();
        let large = || async {
            let answer = world.ask(post(api.path, &request)).await;
            assert_eq!(answer.status, 400, "{}", answer.body);
            done.note("large");
        };
        // Large ones are asked for first.
        tokio::join!(large(), large(), small_requests(&world, &api, &done));
        done.assert_small_first(2);
        assert_eq!(provider.seen().len(), SMALL_REQUESTS);
        assert_eq!(world.metric("coder_ai_gateway_held_bytes"), 0);
    }
}

#[tokio::test]
async fn a_large_request_is_sent_and_recorded_as_any_other() {
    for api in apis() {
        let (world, provider) = api.world(Reply::json(200, api.body)).await;
        let text = "x".repeat(LARGE);
        let request = api.request(false).replacen('}', &format!(",\"pad\":{text:?}}}"), 1);
        let answer = world.ask(post(api.path, &request)).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, api.body));
        assert!(provider.only().body == request, "byte for byte");
        assert_eq!(world.book.lines(), api.book_of_answer(false, r#"end "..." ok"#));
    }
}

/// An answer whose last piece waits for `gate`, and is not released before all of it was understood.
fn large_answer(api: &Api, gate: &Arc<Semaphore>) -> Reply {
    let large = api.body.replacen("Hello", &"x".repeat(LARGE), 1);
    reply(false, vec![send(&large), Step::Wait(Arc::clone(gate)), send(" ")])
}

/// A provider that answers the first request like this and all others as usual.
async fn world(api: &Api, first: Reply) -> World {
    let world = World::new();
    let usual = Reply::json(200, api.body);
    let provider =
        Upstream::start(
            &world.lifecycle,
            move |number, _| {
                if number == 0 { first.clone() } else { usual.clone() }
            },
        )
        .await;
    world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
    world
}

#[tokio::test]
async fn small_requests_are_answered_while_a_large_answer_is_understood() {
    let [api, ..] = apis();
    let gate = Arc::new(Semaphore::new(1));
    let world = world(&api, large_answer(&api, &gate)).await;
    let done = Done::default();
    let mut body = world.send(post(api.path, &api.request(false))).await.into_body();
    let whole = api.body.len() - "Hello".len() + LARGE + 1;
    let mut read = 0;
    while read < whole - 1 {
        read += chunk(&mut body).await.unwrap().len();
    }
    // Everything is there; the last piece is released when it was understood.
    let large = async {
        while let Some(bytes) = chunk(&mut body).await {
            read += bytes.len();
        }
        done.note("large");
    };
    tokio::join!(large, small_requests(&world, &api, &done));
    done.assert_small_first(1);
    assert_eq!(read, whole);
    let lines = world.book.lines();
    assert_eq!(lines.iter().filter(|line| *line == r#"end "..." ok"#).count(), SMALL_REQUESTS + 1);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_answer_is_understood_is_recorded_all_the_same() {
    for api in apis() {
        let gate = Arc::new(Semaphore::new(1));
        let world = world(&api, large_answer(&api, &gate)).await;
        let mut body = world.send(post(api.path, &api.request(false))).await.into_body();
        let whole = api.body.len() - "Hello".len() + LARGE + 1;
        let mut read = 0;
        while read < whole - 1 {
            read += chunk(&mut body).await.unwrap().len();
        }
        // The last piece waits until all is understood and recorded; nobody waits for it.
        tokio::select! {
            _ = chunk(&mut body) => {}
            () = settled() => {}
        }
        drop(body);
        assert_eq!(world.book.ended().await, api.book_of_answer(false, r#"end "..." ok"#));
        assert_eq!(world.metric("coder_ai_gateway_held_bytes"), 0);
    }
}

/// On this one thread everybody gets a turn per yield: enough for all that needs no other thread.
async fn settled() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}
