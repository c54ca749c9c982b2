//! Asks a port whether a PostgreSQL server takes connections there, by the first message of its protocol
//! (PostgreSQL documentation, "Message Flow", "Start-up").

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(2);
/// Protocol 3.0, user and database `coder`, and the empty name that ends the list.
const STARTUP: &[u8] = b"\0\x03\0\0user\0coder\0database\0coder\0\0";
/// SQLSTATE `cannot_connect_now`: the server starts, recovers or stops.
const CANNOT_CONNECT_NOW: &[u8] = b"C57P03\0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It wants to see a password: it takes connections.
    Ready,
    /// It is there, but not yet ready.
    Starting,
    /// Nobody is there, or nobody who speaks the protocol.
    Silent,
}

pub(crate) async fn probe(port: u16) -> Answer {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let length = u32::try_from(STARTUP.len() + 4).unwrap_or(u32::MAX);
        stream.write_all(&length.to_be_bytes()).await?;
        stream.write_all(STARTUP).await?;
        let mut answer = Vec::new();
        let mut buffer = [0; 512];
        // An authentication request is told by its first byte; an error ends with the connection.
        while answer.len() < 4096 && answer.first() != Some(&b'R') {
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
        std::io::Result::Ok(classify(&answer))
    };
    match tokio::time::timeout(LIMIT, ask).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Answer::Silent,
    }
}

fn classify(answer: &[u8]) -> Answer {
    match answer.first() {
        Some(b'E')
            if answer.windows(CANNOT_CONNECT_NOW.len()).any(|part| part == CANNOT_CONNECT_NOW) =>
        {
            Answer::Starting
        }
        // Any refusal but that one, such as too many connections, comes from a server that works.
        Some(b'R' | b'E') => Answer::Ready,
        _ => Answer::Silent,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn answers_are_told_apart() {
        let cases: [(&[u8], Answer); 5] = [
            (b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0", Answer::Ready),
            (b"E\0\0\0\x1fSFATAL\0C57P03\0Mstarting up\0\0", Answer::Starting),
            (b"E\0\0\0\x1fSFATAL\0C53300\0Mtoo many\0\0", Answer::Ready),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", Answer::Silent),
            (b"", Answer::Silent),
        ];
        for (reply, want) in cases {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let serve = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4];
                stream.read_exact(&mut head).await.unwrap();
                let mut rest = vec![0; u32::from_be_bytes(head) as usize - 4];
                stream.read_exact(&mut rest).await.unwrap();
                assert_eq!(rest, STARTUP);
                stream.write_all(reply).await.unwrap();
            };
            let (answer, ()) = tokio::join!(probe(port), serve);
            assert_eq!(answer, want, "{}", String::from_utf8_lossy(reply));
        }
    }

    #[tokio::test]
    async fn an_unused_port_is_silent() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert_eq!(probe(port).await, Answer::Silent);
    }
}
