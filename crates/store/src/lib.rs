//! PostgreSQL: queries as values, permits, sealed columns, transactions, notices.
