use std::time::Duration;

use serde::Serialize;

/// How requests are answered. What `PUT /__mode?name=value&…` leaves out is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mode {
    /// `delay_ms`: time between the last byte of a request and the first of its answer.
    pub(crate) delay: Duration,
    /// `frames`: answer with a stream of so many frames of text; 0 answers with one JSON object.
    pub(crate) frames: u32,
    /// `every_us`: time between two frames; 0 sends all at once.
    pub(crate) pace: Duration,
    /// `hold=1`: answer nothing until a mode comes that does not say so.
    pub(crate) hold: bool,
    /// `hang_up=1`: close, once, all connections on which nothing is asked.
    pub(crate) hang_up: bool,
}

impl Mode {
    /// Reads a query, without its question mark.
    pub(crate) fn parse(query: &str) -> Result<Self, String> {
        let mut mode = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number: u32 =
                value.parse().map_err(|_| format!("{name}: `{value}` is no number"))?;
            match name {
                "delay_ms" => mode.delay = Duration::from_millis(number.into()),
                "frames" => mode.frames = number,
                "every_us" => mode.pace = Duration::from_micros(number.into()),
                "hold" => mode.hold = number != 0,
                "hang_up" => mode.hang_up = number != 0,
                _ => return Err(format!("{name}: no such setting")),
            }
        }
        Ok(mode)
    }
}

/// What `GET /__stats` tells.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Stats {
    /// Requests that were answered to the last byte.
    pub(crate) answered: u64,
    /// Requests that were read and whose answer has not ended.
    pub(crate) in_flight: u64,
    /// Open connections.
    pub(crate) connections: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_read_and_what_is_none_is_named() {
        let mode = Mode {
            delay: Duration::from_millis(20),
            frames: 3,
            pace: Duration::from_micros(500),
            hold: true,
            hang_up: true,
        };
        let text = "delay_ms=20&frames=3&every_us=500&hold=1&hang_up=1";
        assert_eq!(Mode::parse(text), Ok(mode));
        assert_eq!(Mode::parse(""), Ok(Mode::default()));
        assert_eq!(Mode::parse("frames=x").unwrap_err(), "frames: `x` is no number");
        assert_eq!(Mode::parse("speed=1").unwrap_err(), "speed: no such setting");
    }
}
