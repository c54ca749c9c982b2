use std::fmt;
use std::sync::Arc;

use ::crypt::Keyring;
use stdx::SharedRng;

use super::Session;
use super::{Layer, Work};
use crate::Error;
use crate::query::{Db, Fut};
use crate::sealed::Keys;

/// Adds the keyring to everything that passes. Encryption off is a keyring without keys, not a missing
/// layer.
#[derive(Clone)]
pub struct Crypt<S> {
    pub(crate) inner: S,
    pub(crate) ring: Arc<Keyring>,
    pub(crate) rng: SharedRng,
}

impl<S: fmt::Debug> fmt::Debug for Crypt<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Crypt").field(&self.inner).finish()
    }
}

impl<S: Layer> Layer for Crypt<S> {
    async fn exec<W: Work>(&self, work: W) -> Result<W::Out, Error> {
        let ring = Arc::clone(&self.ring);
        self.inner.exec(Keyed { work, ring, rng: Arc::clone(&self.rng) }).await
    }

    async fn session(&self) -> Result<Session, Error> {
        let session = self.inner.session().await?;
        Ok(Session { ring: Arc::clone(&self.ring), rng: Arc::clone(&self.rng), ..session })
    }
}

/// Work with the keys at hand.
struct Keyed<W> {
    work: W,
    ring: Arc<Keyring>,
    rng: SharedRng,
}

impl<W: Work> Work for Keyed<W> {
    type Out = W::Out;
    const NAME: &'static str = W::NAME;

    fn in_transaction(&self) -> bool {
        self.work.in_transaction()
    }

    fn reads(&self) -> bool {
        self.work.reads()
    }

    fn perform<'a>(&'a self, db: &'a mut Db<'_>) -> Fut<'a, W::Out> {
        Box::pin(async move {
            let keys = Keys { ring: &self.ring, rng: &*self.rng };
            let entries = db.entries.as_deref_mut();
            self.work.perform(&mut Db { conn: &mut *db.conn, keys, entries }).await
        })
    }
}
