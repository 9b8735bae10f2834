//! The place of a request, which it has while its client is fast.
//!
//! Start at [`ClientPlace`].

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::proxy::body::bounded_waits::{BoundedWait, ClientNetwork};
use crate::proxy::error::ProxyErrorKind;

use super::{Places, RequestPlace};

/// The place of a request that is given back while its client is slow. Clones share it.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct ClientPlace(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Places,
    client: ClientNetwork,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Not taken yet.
    None,
    Taken(#[expect(dead_code, reason = "held")] RequestPlace),
    GivenBack(BoundedWait),
}

impl ClientPlace {
    /// No place yet.
    pub(in crate::proxy::body) fn new(places: &Places, client: ClientNetwork) -> Self {
        Self::with_state(places, client, State::None)
    }

    fn with_state(places: &Places, client: ClientNetwork, state: State) -> Self {
        Self(Arc::new(Inner {
            places: places.clone(),
            client,
            state: Mutex::new(state),
        }))
    }

    /// Waits for a place.
    pub(in crate::proxy) async fn take(&self) -> Result<(), ProxyErrorKind> {
        let place = self.0.places.take(self.0.client).await?;
        self.set(State::Taken(place));
        Ok(())
    }

    /// Waits for a place, unless the request has one. Others that have none may end the wait.
    pub(in crate::proxy::body) async fn take_or_be_ended(&self) -> Result<(), ProxyErrorKind> {
        let ended = match &*self.lock() {
            State::Taken(_) => return Ok(()),
            State::GivenBack(wait) => wait.ended().clone(),
            State::None => CancellationToken::new(),
        };
        tokio::select! {
            taken = self.take() => taken,
            () = ended.cancelled() => Err(ProxyErrorKind::RequestTimeout),
        }
    }

    /// Takes a place again if one is free. Returns whether the request has one.
    pub(in crate::proxy) fn take_again(&self) -> bool {
        if self.has_place() {
            return true;
        }
        let Some(place) = self.0.places.try_take(self.0.client) else {
            return false;
        };
        self.set(State::Taken(place));
        true
    }

    pub(in crate::proxy::body) fn has_place(&self) -> bool {
        matches!(*self.lock(), State::Taken(_))
    }

    /// Gives the place back. The returned token is cancelled if other requests end this one.
    ///
    /// It may wake others: hold no lock that they take.
    pub(in crate::proxy::body) fn give_back(&self) -> CancellationToken {
        if let State::GivenBack(wait) = &*self.lock() {
            return wait.ended().clone();
        }
        let places = &self.0.places.shared;
        places.counts.given_back.fetch_add(1, Ordering::Relaxed);
        let wait = places.without.begin(places.queue.max(), self.0.client);
        let ended = wait.ended().clone();
        self.set(State::GivenBack(wait));
        ended
    }

    /// Counts that the request has ended because its client was too slow.
    pub(in crate::proxy::body) fn count_too_slow(&self) {
        let counts = &self.0.places.shared.counts;
        counts.too_slow.fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        let before = std::mem::replace(&mut *self.lock(), state);
        drop(before);
    }
}

/// The place of a request while its response is on its way.
#[derive(Debug)]
pub(in crate::proxy) enum ResponsePlace {
    /// That of a request without content.
    Plain(RequestPlace),
    /// That of a request whose content may be on its way, too.
    Shared(ClientPlace),
}

impl ResponsePlace {
    /// The place as one that can be given back.
    pub(in crate::proxy::body) fn into_client_place(self) -> ClientPlace {
        match self {
            Self::Plain(place) => {
                let (shared, client) = (place.places.clone(), place.client);
                let places = Places {
                    queue_timeout: Duration::ZERO,
                    max_uploads: None,
                    shared,
                };
                ClientPlace::with_state(&places, client, State::Taken(place))
            }
            Self::Shared(place) => place,
        }
    }
}
