use std::borrow::Cow;

use uuid::Uuid;

/// The row a sealed value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row<'a> {
    /// A row with a UUID as its key. The same as [`Row::Text`] of its hyphenated lower-case form.
    Uuid(Uuid),
    /// A row with another key; the parts of a composite key joined in one fixed order.
    Text(&'a str),
}

impl From<Uuid> for Row<'_> {
    fn from(id: Uuid) -> Self {
        Self::Uuid(id)
    }
}

impl<'a> From<&'a str> for Row<'a> {
    fn from(key: &'a str) -> Self {
        Self::Text(key)
    }
}

/// Where a sealed value lives. It is authenticated with the value, so that a ciphertext copied to
/// another table, column or row does not open there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Table name as in the schema.
    pub table: &'a str,
    /// Name of the column that holds the value, not of the one with the key digest.
    pub column: &'a str,
    /// Key of the row. Must never change while the value is stored.
    pub row: Row<'a>,
}

impl<'a> Place<'a> {
    /// The place of `column` in the row `row` of `table`.
    pub fn new(table: &'a str, column: &'a str, row: impl Into<Row<'a>>) -> Self {
        Self { table, column, row: row.into() }
    }

    /// The associated data of the cipher. Each part goes after its length, so that no two places have
    /// the same bytes; the first part keeps the format apart from any later one.
    pub(crate) fn associated_data(&self) -> Vec<u8> {
        let row = match self.row {
            Row::Uuid(id) => Cow::Owned(id.to_string()),
            Row::Text(key) => Cow::Borrowed(key),
        };
        let mut out = Vec::new();
        for part in ["sealed-text/v1", self.table, self.column, &row] {
            // Lossless on every platform the crate builds for: usize has at most 64 bits.
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_flow_into_each_other() {
        let one = Place::new("ab", "c", "d").associated_data();
        let two = Place::new("a", "bc", "d").associated_data();
        let three = Place::new("a", "b", "cd").associated_data();
        assert_ne!(one, two);
        assert_ne!(two, three);
    }

    #[test]
    fn a_uuid_and_its_text_are_the_same_row() {
        let id = Uuid::from_u128(7);
        assert_eq!(
            Place::new("t", "c", id).associated_data(),
            Place::new("t", "c", id.to_string().as_str()).associated_data()
        );
    }
}
