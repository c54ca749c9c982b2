//! The order between sending, recording and answering.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aibridge::facts::Fact;
use aibridge::ports::RecordError;
use tokio::sync::Semaphore;

use crate::apis::{apis, reply, sends};
use crate::broken::{BLOCKING, STREAM, anthropic};
use crate::happy::{MESSAGE, MESSAGE_STREAM};
use crate::ports::Mood;
use crate::upstream::{Reply, Step, Upstream, send};
use crate::world::{World, chunk, post, read, row, within};

fn stream() -> Reply {
    Reply::stream(MESSAGE_STREAM.iter().map(|frame| send(frame)).collect())
}

#[tokio::test]
async fn nothing_is_sent_when_the_start_cannot_be_recorded() {
    for error in [RecordError::Full, RecordError::Closed] {
        let (world, provider) = anthropic(stream()).await;
        world.book.set(Mood::Refuses(error));
        let answer = world.ask(post("/p/v1/messages", STREAM)).await;
        let text = "the request could not be recorded, so it was not sent; try again shortly";
        let want = format!(
            r#"{{"error":{{"message":"{text}","type":"overloaded_error"}},"type":"error"}}"#
        );
        assert_eq!((answer.status, &answer.body), (503, &want));
        assert!(matches!(answer.retry_after(), Some(1..=3)), "{answer:?}");
        assert!(provider.seen().is_empty());
        assert_eq!(world.metric(r#"coder_ai_gateway_records_lost_total{stage="start"}"#), 1);
    }
}

#[tokio::test]
async fn the_first_byte_waits_for_the_start_to_be_durable_while_the_provider_already_works() {
    for (request, reply) in [(STREAM, stream()), (BLOCKING, Reply::json(200, MESSAGE))] {
        let (world, provider) = anthropic(reply).await;
        let gate = Arc::new(Semaphore::new(0));
        world.book.set(Mood::Slow(Arc::clone(&gate)));
        let mut answer = pin!(world.gateway.handle(post("/p/v1/messages", request)));
        tokio::select! {
            _ = &mut answer => panic!("answered before it was recorded"),
            () = provider.finished() => {}
        }
        for _ in 0..100 {
            tokio::select! {
                biased;
                _ = &mut answer => panic!("answered before it was recorded"),
                () = tokio::task::yield_now() => {}
            }
        }
        gate.add_permits(2);
        let answer = within(async { read(answer.await).await }).await;
        assert_eq!((answer.status, answer.whole), (200, true));
    }
}

#[tokio::test]
async fn a_start_that_is_not_made_durable_fails_the_request() {
    let (world, _provider) = anthropic(stream()).await;
    world.book.set(Mood::Forgets);
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let ends = world.book.lines().iter().filter(|line| line.starts_with("end")).count();
    assert_eq!(ends, 1);
}

#[tokio::test]
async fn a_recorder_that_never_settles_is_not_waited_for_for_ever() {
    let world = World::with(|settings| settings.timeouts.record = Duration::from_millis(20));
    let provider = Upstream::always(&world.lifecycle, stream()).await;
    world.install(&[row(aibridge::ProviderKind::Anthropic, "p", &provider.url(""), &["k"])]);
    world.book.set(Mood::Slow(Arc::new(Semaphore::new(0))));
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    assert_eq!(answer.status, 503, "{answer:?}");
}

#[tokio::test]
async fn frames_do_not_wait_for_records_but_the_one_that_ends_the_answer_does() {
    for api in apis() {
        // The provider does not hang up: clients do not wait for that, so neither may the record.
        let mut steps = sends(&api.frames);
        steps.push(Step::Hang);
        let (world, _provider) = api.world(reply(true, steps)).await;
        let gate = Arc::new(Semaphore::new(1));
        world.book.set(Mood::Slow(Arc::clone(&gate)));
        let mut body = world.send(post(api.path, &api.request(true))).await.into_body();
        let (last, before) = api.frames.split_last().unwrap();
        let before = before.concat();
        let mut text = String::new();
        while text.len() < before.len() {
            text.push_str(std::str::from_utf8(&chunk(&mut body).await.unwrap()).unwrap());
        }
        assert_eq!(text, before, "{}: no more and no less", api.path);
        {
            let mut end = pin!(chunk(&mut body));
            tokio::select! {
                _ = &mut end => panic!("{}: ended before the usage was durable", api.path),
                lines = world.book.ended() => {
                    assert_eq!(lines, api.book_of_answer(true, r#"end "..." ok"#), "{}", api.path);
                }
            }
        }
        gate.add_permits(1);
        assert_eq!(chunk(&mut body).await.unwrap(), last.as_bytes(), "{}", api.path);
        assert_eq!(chunk(&mut body).await, None, "{}", api.path);
    }
}

#[tokio::test]
async fn what_comes_behind_the_last_event_is_relayed_and_changes_nothing() {
    let mut steps: Vec<_> = MESSAGE_STREAM.iter().map(|frame| send(frame)).collect();
    steps.extend([send(": bye\n\n"), send("data: [DO"), send("NE]\n\n")]);
    let (world, _provider) = anthropic(Reply::stream(steps)).await;
    let answer = world.ask(post("/p/v1/messages", STREAM)).await;
    let want = format!("{}: bye\n\ndata: [DONE]\n\n", MESSAGE_STREAM.concat());
    assert_eq!((answer.body, answer.whole), (want, true));
    assert_eq!(world.book.lines().pop().unwrap(), r#"end "..." ok"#);
}

#[tokio::test]
async fn the_end_of_a_last_event_too_long_to_hold_back_waits_for_the_records_too() {
    let [.., api] = apis();
    let (last, before) = api.frames.split_last().unwrap();
    let at = last.find("\"output\"").expect("a member of the response");
    let long = format!(
        "{}\"metadata\":{{\"x\":\"{}\"}},{}",
        &last[..at],
        "x".repeat(2 << 20),
        &last[at..]
    );
    let mut steps = sends(before);
    // In two, so that the first part cannot wait for the second.
    let (one, two) = long.split_at(long.len() - 40);
    steps.extend([send(one), send(two), Step::Hang]);
    let (world, _provider) = api.world(reply(true, steps)).await;
    let gate = Arc::new(Semaphore::new(1));
    world.book.set(Mood::Slow(Arc::clone(&gate)));
    let mut body = world.send(post(api.path, &api.request(true))).await.into_body();
    let whole = before.concat().len() + long.len();
    let mut got = 0;
    loop {
        let mut next = pin!(chunk(&mut body));
        tokio::select! {
            bytes = &mut next => got += bytes.unwrap().len(),
            lines = world.book.ended() => {
                assert!(lines.iter().any(|line| line.starts_with("tokens")), "{lines:?}");
                break;
            }
        }
        assert!(got < whole, "ended before the usage was durable");
    }
    gate.add_permits(1);
    while let Some(bytes) = chunk(&mut body).await {
        got += bytes.len();
    }
    assert_eq!(got, whole);
}

#[tokio::test]
async fn the_last_byte_of_a_blocking_answer_waits_for_its_records() {
    let (half, rest) = MESSAGE.split_at(MESSAGE.len() / 2);
    let (world, _provider) = anthropic(reply(false, vec![send(half), send(rest)])).await;
    let gate = Arc::new(Semaphore::new(1));
    world.book.set(Mood::Slow(Arc::clone(&gate)));
    let mut body = world.send(post("/p/v1/messages", BLOCKING)).await.into_body();
    let mut got = Vec::new();
    loop {
        let mut next = pin!(chunk(&mut body));
        tokio::select! {
            bytes = &mut next => got.extend_from_slice(&bytes.unwrap()),
            lines = world.book.ended() => {
                assert!(lines.iter().any(|line| line.starts_with("tokens")), "{lines:?}");
                break;
            }
        }
        assert!(got.len() < MESSAGE.len(), "released before its usage was durable");
    }
    gate.add_permits(1);
    while let Some(bytes) = chunk(&mut body).await {
        got.extend_from_slice(&bytes);
    }
    assert_eq!(got, MESSAGE.as_bytes());
}

#[tokio::test]
async fn an_answer_that_comes_as_a_whole_waits_once_for_all_its_records() {
    let (world, _provider) = anthropic(Reply::json(200, MESSAGE)).await;
    let gate = Arc::new(Semaphore::new(0));
    world.book.set(Mood::Slow(Arc::clone(&gate)));
    let mut answer = pin!(world.send(post("/p/v1/messages", BLOCKING)));
    tokio::select! {
        _ = &mut answer => panic!("answered before anything was durable"),
        // The end is there although the start is not durable yet.
        lines = world.book.ended() => assert!(lines.iter().any(|line| line.starts_with("tokens"))),
    }
    gate.add_permits(2);
    let mut body = answer.await.into_body();
    assert_eq!(chunk(&mut body).await.unwrap(), MESSAGE);
    assert_eq!(chunk(&mut body).await, None);
}

#[tokio::test]
async fn an_answer_that_comes_as_a_whole_is_not_released_if_its_start_is_not_durable() {
    let (world, _provider) = anthropic(Reply::json(200, MESSAGE)).await;
    world.book.set(Mood::Forgets);
    let answer = world.ask(post("/p/v1/messages", BLOCKING)).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(!answer.body.contains("msg_"), "{answer:?}");
    let ends = world.book.lines().iter().filter(|line| line.starts_with("end")).count();
    assert_eq!(ends, 1);
}

#[tokio::test]
async fn records_lost_at_the_end_are_counted_and_the_answer_still_ends_well() {
    let (world, _provider) = anthropic(stream()).await;
    let mut body = world.send(post("/p/v1/messages", STREAM)).await.into_body();
    assert_eq!(chunk(&mut body).await.unwrap(), MESSAGE_STREAM[0]);
    world.book.set(Mood::Refuses(RecordError::Full));
    while chunk(&mut body).await.is_some() {}
    assert_eq!(world.metric(r#"coder_ai_gateway_records_lost_total{stage="end"}"#), 1);
    let labels = r#"provider="p",model="m",type="output",initiator_id="",client="Unknown""#;
    assert_eq!(world.metric(&format!("coder_ai_gateway_tokens_total{{{labels}}}")), 0);
    assert!(world.book.facts().iter().all(|fact| matches!(fact, Fact::Start(_))));
}

#[tokio::test]
async fn facts_carry_distinct_ids_that_sort_by_time() {
    let (world, _provider) = anthropic(Reply::json(200, MESSAGE)).await;
    world.ask(post("/p/v1/messages", BLOCKING)).await;
    let mut ids: Vec<_> = world
        .book
        .facts()
        .iter()
        .map(|fact| match fact {
            Fact::Start(f) => f.id.uuid(),
            Fact::End(f) => f.id.uuid(),
            Fact::Prompt(f) => f.id.uuid(),
            Fact::Tokens(f) => f.id.uuid(),
            Fact::Tool(f) => f.id.uuid(),
            Fact::Thought(f) => f.id.uuid(),
        })
        .collect();
    assert!(ids.iter().all(|id| id.get_version_num() == 7), "{ids:?}");
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}
