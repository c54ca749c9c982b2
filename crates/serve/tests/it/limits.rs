//! What a client may open and send.

use std::time::Duration;

use serve::Limits;
use stdx::Lifecycle;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::world::{Kept, hello, rest, within};

#[tokio::test]
async fn a_head_that_does_not_come_or_is_too_large_ends_the_connection() {
    let lifecycle = Lifecycle::new();
    let limits =
        Limits { head: Duration::from_millis(100), head_bytes_max: 16 * 1024, ..Limits::default() };
    let address = hello(limits, &lifecycle).await;
    let long = format!("GET / HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "b".repeat(20 * 1024));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(100));
    let enough = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(99));
    for (what, sent, want) in [
        ("nothing", "", ""),
        ("what may become HTTP/2", "PRI * HTTP/2.0\r\n", ""),
        ("half a head", "GET / HTTP/1.1\r\nhost: x\r\n", ""),
        ("a long head", &long, "HTTP/1.1 431 "),
        ("many headers", &many, "HTTP/1.1 431 "),
        ("as many as may be", &enough, "HTTP/1.1 200 "),
        ("noise", "\u{1}\u{2}\r\n\r\n", "HTTP/1.1 400 "),
        ("one request, then silence", "GET / HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 200 "),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with(want), "{what}: {answer:?}");
        assert_eq!(answer.is_empty(), want.is_empty(), "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn one_connection_too_many_waits_until_another_leaves() {
    let lifecycle = Lifecycle::new();
    let limits = Limits { connections_max: 1, ..Limits::default() };
    let address = hello(limits, &lifecycle).await;
    let mut first = Kept::open(address).await;
    assert_eq!(first.get("/").await.as_deref(), Some("hello"));
    // The operating system takes the connection; nobody answers it yet.
    let mut second = Kept::open(address).await;
    let early = tokio::time::timeout(Duration::from_millis(200), second.begin("/")).await;
    assert!(early.is_err(), "it was answered");
    drop(first);
    let mut third = Kept::open(address).await;
    drop(second);
    assert_eq!(within(third.get("/")).await.as_deref(), Some("hello"));
}
