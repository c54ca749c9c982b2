//! Options with a closed list of values.

use super::{Kind, Raw, Value};

macro_rules! choices {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident { $( $(#[doc = $vdoc:literal])+ $variant:ident = $text:literal, )+ }
    )+) => { $(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $( $(#[doc = $vdoc])+ $variant, )+ }

        impl $name {
            /// The value as it is written in the configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }
        }

        impl Value for $name {
            const KIND: Kind = Kind::Choice(&[$($text),+]);

            fn parse(raw: &Raw) -> Result<Self, String> {
                match raw.single()? {
                    $( $text => Ok(Self::$variant), )+
                    _ => Err("not one of the allowed values".to_owned()),
                }
            }

            fn to_raw(&self) -> Raw {
                Raw::text(self.as_str())
            }
        }
    )+ };
}

choices! {
    /// `SameSite` attribute of the session cookie. `strict` would break every login by redirect.
    SameSite {
        /// Sent on top-level navigation from other sites.
        Lax = "lax",
        /// Sent always; needs a secure cookie.
        None = "none",
    }

    /// What the TLS listener asks of clients.
    TlsClientAuth {
        /// No certificate is asked for.
        None = "none",
        /// Asked for, not required, not verified.
        Request = "request",
        /// Required, not verified.
        RequireAny = "require-any",
        /// Verified if the client sends one.
        VerifyIfGiven = "verify-if-given",
        /// Required and verified.
        RequireAndVerify = "require-and-verify",
    }

    /// How a database connection proves who it is.
    PostgresAuth {
        /// By the password in the URL.
        Password = "password",
        /// By a fresh AWS IAM token for each new connection.
        AwsIamRds = "awsiamrds",
    }

    /// How strictly the spool is written before an answer is released.
    SpoolSync {
        /// Synced to the disk: survives loss of power.
        Strict = "strict",
        /// Handed to the operating system: survives the end of the process.
        Os = "os",
    }

    /// What happens to AI requests while the spool is full.
    SpoolFull {
        /// They are refused.
        Refuse = "refuse",
        /// They pass unrecorded and are counted.
        Pass = "pass",
    }

    /// What happens to AI requests for a model whose price is unknown.
    UnpricedPolicy {
        /// They are served and cost nothing.
        Allow = "allow",
        /// They are refused.
        Block = "block",
        /// They are charged at the default price.
        DefaultPrice = "default-price",
    }

    /// Which of several group budgets counts for a user.
    BudgetPolicy {
        /// The highest one.
        Highest = "highest",
    }

    /// The span over which spend adds up.
    BudgetPeriod {
        /// The calendar month in UTC.
        Month = "month",
    }
}

/// Lowest TLS version that a listener accepts. Versions below 1.2 are known and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl Value for TlsVersion {
    const KIND: Kind = Kind::Choice(&["tls12", "tls13"]);

    fn parse(raw: &Raw) -> Result<Self, String> {
        match raw.single()? {
            "tls12" => Ok(Self::Tls12),
            "tls13" => Ok(Self::Tls13),
            "tls10" | "tls11" => Err("TLS below 1.2 is not offered".to_owned()),
            _ => Err("unrecognized tls version".to_owned()),
        }
    }

    fn to_raw(&self) -> Raw {
        Raw::text(match self {
            Self::Tls12 => "tls12",
            Self::Tls13 => "tls13",
        })
    }
}

/// How many idle database connections are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxIdle {
    /// A third of the most open ones.
    Auto,
    /// This many; 0 keeps none.
    Count(u32),
}

impl Value for MaxIdle {
    const KIND: Kind = Kind::Text;

    fn parse(raw: &Raw) -> Result<Self, String> {
        match raw.single()? {
            "auto" => Ok(Self::Auto),
            text => text
                .parse()
                .map(Self::Count)
                .map_err(|_| "must be \"auto\" or a whole number from 0 on".to_owned()),
        }
    }

    fn to_raw(&self) -> Raw {
        Raw::text(match self {
            Self::Auto => "auto".to_owned(),
            Self::Count(count) => count.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_tls_versions_are_known_and_refused() {
        for text in ["tls10", "tls11"] {
            let reason = TlsVersion::parse(&Raw::text(text)).unwrap_err();
            assert_eq!(reason, "TLS below 1.2 is not offered");
        }
        assert_eq!(TlsVersion::parse(&Raw::text("tls13")), Ok(TlsVersion::Tls13));
    }

    #[test]
    fn same_site_strict_is_not_a_choice() {
        assert!(SameSite::parse(&Raw::text("strict")).is_err());
        assert_eq!(SameSite::parse(&Raw::text("none")), Ok(SameSite::None));
    }

    #[test]
    fn max_idle_is_auto_or_a_count() {
        assert_eq!(MaxIdle::parse(&Raw::text("auto")), Ok(MaxIdle::Auto));
        assert_eq!(MaxIdle::parse(&Raw::text("0")), Ok(MaxIdle::Count(0)));
        assert!(MaxIdle::parse(&Raw::text("-1")).is_err());
    }
}
