//! Compares what clients saw, what the provider served and what was recorded, request by request.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{Ask, number_of};
use super::load::{Exchange, Outcome};
use super::rows::{Interception, Rows, Usage};
use crate::served::{Served, Tokens};

/// The verdict.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// What must not be, with the number of the request and the ids.
    pub(super) faults: Vec<String>,
    /// Records that ended well.
    pub(super) well: usize,
    /// Records by their error.
    pub(super) errors: BTreeMap<String, usize>,
    /// Sums over the whole answers.
    pub(super) told: Tokens,
    pub(super) served: Tokens,
    pub(super) recorded: Tokens,
}

/// Everything that is known of one request.
struct Case<'a> {
    exchange: &'a Exchange,
    served: Vec<&'a Served>,
    records: Vec<&'a Interception>,
    book: &'a Book<'a>,
}

/// The facts of interceptions, by id.
#[derive(Default)]
struct Book<'a> {
    usages: BTreeMap<&'a str, Vec<&'a Usage>>,
    prompts: BTreeMap<&'a str, Vec<&'a str>>,
    tools: BTreeMap<&'a str, Vec<&'a str>>,
}

/// What a record says whose gateway was killed.
const KILLED: &str = "unknown";

/// Compares. `owners` are the ids of the users whom the tokens belong to.
pub(super) fn prove(
    exchanges: &[Exchange],
    served: &[Served],
    rows: &Rows,
    owners: &[String],
) -> Proof {
    let mut proof = Proof::default();
    twice(&mut proof, rows);
    let mut book = Book::default();
    for row in &rows.usages {
        book.usages.entry(&row.interception_id).or_default().push(row);
    }
    for row in &rows.prompts {
        book.prompts.entry(&row.interception_id).or_default().push(&row.text);
    }
    for row in &rows.tools {
        book.tools.entry(&row.interception_id).or_default().push(&row.provider_tool_call_id);
    }
    let mut answers: BTreeMap<u64, Vec<&Served>> = BTreeMap::new();
    for row in served {
        let number = row.header("user-agent").and_then(number_of).unwrap_or_default();
        answers.entry(number).or_default().push(row);
    }
    let mut records: BTreeMap<u64, Vec<&Interception>> = BTreeMap::new();
    for row in &rows.interceptions {
        records.entry(row.number().unwrap_or_default()).or_default().push(row);
        match &row.error_type {
            None => proof.well += 1,
            Some(error) => *proof.errors.entry(error.clone()).or_default() += 1,
        }
    }
    for exchange in exchanges {
        let number = exchange.ask.number;
        let case = Case {
            exchange,
            served: answers.remove(&number).unwrap_or_default(),
            records: records.remove(&number).unwrap_or_default(),
            book: &book,
        };
        case.check(&mut proof, owners);
    }
    for row in records.values().flatten() {
        proof.faults.push(format!("interception {} belongs to no request of ours", row.id));
    }
    for row in answers.values().flatten() {
        proof.faults.push(format!("the provider served {} to nobody of ours", row.response_id));
    }
    let known: BTreeSet<&str> = rows.interceptions.iter().map(|row| row.id.as_str()).collect();
    for id in book.usages.keys().chain(book.prompts.keys()).chain(book.tools.keys()) {
        if !known.contains(id) {
            proof.faults.push(format!("facts belong to interception {id}, which is not recorded"));
        }
    }
    proof
}

/// Counts against distinct ids.
fn twice(proof: &mut Proof, rows: &Rows) {
    let tables: [(&str, Vec<&str>); 4] = [
        ("interception", rows.interceptions.iter().map(|row| row.id.as_str()).collect()),
        ("token usage", rows.usages.iter().map(|row| row.id.as_str()).collect()),
        ("prompt", rows.prompts.iter().map(|row| row.id.as_str()).collect()),
        ("tool usage", rows.tools.iter().map(|row| row.id.as_str()).collect()),
    ];
    for (kind, ids) in tables {
        let mut seen = BTreeSet::new();
        for id in ids.into_iter().filter(|id| !seen.insert(*id)) {
            proof.faults.push(format!("{kind} {id} is there twice"));
        }
    }
}

