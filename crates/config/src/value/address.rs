//! Listen and dial addresses.

use std::fmt;

use serde_json::{Value as Json, json};

use super::{Kind, Raw, Value};

/// A host and a port. An empty host means every interface; port 0 means any free port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A name or an IP address, without brackets; may be empty.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// Whether the address is reached from this machine only, as far as its text tells.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Value for HostPort {
    const KIND: Kind = Kind::HostPort;

    fn parse(raw: &Raw) -> Result<Self, String> {
        let text = raw.single()?;
        let (host, port) = text.rsplit_once(':').ok_or_else(|| "the port is missing".to_owned())?;
        let port =
            port.parse().map_err(|_| "the port is not a number between 0 and 65535".to_owned())?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner
                .strip_suffix(']')
                .filter(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
                .ok_or_else(|| "the brackets do not hold an IPv6 address".to_owned())?,
            None if host.contains(':') => {
                return Err("an IPv6 address needs brackets, such as [::1]:3000".to_owned());
            }
            None => host,
        };
        if host.contains(|c: char| c.is_whitespace() || c.is_control() || "/@[]".contains(c)) {
            return Err("the host is not a name or an IP address".to_owned());
        }
        Ok(Self { host: host.to_owned(), port })
    }

    fn to_raw(&self) -> Raw {
        Raw::text(self.to_string())
    }

    /// Host and port, both as text: the shape that existing clients read.
    fn to_json(&self) -> Json {
        json!({ "host": self.host, "port": self.port.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for (text, host, port) in [
            ("127.0.0.1:3000", "127.0.0.1", 3000),
            (":8888", "", 8888),
            ("[::1]:0", "::1", 0),
            ("coder.internal:443", "coder.internal", 443),
        ] {
            let parsed = HostPort::parse(&Raw::text(text)).expect(text);
            assert_eq!((parsed.host.as_str(), parsed.port), (host, port), "{text}");
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "3000",
            "host",
            "host:x",
            "host:70000",
            "::1:3000",
            "[::1:3000",
            "[x]:1",
            "http://a:1",
            "a b:1",
        ] {
            assert!(HostPort::parse(&Raw::text(text)).is_err(), "{text}");
        }
    }
}
