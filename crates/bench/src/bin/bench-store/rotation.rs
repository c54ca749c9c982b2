//! A new encryption key: everything is opened and sealed anew, in the tables, as the command does.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypt::Keyring;
use stdx::{Secret, SystemClock, SystemRng};
use store::dbcrypt::Maintenance;
use store::embed::diesel_async::SimpleAsyncConnection as _;

use super::fill::dial;
use super::table::{Bar, Table};

/// Values that are rotated.
const VALUES: u64 = 100_000;

pub(crate) async fn measure(url: &Secret<String>, table: &mut Table) -> Result<()> {
    dial(url)
        .await?
        .batch_execute(&format!(
            "INSERT INTO ai_providers (id, type, name, base_url, created_at, updated_at)
             VALUES ('d0000000-0000-4000-8000-000000000000', 'openai', 'rotated', 'https://example.com', now(), now());
             INSERT INTO ai_provider_keys (id, provider_id, api_key, created_at, updated_at)
             SELECT gen_random_uuid(), 'd0000000-0000-4000-8000-000000000000', 'sk-' || repeat(md5(g::text), 3), now(), now()
               FROM generate_series(1, {VALUES}) g;
             ANALYZE ai_provider_keys"
        ))
        .await
        .context("cannot insert secrets")?;
    let mut maintenance =
        Maintenance::open(url, SystemRng::shared(), SystemClock::shared()).await?;
    for (what, keys) in [("sealed for the first time", &[1][..]), ("rotated", &[2, 1])] {
        let ring = ring(keys)?;
        maintenance.check(&ring).await?;
        let began = Instant::now();
        let done = maintenance.reseal(&ring, &mut |_| {}).await?;
        let retired = maintenance.retire(&ring).await?;
        let seconds = began.elapsed().as_secs_f64();
        ensure!(done == VALUES && retired.len() + 1 == keys.len(), "{done} values, {retired:?}");
        #[expect(clippy::cast_precision_loss, reason = "a count of some seconds")]
        let rate = done as f64 / seconds;
        let besides = format!("{VALUES} values of 99 bytes in {seconds:.1} s, one connection");
        table.add(format!("values {what}"), (rate, "rows/s"), besides, Bar::AtLeast(5_000.0));
    }
    Ok(())
}

fn ring(keys: &[u8]) -> Result<Keyring> {
    let keys: Vec<Secret<String>> =
        keys.iter().map(|byte| Secret::new(STANDARD.encode([*byte; 32]))).collect();
    Ok(Keyring::from_base64(&keys)?)
}