impl Case<'_> {
    fn check(&self, proof: &mut Proof, owners: &[String]) {
        let before = proof.faults.len();
        let mut fault = |text: String| proof.faults.push(text);
        if self.served.len() > 1 {
            fault(format!("the provider was asked {} times", self.served.len()));
        }
        match self.records.as_slice() {
            [] => self.unrecorded(&mut fault),
            [record] => {
                if owners.get(self.exchange.ask.token) != Some(&record.initiator_id) {
                    fault(format!("it is recorded for another user ({})", record.initiator_id));
                }
                if self.exchange.interception.as_ref().is_some_and(|id| *id != record.id) {
                    fault("its answer named another interception".to_owned());
                }
                self.recorded(record, &mut fault);
            }
            several => fault(format!("it is recorded {} times", several.len())),
        }
        match self.exchange.outcome {
            Outcome::Answered => self.answered(proof),
            Outcome::Truncated => fault("its answer was cut short and passed off as whole".into()),
            Outcome::Silent => fault("the gateway hung".to_owned()),
            Outcome::NotSent => fault("it was not sent: too many were open".to_owned()),
            // What is wrong with us is no reason to blame the client.
            Outcome::Refused if (400..500).contains(&self.exchange.status) => {
                fault(format!("it was refused with {}", self.exchange.refusal));
            }
            _ => {}
        }
        let name = self.name();
        for text in proof.faults.iter_mut().skip(before) {
            *text = format!("{name}: {text}");
        }
    }

    fn name(&self) -> String {
        let Exchange { ask, at, outcome, status, interception, .. } = self.exchange;
        let kind = if ask.stream { "stream" } else { "blocking" };
        let id = interception.as_deref().or(self.records.first().map(|row| row.id.as_str()));
        let (api, id) = (ask.api, id.unwrap_or("no id"));
        format!("request {} ({api:?} {kind}, {outcome:?} {status} at {at:.1?}, {id})", ask.number)
    }

    fn unrecorded(&self, fault: &mut impl FnMut(String)) {
        if let Some(id) = &self.exchange.interception {
            fault(format!("its answer named interception {id}, which is not recorded"));
        } else if self.exchange.outcome == Outcome::Answered {
            fault("it was answered and is not recorded".to_owned());
        }
        if let Some(served) = self.served.first() {
            fault(format!("the provider served {} and nothing is recorded", served.response_id));
        }
    }

    /// What holds of every record, whatever the client saw.
    fn recorded(&self, record: &Interception, fault: &mut impl FnMut(String)) {
        if !record.ended {
            fault("its record is still open".to_owned());
        }
        let usages = self.book.usages.get(record.id.as_str()).map_or(&[][..], Vec::as_slice);
        let whole = usages.iter().filter(|row| !row.is_partial());
        for row in whole.clone() {
            let same = |served: &&&Served| served.response_id == row.provider_response_id;
            match self.served.iter().find(same) {
                Some(served) if self.tokens(row) == self.wanted(served) => {}
                Some(served) => fault(format!(
                    "{:?} is recorded of {}, which cost {:?}",
                    row.tokens(),
                    served.response_id,
                    served.usage
                )),
                None => fault(format!(
                    "usage is recorded of {}, which was never served",
                    row.provider_response_id
                )),
            }
        }
        if usages.len() > 1 {
            fault(format!("{} rows of token usage are recorded", usages.len()));
        }
        let id = record.id.as_str();
        let prompts = self.book.prompts.get(id).map_or(&[][..], Vec::as_slice);
        // Only a gateway that was killed may owe what it knew besides the start.
        let owed = record.error_type.as_deref() != Some(KILLED);
        if (owed || !prompts.is_empty()) && prompts != [self.exchange.ask.prompt.as_str()] {
            fault(format!("{} prompts are recorded of it", prompts.len()));
        }
        let tools = self.book.tools.get(id).map_or(&[][..], Vec::as_slice);
        let called = self.served.iter().map(|served| served.tool_calls.len()).sum();
        if tools.len() > called {
            fault(format!("{} of {called} tool calls are recorded", tools.len()));
        }
        if record.ended && record.error_type.is_none() {
            match self.served.first() {
                Some(served) if served.ending == "complete" => {}
                Some(served) => {
                    fault(format!("its record says success, its answer is {}", served.ending));
                }
                None => fault("its record says success, the provider served nothing".to_owned()),
            }
            if whole.count() != 1 {
                fault("its record says success without the usage".to_owned());
            }
        }
    }

    /// What must hold of a request that was answered.
    fn answered(&self, proof: &mut Proof) {
        let said = &self.exchange.said;
        let ask = &self.exchange.ask;
        let mut faults = Vec::new();
        let (Some(record), Some(served)) = (self.records.first(), self.served.first()) else {
            if self.served.is_empty() {
                proof.faults.push("it was answered and the provider served nothing".to_owned());
            }
            return;
        };
        if self.exchange.interception.is_none() {
            faults.push("its answer names no interception".to_owned());
        }
        if let Some(error) = &record.error_type {
            faults.push(format!("it was answered and is recorded as {error}"));
        }
        if said.text != served.text {
            faults.push(format!("its text has {} bytes of {}", said.text.len(), served.text.len()));
        }
        match said.tokens {
            Some(told) if told != served.usage => faults.push(format!(
                "the client was told {told:?}, the provider counted {:?}",
                served.usage
            )),
            None if ask.tells_usage => faults.push("the client was told no usage".to_owned()),
            _ => {}
        }
        let id = record.id.as_str();
        let tools = self.book.tools.get(id).map_or(&[][..], Vec::as_slice);
        if !tools.iter().eq(served.tool_calls.iter().map(|call| &call.id))
            || ask.tool == tools.is_empty()
        {
            faults.push(format!(
                "{} of {} tool calls are recorded",
                tools.len(),
                served.tool_calls.len()
            ));
        }
        add(&mut proof.served, self.wanted(served));
        add(&mut proof.told, said.tokens.map_or(self.wanted(served), |told| self.comparable(told)));
        for row in self.book.usages.get(id).into_iter().flatten() {
            add(&mut proof.recorded, self.tokens(row));
        }
        proof.faults.append(&mut faults);
    }

    fn tokens(&self, row: &Usage) -> Tokens {
        self.comparable(row.tokens())
    }

    fn wanted(&self, served: &Served) -> Tokens {
        self.comparable(served.usage)
    }

    /// The part of the output that was thought is a detail that a record of Messages may leave out.
    fn comparable(&self, tokens: Tokens) -> Tokens {
        let Ask { api, .. } = self.exchange.ask;
        let leaves_out = api == super::ask::Api::Messages;
        Tokens { reasoning: if leaves_out { 0 } else { tokens.reasoning }, ..tokens }
    }
}

