//! Clients that leave or dawdle, in every wire API: what happens to the provider and what is recorded.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::apis::{apis, reply, sends};
use crate::ports::Mood;
use crate::upstream::{Step, send};
use crate::world::{chunk, post, within};

const GONE: &str = r#"end "..." client_gone the client left before the answer was complete"#;

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_it() {
    for api in apis() {
        for stream in [false, true] {
            let mut reply = reply(stream, vec![]);
            reply.before = vec![Step::Hang];
            let (world, provider) = api.world(reply).await;
            {
                let answer = world.gateway.handle(post(api.path, &api.request(stream)));
                tokio::select! {
                    _ = answer => panic!("there is no answer"),
                    () = provider.arrived() => {}
                }
            }
            provider.cancelled().await;
            assert_eq!(world.book.ended().await, api.book_without_answer(GONE), "{}", api.path);
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_is_charged_what_is_known_by_then() {
    for api in apis() {
        let (world, provider) =
            api.world(reply(true, vec![send(&api.frames[0]), Step::Hang])).await;
        let mut body = world.send(post(api.path, &api.request(true))).await.into_body();
        assert_eq!(chunk(&mut body).await.unwrap(), api.frames[0]);
        drop(body);
        provider.cancelled().await;
        assert_eq!(world.book.ended().await, api.book_of_first_event(GONE), "{}", api.path);
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_a_stream_is_charged_what_is_known_by_then() {
    for api in apis() {
        let (world, provider) =
            api.world(reply(true, vec![send(&api.frames[0]), Step::Hang])).await;
        drop(world.send(post(api.path, &api.request(true))).await);
        provider.cancelled().await;
        assert_eq!(world.book.ended().await, api.book_of_first_event(GONE), "{}", api.path);
    }
}

#[tokio::test]
async fn a_client_that_leaves_a_blocking_answer_cancels_it() {
    for api in apis() {
        let (one, rest) = api.body.split_at(20);
        let (two, _) = rest.split_at(20);
        let steps = vec![send(one), send(two), Step::Hang];
        let (world, provider) = api.world(reply(false, steps)).await;
        let mut body = world.send(post(api.path, &api.request(false))).await.into_body();
        assert_eq!(chunk(&mut body).await.unwrap(), one);
        drop(body);
        provider.cancelled().await;
        assert_eq!(world.book.ended().await, api.book_without_answer(GONE), "{}", api.path);
    }
}

#[tokio::test]
async fn a_client_that_leaves_after_the_last_event_has_a_good_record() {
    for api in apis() {
        let mut steps = sends(&api.frames);
        steps.push(Step::Hang);
        let (world, provider) = api.world(reply(true, steps)).await;
        let mut body = world.send(post(api.path, &api.request(true))).await.into_body();
        let (mut read, all) = (0, api.frames.concat().len());
        while read < all {
            read += chunk(&mut body).await.unwrap().len();
        }
        drop(body);
        provider.cancelled().await;
        let want = api.book_of_answer(true, r#"end "..." ok"#);
        assert_eq!(world.book.ended().await, want, "{}", api.path);
    }
}

#[tokio::test]
async fn an_answer_that_came_while_its_start_was_being_recorded_is_charged_even_if_nobody_waits() {
    for api in apis() {
        for stream in [false, true] {
            let pieces = if stream { api.frames[..1].to_vec() } else { vec![api.body.to_owned()] };
            let mut steps = sends(&pieces);
            steps.push(Step::Hang);
            let (world, provider) = api.world(reply(stream, steps)).await;
            world.book.set(Mood::Slow(Arc::new(Semaphore::new(0))));
            {
                let answer = world.gateway.handle(post(api.path, &api.request(stream)));
                let sent = async {
                    provider.arrived().await;
                    // On this one thread everybody gets a turn per yield: enough for the bytes to arrive.
                    for _ in 0..2_000 {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    _ = answer => panic!("the start is not durable"),
                    () = sent => {}
                }
            }
            provider.cancelled().await;
            let want = if stream {
                api.book_of_first_event(GONE)
            } else {
                api.book_of_answer(false, GONE)
            };
            assert_eq!(world.book.ended().await, want, "{} stream={stream}", api.path);
        }
    }
}

#[tokio::test]
async fn tokens_count_even_if_the_client_leaves_while_they_are_being_recorded() {
    for api in apis() {
        for stream in [false, true] {
            let pieces = if stream { api.frames.clone() } else { vec![api.body.to_owned()] };
            let (world, _provider) = api.world(reply(stream, sends(&pieces))).await;
            let mut body = world.send(post(api.path, &api.request(stream))).await.into_body();
            let gate = Arc::new(Semaphore::new(0));
            world.book.set(Mood::Slow(Arc::clone(&gate)));
            // Reads on until only the records are waited for.
            tokio::select! {
                () = async { while chunk(&mut body).await.is_some() {} } => panic!("not durable"),
                _ = world.book.ended() => {}
            }
            drop(body);
            gate.add_permits(1);
            within(world.lifecycle.stop(std::time::Duration::ZERO)).await;
            let client = r#"initiator_id="",client="Unknown""#;
            let sample = format!(
                r#"coder_ai_gateway_tokens_total{{provider="p",model="m",type="output",{client}}}"#
            );
            let want = if api.path.ends_with("messages") { 7 } else { 4 };
            within(async {
                while world.metric(&sample) != want {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_slow_client_slows_the_provider_down_and_loses_nothing() {
    // Far more than all socket buffers on the way can hold.
    const PIECES: usize = 512;
    const PIECE: usize = 64 << 10;
    for api in apis() {
        for stream in [false, true] {
            let filler =
                if stream { format!(": {}\n\n", "x".repeat(PIECE - 4)) } else { " ".repeat(PIECE) };
            let (first, rest) = if stream {
                (api.frames[0].clone(), api.frames[1..].concat())
            } else {
                let (first, rest) = api.body.split_at(1);
                (first.to_owned(), rest.to_owned())
            };
            let mut steps = vec![send(&first)];
            steps.extend((0..PIECES).map(|_| send(&filler)));
            steps.push(send(&rest));
            let (world, provider) = api.world(reply(stream, steps)).await;
            let mut body = world.send(post(api.path, &api.request(stream))).await.into_body();
            assert_eq!(chunk(&mut body).await.unwrap(), first);

            // On this one thread everybody gets a turn per yield: a provider that stands still for so many
            // turns is blocked, and one that is not blocked would go on to the end.
            let (mut sent, mut still) = (provider.sent(), 0);
            while still < 1_000 {
                tokio::task::yield_now().await;
                still = if provider.sent() == sent { still + 1 } else { 0 };
                sent = provider.sent();
            }
            assert!(sent < PIECES * PIECE, "{sent} bytes were taken from the provider");

            let mut read = first.len();
            while let Some(bytes) = chunk(&mut body).await {
                read += bytes.len();
            }
            assert_eq!(read, first.len() + PIECES * PIECE + rest.len(), "{}", api.path);
            let want = api.book_of_answer(stream, r#"end "..." ok"#);
            assert_eq!(world.book.lines(), want, "{} stream={stream}", api.path);
        }
    }
}
