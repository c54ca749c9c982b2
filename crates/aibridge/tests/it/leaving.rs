//! Clients that leave or dawdle, in every wire API: what happens to the provider and what is recorded.

use std::sync::Arc;

use aibridge::BreakerSettings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::apis::{Api, apis, reply, sends};
use crate::ports::{Mood, TOKEN};
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{World, chunk, post, row, within};

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
async fn a_client_that_leaves_between_the_answer_and_its_usage_is_charged() {
    let [_, api, _] = apis();
    let (answer, rest) = api.frames.split_at(api.frames.len() - 2);
    assert!(
        answer.concat().contains("\"finish_reason\":\"stop\"") && rest[0].contains("\"usage\":{")
    );
    for comes in [true, false] {
        let gate = Arc::new(Semaphore::new(0));
        let mut steps = sends(answer);
        steps.push(Step::Wait(Arc::clone(&gate)));
        steps.extend(comes.then(|| send(&rest[0])));
        steps.push(Step::Hang);
        let (world, provider) = api.world(reply(true, steps)).await;
        let mut body = world.send(post(api.path, &api.request(true))).await.into_body();
        let (mut read, all) = (0, answer.concat().len());
        while read < all {
            read += chunk(&mut body).await.unwrap().len();
        }
        drop(body);
        gate.add_permits(1);
        provider.cancelled().await;
        let mut want = api.book_of_answer(true, r#"end "..." ok"#);
        if !comes {
            let unknown = r#"tokens "chatcmpl-1" in=0 out=0 read=0 write=0 usage_missing=true"#;
            want.iter_mut()
                .filter(|line| line.starts_with("tokens"))
                .for_each(|line| *line = unknown.into());
        }
        assert_eq!(world.book.ended().await, want, "usage comes: {comes}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_between_the_usage_of_an_answer_and_its_end_does_not_cancel_it() {
    let [_, api, _] = apis();
    let (answer, end) = api.frames.split_at(api.frames.len() - 1);
    assert_eq!(end, ["data: [DONE]\n\n"]);
    let gate = Arc::new(Semaphore::new(0));
    let mut steps = sends(answer);
    steps.push(Step::Wait(Arc::clone(&gate)));
    steps.push(send(&end[0]));
    let (world, provider) = api.world(reply(true, steps)).await;
    let mut body = world.send(post(api.path, &api.request(true))).await.into_body();
    let (mut read, all) = (0, answer.concat().len());
    while read < all {
        read += chunk(&mut body).await.unwrap().len();
    }
    drop(body);
    gate.add_permits(1);
    provider.finished().await;
    let want = api.book_of_answer(true, r#"end "..." ok"#);
    assert_eq!(world.book.ended().await, want);
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

/// The request on a socket, of its body only the first `sent` bytes.
async fn begin(world: &World, api: &Api, stream: bool, sent: Option<usize>) -> TcpStream {
    let mut socket = TcpStream::connect(world.serve().await).await.unwrap();
    let body = api.request(stream);
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\nx-api-key: {TOKEN}\r\ncontent-length: {}\r\n\r\n",
        api.path,
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let sent = &body.as_bytes()[..sent.unwrap_or(body.len())];
    socket.write_all(sent).await.unwrap();
    socket
}

/// Waits until nothing is taken and nothing held any more.
async fn assert_all_given_back(world: &World, about: &str) {
    let gauges = || {
        let gauge = |name: &str| world.metric(&format!("coder_ai_gateway_{name}"));
        [world.in_flight(), gauge("slots_taken"), gauge("held_bytes")]
    };
    let given_back = async {
        while gauges() != [0, 0, 0] {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(20);
    let waited = tokio::time::timeout(limit, given_back).await;
    assert!(waited.is_ok(), "{about}: {:?}", gauges());
}

async fn world_of_one_place(api: &Api, reply: Reply) -> (World, Upstream) {
    let world = World::with(|settings| settings.limits.max_concurrency = 1);
    let provider = Upstream::always(&world.lifecycle, reply).await;
    world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
    (world, provider)
}

#[tokio::test]
async fn a_client_that_hangs_up_while_it_sends_its_body_leaves_no_trace() {
    for api in apis() {
        for stream in [false, true] {
            let (world, provider) = world_of_one_place(&api, reply(stream, vec![])).await;
            let socket = begin(&world, &api, stream, Some(20)).await;
            within(async {
                while world.metric("coder_ai_gateway_held_bytes") == 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            assert_eq!(world.metric("coder_ai_gateway_slots_taken"), 1);
            drop(socket);
            assert_all_given_back(&world, api.path).await;
            assert!(provider.seen().is_empty() && world.book.facts().is_empty(), "{}", api.path);
        }
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_before_or_in_its_answer_gives_everything_back() {
    for api in apis() {
        for stream in [false, true] {
            let first = if stream { api.frames[0].as_str() } else { &api.body[..20] };
            // Of a blocking answer a piece is passed on when the next one is there.
            let second = if stream { ": quiet\n\n" } else { &api.body[20..40] };
            let before = Reply { before: vec![Step::Hang], ..reply(stream, vec![]) };
            let amid = reply(stream, vec![send(first), send(second), Step::Hang]);
            for (answer, begun) in [(before, false), (amid, true)] {
                let about = format!("{} stream={stream} begun={begun}", api.path);
                let (world, provider) = world_of_one_place(&api, answer).await;
                let mut socket = begin(&world, &api, stream, None).await;
                provider.arrived().await;
                let mut seen = Vec::new();
                while begun && !String::from_utf8_lossy(&seen).contains(first) {
                    let mut part = [0; 1024];
                    let read = within(socket.read(&mut part)).await.unwrap();
                    assert!(read > 0, "{about}: {}", String::from_utf8_lossy(&seen));
                    seen.extend_from_slice(&part[..read]);
                }
                drop(socket);
                provider.cancelled().await;
                let lines = world.book.ended().await;
                assert_eq!(lines.last().unwrap(), GONE, "{about}");
                let partial = lines.iter().any(|line| line.ends_with("partial=true"));
                let told = stream && begun && api.early_tokens.is_some();
                assert_eq!(partial, told, "{about}: {lines:?}");
                assert_all_given_back(&world, &about).await;
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_it_tries_a_circuit_leaves_the_try_to_the_next() {
    for api in apis() {
        for stream in [false, true] {
            let world = World::with(|settings| {
                settings.breaker = Some(BreakerSettings {
                    failure_threshold: 1,
                    timeout: std::time::Duration::ZERO,
                    max_requests: 1,
                    ..BreakerSettings::default()
                });
            });
            let pieces = if stream { api.frames.clone() } else { vec![api.body.to_owned()] };
            let well = reply(stream, sends(&pieces));
            let silent = Reply { before: vec![Step::Hang], ..well.clone() };
            let provider = Upstream::start(&world.lifecycle, move |number, _| match number {
                0 => Reply::json(503, "{}"),
                1 => silent.clone(),
                _ => well.clone(),
            })
            .await;
            world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
            let request = || post(api.path, &api.request(stream));
            assert_eq!(world.ask(request()).await.status, 503);
            provider.arrived().await;
            tokio::select! {
                _ = world.gateway.handle(request()) => panic!("there is no answer"),
                () = async {
                    provider.arrived().await;
                    // While one tries, others do not.
                    assert_eq!(world.ask(request()).await.header("x-coder-error-code"), Some("circuit_open"));
                } => {}
            }
            provider.cancelled().await;
            let answer = world.ask(request()).await;
            assert_eq!((answer.status, answer.whole), (200, true), "{}", api.path);
            assert_eq!(provider.seen().len(), 3);
            assert_all_given_back(&world, api.path).await;
        }
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_holds_up_nobody_and_costs_no_more_as_time_goes_by() {
    for api in apis() {
        for stream in [false, true] {
            let about = format!("{} stream={stream}", api.path);
            let filler =
                if stream { format!(": {}\n\n", "x".repeat(60_000)) } else { " ".repeat(60_000) };
            let first = if stream { api.frames[0].as_str() } else { &api.body[..20] };
            let endless = reply(stream, vec![send(first), Step::Repeat(filler.into())]);
            let pieces = if stream { api.frames.clone() } else { vec![api.body.to_owned()] };
            let usual = reply(stream, sends(&pieces));
            let world = World::new();
            let provider = Upstream::start(&world.lifecycle, move |number, _| {
                if number == 0 { endless.clone() } else { usual.clone() }
            })
            .await;
            world.install(&[row(api.kind, "p", &provider.url(api.base), &["k"])]);
            let mut body = world.send(post(api.path, &api.request(stream))).await.into_body();
            assert_eq!(chunk(&mut body).await.unwrap(), first, "{about}");
            let mut taken = Vec::new();
            for _ in 0..3 {
                for _ in 0..20 {
                    let answer = world.ask(post(api.path, &api.request(stream))).await;
                    let got = (answer.status, answer.body, answer.whole);
                    assert_eq!(got, (200, pieces.concat(), true), "{about}");
                }
                let mut still = 0;
                let mut sent = provider.sent();
                while still < 500 {
                    tokio::task::yield_now().await;
                    still = if provider.sent() == sent { still + 1 } else { 0 };
                    sent = provider.sent();
                }
                // Of the usual answers, which come and go, each is far smaller than one piece more.
                taken.push((sent / 60_000, world.metric("coder_ai_gateway_held_bytes")));
            }
            assert!(taken.iter().all(|now| *now == taken[0]), "{about}: {taken:?}");
            drop(body);
            provider.cancelled().await;
            assert_all_given_back(&world, &about).await;
        }
    }
}