fn add(sum: &mut Tokens, more: Tokens) {
    sum.input += more.input;
    sum.output += more.output;
    sum.cache_read += more.cache_read;
    sum.cache_write += more.cache_write;
    sum.reasoning += more.reasoning;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::ask::{Api, Said};
    use super::*;

    /// A request that was answered, what was served of it, and its rows.
    struct Scene {
        exchange: Exchange,
        served: Value,
        interceptions: Value,
        usages: Value,
        prompts: Value,
        tools: Value,
    }

    fn scene() -> Scene {
        let ask = Ask { api: Api::Chat, tool: true, token: 0, ..Ask::make(1, 7, 1, "m") };
        let prompt = ask.prompt.clone();
        let tokens = Tokens { input: 3, output: 2, cache_read: 1, cache_write: 0, reasoning: 1 };
        Scene {
            exchange: Exchange {
                ask,
                at: Duration::ZERO,
                took: Duration::ZERO,
                outcome: Outcome::Answered,
                status: 200,
                interception: Some("i1".to_owned()),
                said: Said { ended: true, failed: false, tokens: Some(tokens), text: "hi".into() },
                refusal: String::new(),
            },
            served: json!([{
                "seq": 1, "path": "/v1/chat/completions", "headers": [["user-agent", "chaos/7"]],
                "model": "m", "response_id": "r1", "text": "hi", "ending": "complete", "status": 200,
                "usage": {"input": 3, "output": 2, "cache_read": 1, "cache_write": 0, "reasoning": 1},
                "tool_calls": [{"id": "t1", "name": "look_up", "arguments": {}}],
            }]),
            interceptions: json!([{
                "id": "i1", "initiator_id": "u1", "ended": true, "error_type": null,
                "user_agent": "chaos/7",
            }]),
            usages: json!([{
                "id": "f1", "interception_id": "i1", "provider_response_id": "r1", "input_tokens": 3,
                "output_tokens": 2, "cache_read_input_tokens": 1, "cache_write_input_tokens": 0,
                "metadata": {"completion_reasoning": 1},
            }]),
            prompts: json!([{"id": "f2", "interception_id": "i1", "prompt": prompt}]),
            tools: json!([{"id": "f3", "interception_id": "i1", "provider_tool_call_id": "t1"}]),
        }
    }

    impl Scene {
        fn faults(&self) -> Vec<String> {
            fn read<T: serde::de::DeserializeOwned>(rows: &Value) -> Vec<T> {
                serde_json::from_value(rows.clone()).unwrap()
            }
            let rows = Rows {
                interceptions: read(&self.interceptions),
                usages: read(&self.usages),
                prompts: read(&self.prompts),
                tools: read(&self.tools),
            };
            let exchanges = [self.exchange.clone()];
            prove(&exchanges, &read::<Served>(&self.served), &rows, &["u1".to_owned()]).faults
        }

        fn with(mut self, list: &str, pointer: &str, value: Value) -> Self {
            let rows = match list {
                "served" => &mut self.served,
                "interceptions" => &mut self.interceptions,
                "usages" => &mut self.usages,
                "prompts" => &mut self.prompts,
                _ => &mut self.tools,
            };
            *rows.pointer_mut(pointer).unwrap() = value;
            self
        }

        fn broken(mut self) -> Self {
            self.exchange.outcome = Outcome::Broken;
            self
        }

        fn twice(mut self, list: &str, id: Value) -> Self {
            let rows = match list {
                "served" => &mut self.served,
                "interceptions" => &mut self.interceptions,
                "usages" => &mut self.usages,
                _ => &mut self.tools,
            };
            let mut again = rows[0].clone();
            let field = if list == "served" { "seq" } else { "id" };
            again[field] = id;
            rows.as_array_mut().unwrap().push(again);
            self
        }
    }

    #[test]
    fn an_answer_with_its_record_is_fine_and_a_broken_one_with_an_error_is_too() {
        assert_eq!(scene().faults(), Vec::<String>::new());
        let mut broken = scene().broken().with("interceptions", "/0/error_type", json!("unknown"));
        assert_eq!(broken.faults(), Vec::<String>::new());
        broken.usages = json!([]);
        broken.prompts = json!([]);
        broken.tools = json!([]);
        assert_eq!(broken.faults(), Vec::<String>::new());
        // A refusal that never became a request of the provider.
        broken.served = json!([]);
        broken.interceptions = json!([]);
        broken.exchange.interception = None;
        broken.exchange.outcome = Outcome::Refused;
        broken.exchange.status = 503;
        assert_eq!(broken.faults(), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_doubled_or_different_is_named() {
        let none = json!([]);
        let cases = [
            (scene().with("interceptions", "", none.clone()), "which is not recorded"),
            (scene().with("usages", "", none.clone()), "success without the usage"),
            (scene().with("prompts", "", none.clone()), "0 prompts are recorded"),
            (scene().with("tools", "", none.clone()), "0 of 1 tool calls"),
            (scene().with("served", "", none.clone()), "the provider served nothing"),
            (scene().twice("interceptions", json!("i2")), "it is recorded 2 times"),
            (scene().twice("interceptions", json!("i1")), "interception i1 is there twice"),
            (scene().twice("usages", json!("f1")), "token usage f1 is there twice"),
            (scene().twice("usages", json!("f9")), "2 rows of token usage"),
            (scene().twice("tools", json!("f9")), "2 of 1 tool calls"),
            (scene().twice("served", json!(2)), "the provider was asked 2 times"),
            (scene().with("interceptions", "/0/ended", json!(false)), "still open"),
            (scene().with("interceptions", "/0/id", json!("i2")), "named another interception"),
            (scene().with("interceptions", "/0/initiator_id", json!("u2")), "for another user"),
            (
                scene().with("interceptions", "/0/error_type", json!("unknown")),
                "recorded as unknown",
            ),
            (
                scene().with("interceptions", "/0/user_agent", json!("curl")),
                "to no request of ours",
            ),
            (scene().with("usages", "/0/input_tokens", json!(4)), "is recorded of r1, which cost"),
            (scene().with("usages", "/0/metadata", json!({})), "is recorded of r1, which cost"),
            (scene().with("usages", "/0/provider_response_id", json!("r2")), "never served"),
            (scene().with("usages", "/0/interception_id", json!("i9")), "which is not recorded"),
            (scene().with("served", "/0/ending", json!("cut")), "its answer is cut"),
            (scene().with("served", "/0/text", json!("hi there")), "its text has 2 bytes of 8"),
            (scene().with("served", "/0/usage/input", json!(4)), "the client was told"),
            (scene().with("served", "/0/headers/0/1", json!("chaos/8")), "to nobody of ours"),
            (scene().broken().with("interceptions", "", none), "which is not recorded"),
            (scene().broken().with("served", "/0/ending", json!("cut")), "its answer is cut"),
            (
                Scene { prompts: json!([]), ..scene().broken() }.with(
                    "interceptions",
                    "/0/error_type",
                    json!("client_gone"),
                ),
                "0 prompts are recorded",
            ),
        ];
        for (at, (scene, wanted)) in cases.into_iter().enumerate() {
            let faults = scene.faults();
            assert!(faults.iter().any(|fault| fault.contains(wanted)), "{at} {wanted}: {faults:?}");
        }
    }

    #[test]
    fn hanging_cutting_short_and_blaming_the_client_are_faults_by_themselves() {
        for (outcome, status, wanted) in [
            (Outcome::Silent, 0, "the gateway hung"),
            (Outcome::Truncated, 200, "cut short"),
            (Outcome::NotSent, 0, "too many were open"),
            (Outcome::Refused, 401, "it was refused with"),
        ] {
            let mut scene = scene();
            scene.exchange.outcome = outcome;
            scene.exchange.status = status;
            let faults = scene.faults();
            assert!(faults.iter().any(|fault| fault.contains(wanted)), "{wanted}: {faults:?}");
        }
    }
}
