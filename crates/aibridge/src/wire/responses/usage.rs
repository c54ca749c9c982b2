//! Usage in the Responses API.

use crate::json::View;
use crate::wire::ledger::Counts;

/// The last usage seen. `input_tokens` includes what was read from or written to a cache.
#[derive(Default)]
pub(super) struct Usage {
    counts: Option<Counts>,
}

impl Usage {
    /// Takes over a usage object that has counts.
    pub(super) fn merge(&mut self, usage: Option<View<'_>>) {
        let Some(usage) = usage else { return };
        let [input, output, total, input_details, output_details] = usage.fields([
            "input_tokens",
            "output_tokens",
            "total_tokens",
            "input_tokens_details",
            "output_tokens_details",
        ]);
        let [input, output, total] = [input, output, total].map(|v| v.and_then(View::count));
        if input.is_none() && output.is_none() {
            return;
        }
        let inner = |object: Option<View<'_>>, key| object.and_then(|o| o.field(key)?.count());
        let cached = inner(input_details, "cached_tokens");
        let written = inner(input_details, "cache_write_tokens");
        let (cache_read, cache_write) = (cached.unwrap_or_default(), written.unwrap_or_default());
        let extra = [
            ("input_cached", cached),
            ("output_reasoning", inner(output_details, "reasoning_tokens")),
            ("total_tokens", total),
        ];
        self.counts = Some(Counts {
            input: (input.unwrap_or_default() - cache_read - cache_write).max(0),
            output: output.unwrap_or_default(),
            cache_read,
            cache_write,
            extra: extra.into_iter().filter_map(|(name, n)| Some((name.to_owned(), n?))).collect(),
        });
    }

    /// What is known.
    pub(super) fn counts(&self) -> Option<Counts> {
        self.counts.clone()
    }
}
