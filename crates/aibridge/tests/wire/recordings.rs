//! Every exchange under `fixtures/http`.

use std::fs;
use std::path::{Path, PathBuf};

use aibridge::sse::{Piece, Splitter};
use aibridge::wire::Ended;
use bytes::Bytes;

use crate::exchange::{open, play, play_body, written};

const APIS: [&str; 3] = ["messages", "chat", "responses"];

fn fixtures(api: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/http").join(api);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .filter(|path| !path.to_string_lossy().ends_with(".request.json"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no recordings of {api}");
    paths
}

fn request(path: &Path) -> Bytes {
    fs::read(path.with_extension("request.json")).unwrap().into()
}

fn notes(path: &Path) -> String {
    fs::read_to_string(path.with_extension("notes")).unwrap()
}

#[test]
fn streams_are_recorded_as_written_down() {
    for api in APIS {
        for path in fixtures(api, "sse") {
            let stream = fs::read(&path).unwrap();
            let mut exchange = open(api, request(&path)).unwrap();
            let outcome = play(exchange.as_mut(), [&stream[..]], Ended::Closed);
            assert_eq!(written(&outcome), notes(&path), "{}", path.display());
            if outcome.dropped == 0 {
                assert!(stream.starts_with(&outcome.relayed), "{}", path.display());
            }
        }
    }
}

#[test]
fn blocking_answers_are_recorded_as_written_down() {
    for api in APIS {
        for path in fixtures(api, "json") {
            let body = fs::read(&path).unwrap();
            let mut exchange = open(api, request(&path)).unwrap();
            let outcome = play_body(exchange.as_mut(), &body);
            assert_eq!(written(&outcome), notes(&path), "{}", path.display());
        }
    }
}

/// What the splitter hands out of a stream that arrives in these chunks.
fn pieces<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Piece> {
    let mut splitter = Splitter::new();
    chunks.into_iter().flat_map(|chunk| splitter.push(Bytes::copy_from_slice(chunk))).collect()
}

#[test]
fn chopping_a_stream_at_any_byte_changes_nothing() {
    for api in APIS {
        for path in fixtures(api, "sse") {
            let (stream, body) = (fs::read(&path).unwrap(), request(&path));
            let frames = pieces([&stream[..]]);
            let fresh = || open(api, body.clone()).unwrap();
            let whole = play(fresh().as_mut(), [&stream[..]], Ended::Closed);
            for at in 0..=stream.len() {
                let (head, tail) = stream.split_at(at);
                let name = format!("{} at byte {at}", path.display());
                // Interceptors see nothing but frames, so these decide; a sample goes all the way.
                assert_eq!(pieces([head, tail]), frames, "{name}");
                if at % 97 == 0 {
                    let seen = play(fresh().as_mut(), [head, tail], Ended::Closed);
                    assert_eq!(seen, whole, "{name}");
                }
            }
            for size in [1, 2, 3, 7, 64] {
                let seen = play(fresh().as_mut(), stream.chunks(size), Ended::Closed);
                assert_eq!(seen, whole, "{} by {size} bytes", path.display());
            }
        }
    }
}

#[test]
fn a_stream_cut_at_any_byte_is_never_a_silent_success() {
    for api in APIS {
        for path in fixtures(api, "sse") {
            let (stream, body) = (fs::read(&path).unwrap(), request(&path));
            let fresh = || open(api, body.clone()).unwrap();
            let whole = play(fresh().as_mut(), [&stream[..]], Ended::Closed);
            let mut count_before = usize::MAX;
            for at in 0..stream.len() {
                let head = &stream[..at];
                // Cuts inside the same event leave the same frames.
                let count = pieces([head]).len();
                if std::mem::replace(&mut count_before, count) == count {
                    continue;
                }
                let seen = play(fresh().as_mut(), [head], Ended::UpstreamBroke);
                let told = !seen.relayed.is_empty();
                let name = format!("{} at byte {at}", path.display());
                match (&seen.finish.error, &seen.finish.trailer) {
                    // Cut behind the API's own end.
                    (None, None) => assert!(whole.finish.error.is_none(), "{name}"),
                    (Some(_), Some(trailer)) => {
                        assert!(told && trailer.ends_with(b"\n\n"), "{name}");
                        let ends = [&b"\n\n"[..], b"\r\n\r\n"];
                        assert!(ends.iter().any(|end| seen.relayed.ends_with(end)), "{name}");
                    }
                    // The provider has said so itself, or there is still time for a plain error.
                    (Some(error), None) => {
                        assert!(!told || Some(error) == whole.finish.error.as_ref(), "{name}");
                    }
                    (None, Some(_)) => panic!("a trailer without an error: {name}"),
                }
            }
        }
    }
}
