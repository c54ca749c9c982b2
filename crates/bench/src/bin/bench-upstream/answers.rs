use bench::stamp::write_digits;

/// Which API a path belongs to, and its answer.
pub(crate) struct Answers {
    messages: Answer,
    chat: Answer,
    responses: Answer,
    served: u64,
}

/// A whole response with a place for the number that makes its id unlike all others.
struct Answer {
    bytes: Vec<u8>,
    id_at: usize,
}

/// What stands in for the number in the texts below.
const ID: &str = "000000000000";

const MESSAGES: &str = concat!(
    r#"{"id":"msg_bench000000000000","type":"message","role":"assistant","model":"claude-bench-1","#,
    r#""content":[{"type":"text","text":"The build failed because the linker could not find the symbol; "#,
    r#"the crate was compiled without its default features. Enable them and run it again."}],"#,
    r#""stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":25,"#,
    r#""cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":42,"#,
    r#""service_tier":"standard"}}"#
);
const CHAT: &str = concat!(
    r#"{"id":"chatcmpl-bench000000000000","object":"chat.completion","created":1700000000,"#,
    r#""model":"gpt-bench-1","choices":[{"index":0,"message":{"role":"assistant","content":"The build "#,
    r#"failed because the linker could not find the symbol. Enable the default features and run it again.","#,
    r#""refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":25,"#,
    r#""completion_tokens":42,"total_tokens":67,"prompt_tokens_details":{"cached_tokens":0}}}"#
);
const RESPONSES: &str = concat!(
    r#"{"id":"resp_bench000000000000","object":"response","created_at":1700000000,"status":"completed","#,
    r#""model":"gpt-bench-1","output":[{"type":"message","id":"msg_bench","status":"completed","#,
    r#""role":"assistant","content":[{"type":"output_text","text":"The build failed because the linker "#,
    r#"could not find the symbol. Enable the default features.","annotations":[]}]}],"usage":{"#,
    r#""input_tokens":25,"input_tokens_details":{"cached_tokens":0},"output_tokens":42,"#,
    r#""output_tokens_details":{"reasoning_tokens":0},"total_tokens":67}}"#
);

impl Answers {
    pub(crate) fn new() -> Self {
        Self {
            messages: Answer::new(MESSAGES),
            chat: Answer::new(CHAT),
            responses: Answer::new(RESPONSES),
            served: 0,
        }
    }

    /// Appends the answer of the API that the request's first line names.
    pub(crate) fn write(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let has = |part: &[u8]| memchr::memmem::find(line, part).is_some();
        let answer = if has(b"/messages") {
            &self.messages
        } else if has(b"/chat/completions") {
            &self.chat
        } else if has(b"/responses") {
            &self.responses
        } else {
            return plain(out, "404 Not Found", "no such route");
        };
        self.served += 1;
        answer.write(self.served, out);
    }
}

impl Answer {
    fn new(body: &str) -> Self {
        let length = body.len();
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
             request-id: req_bench\r\n\r\n{body}"
        );
        let id_at = text.find(ID).unwrap_or(text.len());
        Self { bytes: text.into_bytes(), id_at }
    }

    fn write(&self, number: u64, out: &mut Vec<u8>) {
        let begin = out.len() + self.id_at;
        out.extend_from_slice(&self.bytes);
        if let Some(id) = out.get_mut(begin..begin + ID.len()) {
            write_digits(id, number);
        }
    }
}

/// Appends a short answer of the upstream's own.
pub(crate) fn plain(out: &mut Vec<u8>, status: &str, text: &str) {
    let length = text.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{text}");
    out.extend_from_slice(head.as_bytes());
}

#[cfg(test)]
mod tests {
    use bench::http1::{Reader, Side};

    use super::*;

    #[test]
    fn each_api_gets_json_of_its_own_with_an_id_of_its_own() {
        let mut answers = Answers::new();
        for (line, id) in [
            ("POST /v1/messages?beta=true HTTP/1.1", "msg_bench000000000001"),
            ("POST /v1/messages/count_tokens HTTP/1.1", "msg_bench000000000002"),
            ("POST /v1/chat/completions HTTP/1.1", "chatcmpl-bench000000000003"),
            ("POST /v1/responses HTTP/1.1", "resp_bench000000000004"),
        ] {
            let (mut out, mut body) = (Vec::new(), Vec::new());
            answers.write(line.as_bytes(), &mut out);
            let mut reader = Reader::new(Side::Responses);
            reader.push(&out, |bytes| body.extend_from_slice(bytes)).unwrap();
            assert!(reader.is_done() && reader.status() == 200, "{line}");
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(json["id"], id, "{line}");
            assert!(body.len() > 300 && body.len() < 600, "{line}: {} bytes", body.len());
        }
    }

    #[test]
    fn other_paths_are_not_answered_with_success() {
        let mut out = Vec::new();
        Answers::new().write(b"GET /v1/other HTTP/1.1", &mut out);
        assert!(out.starts_with(b"HTTP/1.1 404 "));
    }
}
