//! `schemagen schema|constraints`: applies `migrations/` to a scratch PostgreSQL server and prints what the
//! catalogue then says, as the source of `crates/store/src/schema.rs` or `constraints.rs`.
//!
//! Depends on neither `store` nor diesel, so that a stale or broken generated file never keeps it from
//! being made anew. Output is sorted and carries no time.

mod constraints;
mod scratch;
mod tables;

use anyhow::{Result, bail};

#[tokio::main]
async fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let make = match wanted.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["schema"] => scratch::Product::Schema,
        ["constraints"] => scratch::Product::Constraints,
        _ => bail!("usage: schemagen schema|constraints"),
    };
    print!("{}", scratch::make(make).await?);
    Ok(())
}
