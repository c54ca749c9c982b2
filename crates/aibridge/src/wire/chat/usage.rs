//! Usage in the Chat Completions API.

use crate::json::View;
use crate::wire::ledger::Counts;

/// The last usage seen. `prompt_tokens` includes what was read from or written to a cache.
#[derive(Default)]
pub(super) struct Usage {
    counts: Option<Counts>,
}

impl Usage {
    /// Takes over a usage object; the last one wins, since upstreams that send several send cumulative
    /// ones. One without any count, or of nothing but zeros after a real one, is passed over.
    pub(super) fn merge(&mut self, usage: Option<View<'_>>) {
        let Some(usage) = usage else { return };
        let [prompt, completion, prompt_details, completion_details, hits, cached] =
            usage.fields([
                "prompt_tokens",
                "completion_tokens",
                "prompt_tokens_details",
                "completion_tokens_details",
                "prompt_cache_hit_tokens",
                "cached_tokens",
            ]);
        let [prompt, completion] = [prompt, completion].map(|v| v.and_then(View::count));
        if prompt.is_none() && completion.is_none() {
            return;
        }
        let (prompt, output) = (prompt.unwrap_or_default(), completion.unwrap_or_default());
        if self.counts.is_some() && prompt == 0 && output == 0 {
            return;
        }
        let inner = |object: Option<View<'_>>, key| object.and_then(|o| o.field(key)?.count());
        let cached = inner(prompt_details, "cached_tokens")
            .or_else(|| hits?.count())
            .or_else(|| cached?.count());
        let written = inner(prompt_details, "cache_write_tokens");
        let (cache_read, cache_write) = (cached.unwrap_or_default(), written.unwrap_or_default());
        let extra = [
            ("prompt_audio", inner(prompt_details, "audio_tokens")),
            ("prompt_cached", cached),
            (
                "completion_accepted_prediction",
                inner(completion_details, "accepted_prediction_tokens"),
            ),
            (
                "completion_rejected_prediction",
                inner(completion_details, "rejected_prediction_tokens"),
            ),
            ("completion_audio", inner(completion_details, "audio_tokens")),
            ("completion_reasoning", inner(completion_details, "reasoning_tokens")),
        ];
        self.counts = Some(Counts {
            input: (prompt - cache_read - cache_write).max(0),
            output,
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
