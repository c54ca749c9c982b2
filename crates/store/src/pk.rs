use std::fmt;
use std::io::Write as _;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::Uuid as SqlUuid;
use stdx::ids::Id;
use uuid::Uuid;

/// A typed identifier in a row: carries diesel's traits, which no other crate may implement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = SqlUuid)]
pub struct Pk<T: Id>(pub T);

impl<T: Id> fmt::Debug for Pk<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: Id> FromSql<SqlUuid, Pg> for Pk<T> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(Self(T::from_uuid(Uuid::from_slice(value.as_bytes())?)))
    }
}

impl<T: Id> ToSql<SqlUuid, Pg> for Pk<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(self.0.to_uuid().as_bytes())?;
        Ok(IsNull::No)
    }
}
