//! Usage in the Messages API.

use crate::json::View;
use crate::wire::ledger::Counts;

/// The counts seen so far. `input_tokens` excludes what was read from or written to the cache.
#[derive(Default)]
pub(super) struct Usage {
    input: Option<i64>,
    output: Option<i64>,
    cache_read: Option<i64>,
    cache_write: Option<i64>,
    cache_write_1h: Option<i64>,
    cache_write_5m: Option<i64>,
    web_searches: Option<i64>,
    web_fetches: Option<i64>,
    thinking: Option<i64>,
}

impl Usage {
    /// Later values win, since they are cumulative; a zero does not take back what was counted, because
    /// some servers put zeros where they repeat nothing.
    pub(super) fn merge(&mut self, usage: Option<View<'_>>) {
        let Some(usage) = usage else { return };
        let [input, output, read, write, creation, server, details] = usage.fields([
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            "cache_creation",
            "server_tool_use",
            "output_tokens_details",
        ]);
        let inner = |object: Option<View<'_>>, key| object.and_then(|o| o.field(key)?.count());
        for (slot, value) in [
            (&mut self.input, input.and_then(View::count)),
            (&mut self.output, output.and_then(View::count)),
            (&mut self.cache_read, read.and_then(View::count)),
            (&mut self.cache_write, write.and_then(View::count)),
            (&mut self.cache_write_1h, inner(creation, "ephemeral_1h_input_tokens")),
            (&mut self.cache_write_5m, inner(creation, "ephemeral_5m_input_tokens")),
            (&mut self.web_searches, inner(server, "web_search_requests")),
            (&mut self.web_fetches, inner(server, "web_fetch_requests")),
            (&mut self.thinking, inner(details, "thinking_tokens")),
        ] {
            *slot = value.filter(|&n| n > 0).or(*slot).or(value);
        }
    }

    /// What is known; nothing when no count was ever seen.
    pub(super) fn counts(&self) -> Option<Counts> {
        let by_age = [self.cache_write_1h, self.cache_write_5m];
        let write = self.cache_write.or_else(|| by_age.into_iter().flatten().reduce(|a, b| a + b));
        let main = [self.input, self.output, self.cache_read, write];
        if main.iter().all(Option::is_none) {
            return None;
        }
        let [input, output, cache_read, cache_write] = main.map(Option::unwrap_or_default);
        let extra = [
            ("cache_creation_input", write),
            ("cache_read_input", self.cache_read),
            ("cache_ephemeral_1h_input", self.cache_write_1h),
            ("cache_ephemeral_5m_input", self.cache_write_5m),
            ("web_search_requests", self.web_searches),
            ("web_fetch_requests", self.web_fetches),
            ("output_thinking", self.thinking),
        ];
        let extra = extra.into_iter().filter_map(|(name, n)| Some((name.to_owned(), n?))).collect();
        Some(Counts { input, output, cache_read, cache_write, extra })
    }
}
