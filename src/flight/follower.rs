//! Those who wait for what another request's call brings.

use std::sync::{Arc, Weak};

use super::news::{Listener, Stage};
use super::reader::Reader;

/// Takes a fill out of its leader's hands, so that it goes on whatever becomes of him.
pub(crate) trait HandOver: Send + Sync {
    /// To a task of its own, if it is not in one yet.
    fn hand_over(self: Arc<Self>);
}

/// A follower's end of a flight.
pub(crate) struct Follower<H> {
    pub(super) number: u64,
    pub(super) listener: Listener<H>,
    pub(super) reader: Option<Reader>,
    pub(super) call: Option<Weak<dyn HandOver>>,
}

impl<H> Follower<H> {
    /// What tells this flight from others.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Sees to it that the call goes on, whatever its leader does.
    pub(crate) fn hold(&self) {
        if let Some(call) = self.call.as_ref().and_then(Weak::upgrade) {
            call.hand_over();
        }
    }

    /// Waits until there is something to be told, with a place to read the body from. Dropping the future is leaving.
    pub(crate) async fn told(self) -> (Stage<H>, Option<Reader>) {
        let stage = self.listener.told().await;
        (stage, self.reader)
    }
}
