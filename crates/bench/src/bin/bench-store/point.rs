//! One row by its key: through the whole stack, and by the same statement in diesel alone, on a pool of the same kind.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rbac::system;
use stdx::Secret;
use store::api_keys::{ApiKey, GetApiKey};
use store::embed::diesel::prelude::*;
use store::embed::diesel_async::pooled_connection::deadpool::Pool;
use store::embed::diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};
use store::embed::diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use store::schema::api_keys;
use store::{Call, Full, Store as _};

use super::fill::dial;
use super::table::{Bar, Table};

/// Queries of one turn.
const TURN: u32 = 200;
/// Keys among which is chosen.
const KEYS: u32 = 10_000;

/// Turns are taken alternately; what is told is the median of the ratios.
pub(crate) async fn measure(
    store: &Full,
    url: &Secret<String>,
    rounds: u32,
    table: &mut Table,
) -> Result<()> {
    prepare(url).await?;
    let mut config = ManagerConfig::default();
    // As the store: no question before each use.
    config.recycling_method = RecyclingMethod::Fast;
    let manager =
        AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config(url.expose(), config);
    let pool = Pool::builder(manager).max_size(4).build().context("no pool")?;
    let (mut ratios, mut ours, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds + 5 {
        let by_store = through_store(store, round).await?;
        let alone = by_diesel(&pool, round).await?;
        // The first ones warm up.
        if round >= 5 {
            ratios.push(by_store.as_secs_f64() / alone.as_secs_f64());
            ours.push(by_store / TURN);
            bare.push(alone / TURN);
        }
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let ratio = ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN);
    let micros = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times.get(times.len() / 2).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    };
    let besides = format!("{:.1} µs, {:.1} µs in diesel alone", micros(ours), micros(bare));
    let cost = (ratio - 1.0) * 100.0;
    table.add("a row by its key, what the stack adds", (cost, "%"), besides, Bar::AtMost(15.0));
    Ok(())
}

async fn prepare(url: &Secret<String>) -> Result<()> {
    let sql = format!(
        "INSERT INTO users (id, email, username, created_at, updated_at)
         VALUES ('b1000000-0000-4000-8000-000000000000', 'keys@example.com', 'keys', now(), now());
         INSERT INTO api_keys (id, hashed_secret, user_id, last_used, expires_at, created_at, updated_at, login_type,
                               lifetime_seconds, scopes, allow_list)
         SELECT lpad(g::text, 10, '0'), sha256(g::text::bytea), 'b1000000-0000-4000-8000-000000000000', now(), now(),
                now(), now(), 'password', 86400, '{{coder:all}}', '{{*:*}}'
           FROM generate_series(0, {KEYS} - 1) g;
         ANALYZE api_keys"
    );
    dial(url).await?.batch_execute(&sql).await.context("cannot insert keys")
}

/// The keys of a turn.
fn keys(round: u32) -> impl Iterator<Item = String> {
    (0..TURN).map(move |number| format!("{:010}", (round * 7919 + number * 104_729) % KEYS))
}

async fn through_store(store: &Full, round: u32) -> Result<Duration> {
    let began = Instant::now();
    for id in keys(round) {
        black_box(store.run(Call::by(system::authenticator()), GetApiKey { id }).await?);
    }
    Ok(began.elapsed())
}

async fn by_diesel(pool: &Pool<AsyncPgConnection>, round: u32) -> Result<Duration> {
    let began = Instant::now();
    for id in keys(round) {
        let mut conn = pool.get().await.context("no connection")?;
        let key: ApiKey =
            api_keys::table.find(&id).select(ApiKey::as_select()).first(&mut conn).await?;
        black_box(key);
    }
    Ok(began.elapsed())
}
