//! The wire APIs, replayed from recordings and fed with what can go wrong.

#[cfg(test)]
mod endings;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod noise;
#[cfg(test)]
mod recordings;
#[cfg(test)]
mod requests;
