telemetry::label! {
    /// What came of asking coderd for a token.
    pub enum Asked {
        Identity => "identity",
        Refused => "refused",
        Unavailable => "unavailable",
    }
}

telemetry::metrics! {
    /// What a daemon counts of its dealings with coderd.
    pub struct ClientMetrics {
        /// 1 while coderd answers, else 0.
        pub connected: Gauge["coder_ai_gateway_coderd_connected"] {},
        /// Tokens that coderd was asked about.
        pub asked: Counter["coder_ai_gateway_identities_asked_total"] {
            outcome: Asked,
        },
        /// Requests that were let through on an older answer because coderd was away.
        pub unconfirmed: Counter["coder_ai_gateway_identities_unconfirmed_total"] {},
        /// Notices that identities must be forgotten.
        pub revocations: Counter["coder_ai_gateway_revocations_total"] {},
    }
}
