//! The whole life of a cluster, on a real PostgreSQL. Needs an installed server and `psql`.

#[cfg(test)]
mod life;
