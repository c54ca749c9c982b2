//! The headings that options stand under in help and documentation, and their keys in the YAML file.

/// A heading.
#[derive(Debug)]
pub struct Group {
    /// The heading for people.
    pub name: &'static str,
    /// Its key in the YAML file; empty for the root, which has none.
    pub yaml: &'static str,
    /// The heading above it.
    pub parent: Option<&'static Self>,
    /// What its options are about.
    pub description: &'static str,
}

impl Group {
    /// The keys that lead to this group in the YAML file.
    #[must_use]
    pub fn yaml_keys(&self) -> Vec<&'static str> {
        let mut keys = self.parent.map(Self::yaml_keys).unwrap_or_default();
        if !self.yaml.is_empty() {
            keys.push(self.yaml);
        }
        keys
    }

    /// The heading with those above it, such as `Networking / TLS`.
    #[must_use]
    pub fn title(&self) -> String {
        match self.parent {
            Some(parent) => format!("{} / {}", parent.title(), self.name),
            None => self.name.to_owned(),
        }
    }
}

macro_rules! groups {
    ($( $ident:ident = $name:literal, $yaml:literal, $parent:expr, $description:literal; )+) => {
        $( pub(crate) static $ident: Group = Group {
            name: $name, yaml: $yaml, parent: $parent, description: $description,
        }; )+

        /// All headings in the order of help and documentation.
        pub(crate) static ALL: &[&Group] = &[ $( &$ident ),+ ];
    };
}

groups! {
    ROOT = "General", "", None, "The deployment as a whole: database, sessions, security.";
    NETWORKING = "Networking", "networking", None, "Addresses, proxies in front, cookies.";
    HTTP = "HTTP", "http", Some(&NETWORKING), "The HTTP server and the sessions that it hands out.";
    TLS = "TLS", "tls", Some(&NETWORKING), "Serving and asking by TLS.";
    AI_GATEWAY = "AI Gateway", "ai_gateway", None, "The gateway between AI clients and providers.";
    AI_PROXY = "AI Gateway Proxy", "ai_gateway_proxy", None,
        "The forward proxy that leads the traffic of AI tools to the gateway.";
    RETENTION = "Retention", "retention", None, "How long records are kept; 0 keeps them for ever.";
    INTROSPECTION = "Introspection", "introspection", None, "Seeing what the server does.";
    LOGGING = "Logging", "logging", Some(&INTROSPECTION), "Where log lines go and which are written.";
    PROMETHEUS = "Prometheus", "prometheus", Some(&INTROSPECTION), "Metrics.";
    PPROF = "Profiling", "pprof", Some(&INTROSPECTION), "The profiling endpoint.";
    TRACING = "Tracing", "tracing", Some(&INTROSPECTION), "Traces by OTLP.";
    HEALTH = "Health Check", "healthcheck", Some(&INTROSPECTION), "The server's own health report.";
    CLIENT = "Client", "client", None, "What clients are told.";
}
