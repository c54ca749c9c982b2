use std::fmt::Write as _;

use serde_json::Value;
use stdx::SharedClock;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::fields::Fields;
use super::sink::Sink;

/// RFC 3339, UTC, milliseconds.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `time [level] target: message  key=value ..`
    Human {
        /// Whether the level is coloured.
        colour: bool,
    },
    /// One JSON object.
    Json,
}

impl Format {
    /// The line that tells how many were lost.
    pub(super) fn lost(self, count: u64) -> String {
        match self {
            Self::Human { .. } => {
                format!("log lines lost because the output is too slow  count={count}\n")
            }
            Self::Json => {
                format!(
                    "{{\"level\":\"WARN\",\"message\":\"log lines lost because the output is too slow\",\"count\":{count}}}\n"
                )
            }
        }
    }
}

/// Turns events into lines. Fields of the spans around an event come first, outermost first.
pub(super) struct Lines {
    sink: Sink,
    format: Format,
    clock: SharedClock,
}

impl Lines {
    pub(super) const fn new(sink: Sink, format: Format, clock: SharedClock) -> Self {
        Self { sink, format, clock }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        // The other output of the process may have stored them already.
        if span.extensions().get::<Fields>().is_none() {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut all: Vec<(&str, Value)> = Vec::new();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(held) = span.extensions().get::<Fields>() {
                all.extend(held.others.iter().cloned());
            }
        }
        all.append(&mut fields.others);
        let line = Line {
            at: self.clock.now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            message: fields.message.as_deref().unwrap_or_default(),
            fields: &all,
        };
        self.sink.send(match self.format {
            Format::Human { colour } => line.human(colour),
            Format::Json => line.json(),
        });
    }
}

struct Line<'a> {
    at: OffsetDateTime,
    level: Level,
    target: &'a str,
    message: &'a str,
    fields: &'a [(&'a str, Value)],
}

impl Line<'_> {
    fn time(&self) -> String {
        self.at.to_offset(time::UtcOffset::UTC).format(TIME).unwrap_or_default()
    }

    fn human(&self, colour: bool) -> Vec<u8> {
        let level = self.level.as_str().to_ascii_lowercase();
        let mut out = self.time();
        out.push_str(" [");
        if colour {
            let code = match self.level {
                Level::ERROR => "31",
                Level::WARN => "33",
                Level::INFO => "32",
                _ => "36",
            };
            // Writing to a String cannot fail, here and below.
            let _ = write!(out, "\u{1b}[{code}m{level}\u{1b}[0m");
        } else {
            out.push_str(&level);
        }
        let _ = write!(out, "] {}: ", self.target);
        escape(self.message, &mut out);
        for (position, (name, value)) in self.fields.iter().enumerate() {
            out.push_str(if position == 0 { "  " } else { " " });
            out.push_str(name);
            out.push('=');
            match value {
                Value::String(text) if is_plain(text) => out.push_str(text),
                Value::String(text) => {
                    let _ = write!(out, "{text:?}");
                }
                other => {
                    let _ = write!(out, "{other}");
                }
            }
        }
        out.push('\n');
        out.into_bytes()
    }

    fn json(&self) -> Vec<u8> {
        let mut out = String::from("{");
        let mut put = |name: &str, value: &Value| {
            if out.len() > 1 {
                out.push(',');
            }
            // A JSON value prints itself with every control character escaped.
            let _ = write!(out, "{}:{value}", Value::from(name));
        };
        put("time", &Value::from(self.time()));
        put("level", &Value::from(self.level.as_str()));
        put("target", &Value::from(self.target));
        put("message", &Value::from(self.message));
        for (position, (name, value)) in self.fields.iter().enumerate() {
            // One object has each name once: the innermost value stands, the names above are ours.
            let hidden = self.fields.iter().skip(position + 1).any(|(later, _)| later == name);
            if !hidden && !["time", "level", "target", "message"].contains(name) {
                put(name, value);
            }
        }
        out.push_str("}\n");
        out.into_bytes()
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=')
}

/// Keeps one event on one line, and terminals from obeying what a client sent.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
}
