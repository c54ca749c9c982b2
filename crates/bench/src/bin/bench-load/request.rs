use crate::{Api, Args};

/// One turn of the conversation that fills a large request.
const TURN: &str =
    "The tool printed the following lines, of which only the last ones matter for the question. ";

/// The bytes of the request that every connection sends.
pub(crate) fn bytes(args: &Args) -> Vec<u8> {
    let body = body(args);
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         User-Agent: bench/1\r\nAccept: */*\r\n",
        args.path,
        args.target,
        body.len()
    );
    for header in &args.headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// A body of the wanted size: a short question after a conversation that fills most of it.
fn body(args: &Args) -> String {
    let said = TURN.repeat(20);
    let turns = format!(
        r#"{{"role":"user","content":"{said}"}},{{"role":"assistant","content":"{said}"}},"#
    );
    let bare = compose(args, "", "").len();
    // What is left over goes into the question, which a small body has nothing else for.
    let pairs = args.body_bytes.saturating_sub(bare) / turns.len();
    let turns = turns.repeat(pairs);
    let room = args.body_bytes.saturating_sub(bare + turns.len());
    let question: String = TURN.chars().cycle().take(room).collect();
    compose(args, &turns, &question)
}

fn compose(args: &Args, turns: &str, question: &str) -> String {
    let model = &args.model;
    let stream = args.frames.is_some();
    let (limit, list) = match args.api {
        Api::Messages => ("max_tokens", "messages"),
        Api::Chat => ("max_completion_tokens", "messages"),
        Api::Responses => ("max_output_tokens", "input"),
    };
    format!(
        r#"{{"model":"{model}","{limit}":1024,"stream":{stream},"{list}":[{turns}{{"role":"user","content":"{question}"}}]}}"#
    )
}

#[cfg(test)]
mod tests {
    use bench::http1::{Reader, Side};
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_body_is_json_of_the_wanted_size() {
        for api in ["messages", "chat", "responses"] {
            for size in ["0", "256", "5000", "150000"] {
                let flags = ["bench-load", "--target", "127.0.0.1:1", "--api", api];
                let args = Args::parse_from(flags.into_iter().chain(["--body-bytes", size]));
                let mut body = Vec::new();
                let mut reader = Reader::new(Side::Requests);
                let wire = bytes(&args);
                let taken = reader.push(&wire, |bytes| body.extend_from_slice(bytes));
                assert!(taken == Ok(wire.len()) && reader.is_done(), "{api} {size}");
                let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(json["stream"], false);
                let wanted: usize = size.parse().unwrap();
                assert!(body.len() == wanted || wanted == 0, "{api} {size}: {}", body.len());
            }
        }
    }
}
