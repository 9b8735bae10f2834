//! Plain data of one fill, from the lookup that missed to the response that is stored.
//!
//! Nothing here does anything: `lookup` makes a [`Hit`] or a [`Miss`], a [`Fill`] goes through
//! `coalesce` and `origin`, and `store_fill` makes a [`Storable`] of the response. The types about
//! parts (206) are filled in by `parts` alone.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use crate::backend::StoredResponse;
use crate::key::CacheKey;
use crate::semantics::freshness::Freshness;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Contradiction, FetchReason, Refusal, StaleUse};
use crate::semantics::request_kind::RequestKind;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::{StoragePolicy, StoringRules};
use crate::shares::ClientId;

use crate::state::noted_requests::RequestDigest;

use super::request::route::RequestKey;

/// A stored response that may be used now.
pub(crate) struct Hit {
    pub(crate) response: Arc<StoredResponse>,
    pub(crate) reuse: Reuse,
}

/// How a response is reused that the cache has had before the request.
#[derive(Clone, Copy)]
pub(crate) struct Reuse {
    /// The age, in seconds.
    pub(crate) age: u64,
    /// The remaining freshness in seconds, negative when it is stale; `None` if it is fresh until
    /// it is invalidated.
    pub(crate) ttl: Option<i64>,
    /// Why it is used, if it is stale.
    pub(crate) stale: Option<StaleUse>,
}

impl Hit {
    /// A fresh response of this age, with this freshness lifetime left.
    #[inline(always)]
    pub(crate) fn fresh(
        response: Arc<StoredResponse>,
        age: Duration,
        left: Option<Duration>,
    ) -> Self {
        let reuse = Reuse::fresh(age, left);
        Self { response, reuse }
    }

    /// A stale response, and the reason why it may be used.
    pub(crate) fn stale(response: Arc<StoredResponse>, now: Moment, use_: StaleUse) -> Self {
        let reuse = Reuse::stale(&response.freshness(), now, use_);
        Self { response, reuse }
    }
}

impl Reuse {
    /// That of a fresh response of this age, with this freshness lifetime left.
    pub(crate) fn fresh(age: Duration, left: Option<Duration>) -> Self {
        let seconds = age.as_secs();
        Self {
            age: seconds,
            // Age and ttl add up to the lifetime, whatever fraction of a second has passed.
            ttl: left.map(|left| seconds_left(age.saturating_add(left), seconds)),
            stale: None,
        }
    }

    /// That of a stale response, and the reason why it may be used.
    pub(crate) fn stale(freshness: &Freshness, now: Moment, use_: StaleUse) -> Self {
        let age = freshness.age(now).as_secs();
        let lifetime = freshness.lifetime;
        Self {
            age,
            ttl: lifetime.map(|lifetime| seconds_left(lifetime, age)),
            stale: Some(use_),
        }
    }
}

/// The whole seconds of a lifetime that are left at an age, negative when it is over.
fn seconds_left(lifetime: Duration, age: u64) -> i64 {
    let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
    signed(lifetime.as_secs()).saturating_sub(signed(age))
}

/// Why the inner service is asked, and what its response may do to the store.
pub(crate) struct Miss<F> {
    pub(crate) reason: FetchReason,
    /// The fence of the lookup; `None` if the backend failed, or if it lets nothing be stored for
    /// now.
    pub(crate) fence: Option<F>,
    /// The key that was looked up last: the variant's, where one is known.
    pub(crate) lookup_key: CacheKey,
    /// The number of completed fills near the key before the lookup. If it has grown, a fill has
    /// ended since and the lookup is outdated.
    pub(crate) completed_fills: u64,
    /// The status of the stored response that a stored answer would replace.
    pub(crate) replaced_status: Option<StatusCode>,
    pub(crate) stored: StoredState,
    /// The use of the stale response if a call brings nothing in time. `None`: there is no limit.
    pub(crate) fallback: Option<StaleUse>,
    /// Stored parts, where the whole response is not stored.
    // Boxed: few fills have them, and every fill moves them.
    pub(crate) parts: Option<Box<HeldParts<F>>>,
    /// Whether the response may consist of stored content: of a body that the inner service
    /// confirms, or of parts that it completes. Decided when the call begins.
    pub(crate) can_reuse_content: bool,
    /// Why the response is not stored, whatever it is.
    pub(crate) refusal: Option<Refusal>,
}

/// The stored response that matches the request whose fill this is.
pub(crate) enum StoredState {
    Nothing,
    /// A stale one. It may be served if the inner service fails.
    Stale(Arc<StoredResponse>),
    /// A fresh one that the request wants to be validated.
    Fresh(Arc<StoredResponse>),
    /// One that the request was answered with: this fill is a background refresh.
    InUse(Arc<StoredResponse>),
}

impl<F> Miss<F> {
    /// A number of completed fills that is never reached: the lookup counts as outdated.
    pub(crate) const OUTDATED: u64 = u64::MAX;

