//! The encodings that are under way: one for each content and coding, and as many as there are
//! cores.
//!
//! Knows full keys and bytes. Start at [`Encodings::join`].

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::flight::ExpiringSet;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

/// What an encoding brings: the coded content, or `None` if that is no smaller.
pub(crate) type Encoded = Option<Bytes>;

/// The full key of a coded response.
type Identity = Arc<[u8]>;

/// The encodings under way.
#[derive(Debug)]
pub(crate) struct Encodings {
    running: Mutex<HashMap<Identity, Receiver<Option<Encoded>>>>,
    places: Arc<Semaphore>,
    /// Keys whose forms the backend has not stored.
    unstorable: ExpiringSet,
}

impl Default for Encodings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            running: Mutex::default(),
            places: Arc::new(Semaphore::new(cores)),
            unstorable: ExpiringSet::default(),
        }
    }
}

/// How a request takes part in an encoding.
#[derive(Debug)]
pub(crate) enum EncodingTurn {
    /// It begins it.
    Leads(EncodingLead, EncodingResult),
    /// It waits for it.
    Follows(EncodingResult),
    /// Not at all: as many are under way as there may be.
    Refused,
}

/// The result of an encoding, once it is there.
#[derive(Debug)]
pub(crate) struct EncodingResult(Receiver<Option<Encoded>>);

impl EncodingResult {
    /// Waits for the result. `None` if the encoding has failed.
    pub(crate) async fn wait(mut self) -> Option<Encoded> {
        let encoded = self.0.wait_for(Option::is_some).await.ok()?;
        encoded.clone()
    }
}

/// An encoding under way. Dropped, it has ended: the next request begins another one.
#[derive(Debug)]
pub(crate) struct EncodingLead {
    encodings: Arc<Encodings>,
    identity: Identity,
    result: Sender<Option<Encoded>>,
    _place: OwnedSemaphorePermit,
}

impl Encodings {
    /// Joins the encoding of a response with this full key, or begins it.
    pub(crate) fn join(self: &Arc<Self>, identity: &Identity) -> EncodingTurn {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = running.get(identity) {
            return EncodingTurn::Follows(EncodingResult(result.clone()));
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return EncodingTurn::Refused;
        };
        let (sender, receiver) = watch::channel(None);
        running.insert(identity.clone(), receiver.clone());
        let lead = EncodingLead {
            encodings: self.clone(),
            identity: identity.clone(),
            result: sender,
            _place: place,
        };
        EncodingTurn::Leads(lead, EncodingResult(receiver))
    }

    /// Whether the backend has not stored the form under this key a moment ago. To make it for each
    /// request would take more time than it saves.
    pub(crate) fn is_unstorable(&self, key: &CacheKey, now: impl FnOnce() -> Moment) -> bool {
        self.unstorable.is_remembered(key, now)
    }

    /// Notes that the backend has not stored a form.
    pub(crate) fn note_unstorable(&self, key: &CacheKey, now: Moment, ttl: Duration) {
        self.unstorable.remember(key, now, ttl);
    }
}

impl EncodingLead {
    /// Tells those that wait.
    pub(crate) fn publish(&self, encoded: Encoded) {
        self.result.send_replace(Some(encoded));
    }
}

impl Drop for EncodingLead {
    fn drop(&mut self) {
        let running = &self.encodings.running;
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Identity {
        name.as_bytes().into()
    }

    #[tokio::test]
    async fn one_request_leads_and_the_others_get_what_it_brings() {
        let encodings = Arc::new(Encodings::default());
        let EncodingTurn::Leads(lead, own) = encodings.join(&key("a")) else {
            panic!("nothing is under way");
        };
        let EncodingTurn::Follows(follower) = encodings.join(&key("a")) else {
            panic!("it is under way");
        };
        lead.publish(Some(Bytes::from_static(b"coded")));
        for result in [own, follower] {
            assert_eq!(
                result.wait().await,
                Some(Some(Bytes::from_static(b"coded")))
            );
        }
        drop(lead);
        assert!(matches!(encodings.join(&key("a")), EncodingTurn::Leads(..)));
    }

    /// A panic of the encoder must not leave others waiting.
    #[tokio::test]
    async fn an_encoding_that_ends_without_a_result_has_failed() {
        let encodings = Arc::new(Encodings::default());
        let EncodingTurn::Leads(lead, result) = encodings.join(&key("a")) else {
            panic!("nothing is under way");
        };
        drop(lead);
        assert_eq!(result.wait().await, None);
    }

    /// Promise: the work that clients cause at once is bounded.
    #[test]
    fn as_many_are_under_way_as_there_are_cores() {
        let encodings = Arc::new(Encodings::default());
        let places = encodings.places.available_permits();
        let begin = |number: usize| encodings.join(&key(&number.to_string()));
        let mut leads: Vec<_> = (0..places).map(begin).collect();
        assert!(
            leads
                .iter()
                .all(|joined| matches!(joined, EncodingTurn::Leads(..)))
        );
        assert!(matches!(begin(places), EncodingTurn::Refused));
        assert!(
            matches!(begin(0), EncodingTurn::Follows(_)),
            "it needs no place"
        );
        leads.pop();
        assert!(matches!(begin(places), EncodingTurn::Leads(..)));
    }
}
