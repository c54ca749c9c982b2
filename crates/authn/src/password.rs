use std::sync::Arc;
use std::time::Duration;

use crypt::password::{self, Verdict};
use rbac::system;
use stdx::{Secret, SharedRng};
use store::users::{FindLogin, UpdatePasswordHash, User};
use store::{Call, Error, Full, Store as _};
use tokio::sync::Semaphore;

/// Hashes computed at once. Each takes a core for some 16 ms, a wrong password three times as long, and 19 MiB; more
/// at once would starve the rest.
const PARALLEL: usize = 2;
/// How long a login waits for its turn. Longer queues serve nobody: their clients are gone when they are through.
const TURN: Duration = Duration::from_secs(5);

/// Why a password login is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginFailure {
    /// Unknown address or wrong password: told alike, after the same work.
    #[error("Incorrect email or password.")]
    Incorrect {
        /// The account, when there is one: for the audit log alone.
        user: Option<Box<User>>,
    },
    /// The password is right, but the account signs in another way.
    #[error(
        "Incorrect login type, attempting to use \"password\" but user is of login type \"{login_type}\""
    )]
    OtherLoginType {
        /// The account.
        user: Box<User>,
        /// How it signs in.
        login_type: String,
    },
    /// The password is right, but the account is closed.
    #[error("Your account is {status}. Contact an admin to reactivate your account.")]
    Inactive {
        /// The account.
        user: Box<User>,
        /// Its status.
        status: String,
    },
    /// Too many at once.
    #[error("Too many people are signing in at once. Please try again.")]
    Busy,
    /// We failed.
    #[error("the login could not be checked")]
    Store(#[from] Error),
    /// We failed: no hash could be made.
    #[error("the password could not be hashed")]
    Hash(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Compares and makes password hashes, off the async threads and few at a time.
#[derive(Clone, Debug)]
pub struct Passwords {
    slots: Arc<Semaphore>,
    turn: Duration,
    rng: SharedRng,
}

impl Passwords {
    /// A fresh set of slots; share one per process.
    #[must_use]
    pub fn new(rng: SharedRng) -> Self {
        Self { slots: Arc::new(Semaphore::new(PARALLEL)), turn: TURN, rng }
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// [`LoginFailure::Busy`] after five seconds of waiting, [`LoginFailure::Hash`] if the machine cannot.
    pub async fn hash(&self, password: Secret<String>) -> Result<String, LoginFailure> {
        let rng = Arc::clone(&self.rng);
        let hashed = self.off_thread(move || password::hash(&password, &*rng)).await?;
        hashed.map_err(|error| LoginFailure::Hash(Box::new(error)))
    }

    /// Finds the account of an address and password.
    ///
    /// Unknown addresses cost the same work as known ones.
    ///
    /// # Errors
    /// See [`LoginFailure`].
    pub async fn check(
        &self,
        store: &Full,
        email: &str,
        given: Secret<String>,
    ) -> Result<User, LoginFailure> {
        let by = Call::by(system::authenticator());
        let found = store.run(by, FindLogin { email: email.to_owned() }).await?;
        let Some(login) = found else {
            self.off_thread(move || password::dummy(&given)).await?;
            return Err(LoginFailure::Incorrect { user: None });
        };
        let (stored, plain) = (login.hashed_password.clone(), given.clone());
        let verdict = self.off_thread(move || password::verify(&stored, &plain)).await?;
        let user = login.user;
        if verdict == Verdict::Wrong {
            return Err(LoginFailure::Incorrect { user: Some(Box::new(user)) });
        }
        if user.login_type != "password" {
            let login_type = user.login_type.clone();
            return Err(LoginFailure::OtherLoginType { user: Box::new(user), login_type });
        }
        if user.status != "active" && user.status != "dormant" {
            let status = user.status.clone();
            return Err(LoginFailure::Inactive { user: Box::new(user), status });
        }
        if verdict == Verdict::RightRehash {
            self.rehash(store, &user, login.hashed_password, given).await;
        }
        Ok(user)
    }

    /// Whether a password is the one of an account that signs in by it.
    ///
    /// # Errors
    /// [`LoginFailure::Busy`], [`LoginFailure::Store`] and [`LoginFailure::Hash`]; a wrong one is no error.
    pub async fn verify(
        &self,
        store: &Full,
        user: &User,
        given: Secret<String>,
    ) -> Result<bool, LoginFailure> {
        let by = Call::by(system::authenticator());
        let found = store.run(by, FindLogin { email: user.email.clone() }).await?;
        let stored = found.filter(|login| login.user.id == user.id).map(|l| l.hashed_password);
        let stored = stored.unwrap_or_default();
        let verdict = self.off_thread(move || password::verify(&stored, &given)).await?;
        Ok(verdict.is_right())
    }

    /// Replaces an outdated hash. Who showed the right password is let in also when this fails: the next login tries
    /// again.
    async fn rehash(&self, store: &Full, user: &User, known: String, given: Secret<String>) {
        let id = user.id.0;
        let outcome = match self.hash(given).await {
            Ok(new) => {
                let by = Call::by(system::authenticator());
                store.run(by, UpdatePasswordHash { id, known, new }).await.map_err(Into::into)
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = outcome {
            tracing::warn!(user.id = %id, error = %stdx::chain(&failure), "an outdated password hash was not replaced");
        }
    }

    async fn off_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, LoginFailure> {
        let turn = tokio::time::timeout(self.turn, Arc::clone(&self.slots).acquire_owned());
        let slot = turn
            .await
            .map_err(|_| LoginFailure::Busy)?
            .map_err(|error| LoginFailure::Hash(Box::new(error)))?;
        tokio::task::spawn_blocking(move || {
            // Held by the work itself: a caller who leaves does not free a core.
            let _slot = slot;
            work()
        })
        .await
        .map_err(|error| LoginFailure::Hash(Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use stdx::SystemRng;

    use super::*;

    #[tokio::test]
    async fn who_waits_too_long_is_told_to_come_back() {
        let passwords = Passwords { turn: Duration::ZERO, ..Passwords::new(SystemRng::shared()) };
        let taken = Arc::clone(&passwords.slots).acquire_many_owned(2).await.unwrap();
        let refused = passwords.hash(Secret::from("a password")).await;
        assert!(matches!(refused, Err(LoginFailure::Busy)), "{refused:?}");
        drop(taken);
        assert!(passwords.hash(Secret::from("a password")).await.is_ok());
    }
}