    /// A miss of which nothing is known but the lookup.
    pub(crate) fn new(
        reason: FetchReason,
        fence: Option<F>,
        lookup_key: CacheKey,
        completed_fills: u64,
    ) -> Self {
        Self {
            reason,
            fence,
            lookup_key,
            completed_fills,
            replaced_status: None,
            stored: StoredState::Nothing,
            fallback: None,
            parts: None,
            can_reuse_content: true,
            refusal: None,
        }
    }

    /// Notes a stored response that was found, and cannot be used as it is.
    pub(crate) fn note_found(&mut self, response: Arc<StoredResponse>) {
        match self.reason {
            // A stale response may be replaced by any answer.
            FetchReason::Stale => self.stored = StoredState::Stale(response),
            // A digest collision: the entry belongs to another key.
            FetchReason::OtherKey => {}
            // For other requests: it can be neither used nor validated.
            FetchReason::VaryMiss | FetchReason::RequestCredentials => {
                self.replaced_status = Some(response.status());
            }
            _ => {
                self.replaced_status = Some(response.status());
                self.stored = StoredState::Fresh(response);
            }
        }
    }

    /// Puts the stored response with its body in its place, or nothing if the body is gone.
    pub(crate) fn replace_stored(&mut self, with: Option<Arc<StoredResponse>>) {
        let stored = std::mem::replace(&mut self.stored, StoredState::Nothing);
        self.stored = match (stored, with) {
            (StoredState::Nothing, _) | (_, None) => StoredState::Nothing,
            (StoredState::Stale(_), Some(response)) => StoredState::Stale(response),
            (StoredState::Fresh(_), Some(response)) => StoredState::Fresh(response),
            (StoredState::InUse(_), Some(response)) => StoredState::InUse(response),
        };
    }

    /// Notes that the client has been answered with a stored response: the fill need not serve it
    /// again, and no error may replace it.
    pub(crate) fn note_answered_with(&mut self, response: Arc<StoredResponse>) {
        self.replaced_status = Some(response.status());
        self.stored = StoredState::InUse(response);
    }

    /// The stored response that matches the request, fresh or stale.
    pub(crate) fn stored_response(&self) -> Option<&Arc<StoredResponse>> {
        match &self.stored {
            StoredState::Nothing => None,
            StoredState::Stale(stored)
            | StoredState::Fresh(stored)
            | StoredState::InUse(stored) => Some(stored),
        }
    }

    /// The stored response whose content may be confirmed by the inner service.
    pub(crate) fn confirmable(&self) -> Option<&Arc<StoredResponse>> {
        self.stored_response().filter(|_| self.can_reuse_content)
    }

    /// Gives up the stored content, which may have been invalidated. A stale response can still
    /// answer this request, which began before; no other one.
    pub(crate) fn give_up_content(&mut self) {
        self.can_reuse_content = false;
        self.parts = None;
    }

    /// Whether a response is stored that may not be used without validation (RFC 9111 §5.2.2.4).
    pub(crate) fn needs_validation(&self) -> bool {
        let stored = self.stored_response();
        stored.is_some_and(|stored| !stored.freshness().is_reusable())
    }

    /// Whether a response is stored that others may use, or could until a time `ttl` ago.
    pub(crate) fn is_known(&self, now: Moment, ttl: Duration) -> bool {
        let Some(freshness) = self.stored_response().map(|stored| stored.freshness()) else {
            return false;
        };
        let lifetime = freshness.lifetime.unwrap_or(Duration::MAX);
        freshness.is_reusable() && freshness.age(now) < lifetime.saturating_add(ttl)
    }

    /// Whether the stale response may be used without validation, but only if a call brings
    /// nothing: refreshes of others were refused, which one client may have sent.
    pub(crate) fn awaits_refresh(&self) -> bool {
        self.fallback == Some(StaleUse::WhileRevalidate)
    }

    /// Whether the call refreshes a response that has been used already: its client has left with
    /// that.
    pub(crate) fn is_refresh(&self) -> bool {
        matches!(self.stored, StoredState::InUse(_))
    }

    /// Whether a stale response matches the request.
    pub(crate) fn has_stale(&self) -> bool {
        matches!(self.stored, StoredState::Stale(_))
    }

    /// The fill of a request with this key. Boxed, because several futures pass it on.
    pub(crate) fn with_key(self, key: RequestKey) -> Box<Fill<F>> {
        Box::new(Fill {
            miss: self,
            key,
            is_short_refresh: false,
        })
    }
}

/// A call to the inner service whose response may be stored.
pub(crate) struct Fill<F> {
    pub(crate) miss: Miss<F>,
    pub(crate) key: RequestKey,
    /// Whether it is a refresh that ends soon.
    pub(crate) is_short_refresh: bool,
}

impl<F> Fill<F> {
    /// Whether the outcome says nothing of other calls: the client has forced the call by its
    /// directives, or forbids to store its response.
    pub(crate) fn is_forced(&self) -> bool {
        let directives = &self.key.directives;
        directives.no_store || !directives.accept_stale()
    }
}

