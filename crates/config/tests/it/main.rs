//! The configuration as programs see it.

#[cfg(test)]
mod documents;
#[cfg(test)]
mod given;
#[cfg(test)]
mod precedence;
#[cfg(test)]
mod providers;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod secrets;
