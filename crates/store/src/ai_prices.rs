//! What models cost: millionths of the currency for a million tokens, from an instant on.

use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use rbac::{Action, Object, Resource};
use time::OffsetDateTime;

use crate::query::{Access, Db, Fut, Permit, Query, check};
use crate::schema::ai_model_prices;

const ANY: Object<'static> = Object::new(Resource::AiModelPrice);

/// A row of `ai_model_prices`. `None`: unknown; 0: free.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = ai_model_prices, check_for_backend(diesel::pg::Pg))]
#[expect(missing_docs, reason = "columns, documented by the schema")]
pub struct Price {
    pub provider: String,
    pub model: String,
    pub valid_from: OffsetDateTime,
    pub input_price: Option<i64>,
    pub output_price: Option<i64>,
    pub cache_read_price: Option<i64>,
    pub cache_write_price: Option<i64>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// Stores prices, at most 1,000; those of the same model and instant are replaced. Yields how many.
#[derive(Debug)]
pub struct UpsertPrices(pub Vec<Price>);

impl Query for UpsertPrices {
    const NAME: &'static str = "ai_prices.upsert_prices";
    type Out = usize;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Update, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, usize> {
        use ai_model_prices as p;
        Box::pin(async move {
            let prices = self.0.get(..1_000).unwrap_or(&self.0);
            Ok(diesel::insert_into(p::table)
                .values(prices)
                .on_conflict((p::provider, p::model, p::valid_from))
                .do_update()
                .set((
                    p::input_price.eq(excluded(p::input_price)),
                    p::output_price.eq(excluded(p::output_price)),
                    p::cache_read_price.eq(excluded(p::cache_read_price)),
                    p::cache_write_price.eq(excluded(p::cache_write_price)),
                    p::updated_at.eq(excluded(p::updated_at)),
                ))
                .execute(db.conn())
                .await?)
        })
    }
}

/// What a model costs at an instant; `None` when nobody knows.
#[derive(Debug)]
pub struct FindPrice {
    /// Type of the provider.
    pub provider: String,
    /// Exact.
    pub model: String,
    /// When it is used.
    pub at: OffsetDateTime,
}

impl Query for FindPrice {
    const NAME: &'static str = "ai_prices.find_price";
    type Out = Option<Price>;

    fn access(&self) -> Access<Self> {
        Access::Before(vec![check(Action::Read, ANY)])
    }

    fn run<'a>(&'a self, db: &'a mut Db<'_>, _: Permit<Self>) -> Fut<'a, Option<Price>> {
        Box::pin(async move {
            Ok(ai_model_prices::table
                .filter(ai_model_prices::provider.eq(&self.provider))
                .filter(ai_model_prices::model.eq(&self.model))
                .filter(ai_model_prices::valid_from.le(self.at))
                .order(ai_model_prices::valid_from.desc())
                .select(Price::as_select())
                .first(db.conn())
                .await
                .optional()?)
        })
    }
}

crate::queries![UpsertPrices, FindPrice];