/// Why a request was forwarded, and the status it was answered with.
#[derive(Clone, Copy)]
pub(crate) struct FetchInfo {
    pub(crate) reason: FetchReason,
    /// The inner service's status, whatever the client gets.
    pub(crate) status: StatusCode,
    /// Why an earlier response to the request was of no use, if there was one.
    pub(crate) contradiction: Option<Contradiction>,
}

/// A response that may be stored once its body has ended. Boxed, because it goes through many
/// hands.
pub(crate) struct Storable<F> {
    pub(crate) draft: Draft,
    /// Whether it is stored for all that may join the flight of its call.
    pub(crate) is_for_flight: bool,
    pub(crate) sharing: SharingRules,
    /// The fence under which it is stored, or why it is only shared with followers.
    pub(crate) fence: Result<F, Refusal>,
    pub(crate) has_trailers: bool,
    /// How it is merged with stored parts, if it is a part itself.
    pub(crate) merge: Option<MergePlan>,
    /// Whether requests with the same fields get the same, as far as is known: the request is for
    /// the whole response, and its client forces nothing.
    pub(crate) is_typical: bool,
    /// The request, if it is typical and its body streams: it may turn out to be too large, or to
    /// have no end, which other requests learn then.
    pub(crate) request: Option<RequestDigest>,
}

/// The facts about a response, beside its head, by which a follower may share it.
#[derive(Clone)]
pub(crate) struct SharingRules {
    /// The full cache key of the requests that share it.
    pub(crate) identity: Arc<[u8]>,
    pub(crate) grant: StoragePolicy,
    /// The rules it was judged by, apart from the status it would replace.
    pub(crate) rules: StoringRules,
    /// When the inner service was called.
    pub(crate) called: Moment,
    /// The announced length of the body, in bytes.
    pub(crate) length: Option<u64>,
}

/// A response to be stored, without its content.
pub(crate) struct Draft {
    pub(crate) head: StoredHead,
    pub(crate) source: EntrySource,
}

/// The keys of a stored response, and the call that it came from.
pub(crate) struct EntrySource {
    /// The key it is stored under.
    pub(crate) key: CacheKey,
    /// The key of those that share it.
    pub(crate) shared_key: CacheKey,
    /// The key it was looked up under.
    pub(crate) lookup_key: CacheKey,
    /// The kind of the request.
    pub(crate) kind: RequestKind,
    /// The client of the request, if it is known.
    pub(crate) client: Option<ClientId>,
    /// The request, if a refresh of its response may become due.
    pub(crate) request: Option<RequestDigest>,
    /// Whether its call is a refresh that ends soon.
    pub(crate) is_short_refresh: bool,
    /// Whether a 304 has confirmed a stored response, whose body it has.
    pub(crate) is_confirmed: bool,
    /// The digest of the id of the one client that it is for.
    pub(crate) partition: Option<u128>,
}

impl EntrySource {
    /// The client that has brought it, if it is known and the response is a variant for all.
    pub(crate) fn client_of_variant(&self) -> Option<ClientId> {
        let is_variant = self.partition.is_none() && self.key != self.key.primary();
        self.client.filter(|_| is_variant)
    }

    /// The key it is stored under, unless it is for one client.
    pub(crate) fn public_key(&self) -> Option<CacheKey> {
        self.partition.is_none().then_some(self.key)
    }
}

/// A response to be stored, with its content.
pub(crate) struct NewEntry<F> {
    pub(crate) response: Arc<StoredResponse>,
    /// The length of its content, in bytes.
    pub(crate) length: u64,
    pub(crate) fence: F,
    /// When its body has ended.
    pub(crate) now: Moment,
    /// The time from the call until then.
    pub(crate) cost: Duration,
    pub(crate) source: EntrySource,
}

/// Stored parts of a response, with their key.
#[derive(Clone, Debug)]
pub(crate) struct HeldParts<F> {
    pub(crate) response: Arc<StoredResponse>,
    pub(crate) lookup_key: CacheKey,
    /// The fence of the lookup that found them.
    pub(crate) fence: F,
    /// How they complete the request they were found for, if they can.
    pub(crate) completion: Option<Completion>,
}

/// The range that is missing of a request's, where the bytes around it are stored.
#[derive(Clone, Debug)]
pub(crate) struct Completion {
    pub(crate) stored: Arc<StoredResponse>,
    /// The strong validator that tells whether the representation is still the same.
    pub(crate) validator: HeaderValue,
    /// The range that the client wants; `None` for the whole.
    pub(crate) wanted: Option<Range<u64>>,
    pub(crate) missing: Range<u64>,
}

/// How the bytes of a part are merged with stored ones, once they are here.
pub(crate) struct MergePlan {
    pub(crate) range: Range<u64>,
    pub(crate) stored: Option<Arc<StoredResponse>>,
}
