//! The refreshes of a key with the fields of its proven request, and how they have ended.
//!
//! Knows times and header fields. Start at [`Entry`].

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::{CredentialFields, RequestKind};

use super::fields::ProvenRequest;

/// The fields that a refresh is made with in place of those of the request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Replay {
    /// Whether they are those alone that select the stored response.
    pub(crate) is_bare: bool,
    /// Whether cookies and credentials of the request that was answered are kept.
    pub(crate) keeps_personal_fields: bool,
}

/// Those that are tried one after the other, until one brings a response.
const REPLAYS: [Replay; 4] = {
    const fn replay(is_bare: bool, keeps_personal_fields: bool) -> Replay {
        Replay {
            is_bare,
            keeps_personal_fields,
        }
    }
    [
        replay(false, false),
        replay(true, false),
        replay(false, true),
        replay(true, true),
    ]
};

impl Replay {
    /// The one that is tried after this one.
    fn next(self, kind: RequestKind) -> Self {
        // Without cookies and credentials there is nothing to keep.
        let count = match kind {
            RequestKind::Plain => 2,
            _ => REPLAYS.len(),
        };
        REPLAYS[(self.number() + 1) % count]
    }

    const fn number(self) -> usize {
        self.is_bare as usize + 2 * self.keeps_personal_fields as usize
    }
}

/// The fields that a call is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallFields {
    /// Those of its request.
    Own,
    /// Those of its request, in a refresh that ends soon.
    OwnShort,
    /// Others.
    Replay(Replay),
}

impl CallFields {
    /// The replay, if it is one.
    pub(crate) fn replay(self) -> Option<Replay> {
        match self {
            Self::Replay(replay) => Some(replay),
            Self::Own | Self::OwnShort => None,
        }
    }
}

/// What a stored response says of the fields of its call.
#[derive(Debug)]
pub(crate) struct Proof {
    pub(crate) fields: CallFields,
    /// The request, if it is compared with the proven one, or is that from now on.
    pub(crate) new: Option<Box<ProvenRequest>>,
}

impl Default for Proof {
    /// Nothing of use.
    fn default() -> Self {
        Self {
            fields: CallFields::Own,
            new: None,
        }
    }
}

/// The request of a key, as a refresh may be made with it.
#[derive(Clone, Debug)]
pub(crate) struct FoundRequest {
    pub(super) request: Arc<ProvenRequest>,
    /// The time that its response usually takes.
    pub(crate) cost: Duration,
    pub(crate) replay: Replay,
}

impl FoundRequest {
    /// A digest of the fields with which it is made.
    pub(crate) fn as_number(&self) -> u32 {
        // Those of a client have the digest of its request.
        let form = self.replay.number() as u32 + 4 * u32::from(self.request.is_common);
        self.request.digest.as_number() ^ form
    }

    /// Gives another request for the same key these fields in place of its own. Its host stays, and
    /// so do the fields by which a stored response `is_selected`, if these are all that there are.
    /// Its cookies and credentials may.
    pub(crate) fn replace_fields(
        &self,
        headers: &mut HeaderMap,
        credentials: &CredentialFields,
        is_selected: impl Fn(&HeaderName) -> bool,
    ) {
        let Replay {
            is_bare,
            keeps_personal_fields,
        } = self.replay;
        let is_personal = |name: &HeaderName| *name == COOKIE || credentials.contains(name);
        self.request.fields.replace(headers, !is_bare, |name| {
            *name == HOST
                || keeps_personal_fields && is_personal(name)
                || is_bare && is_selected(name)
        });
        if is_bare && !is_selected(&ACCEPT) {
            headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        }
    }
}

/// How many short refreshes of a key there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShortRefreshes {
    pub(crate) limit: usize,
    /// The time after which each of them ends.
    pub(crate) timeout: Duration,
    /// The time that a call usually takes.
    pub(crate) cost: Duration,
}

#[derive(Debug)]
pub(super) struct Entry {
    key: CacheKey,
    kind: RequestKind,
    found: FoundRequest,
    /// When the request was compared last with one whose response was stored, and how often.
    compared: Moment,
    comparisons: u8,
    /// When that was another one.
    confirmed: Moment,
    /// When it was tried last, and how often, since it has brought a response.
    tried: Option<Moment>,
    tries: u32,
    /// When it was answered last in the usual time, with a response of no use.
    answered: Option<Moment>,
    /// Whether the last try was, and is no failure.
    is_answered: bool,
    /// The number of short refreshes since one has brought a response.
    short_tries: u32,
    /// When one has brought a response, and how many there could be at once then.
    helped: Option<(Moment, usize)>,
    /// Successes, which make way for new entries one by one.
    uses: u8,
}

/// The number of successes that keep an entry in its place against new ones.
const MAX_USES: u8 = 3;
/// The number of tries without a response after which the request is replaced.
const USELESS_TRIES: u32 = 2;
/// The number of stored responses in a row with whose requests a proven one is compared.
const FIRST_COMPARISONS: u8 = 4;
/// The time from one comparison to the next after these.
const COMPARISON_PAUSE: Duration = Duration::from_secs(60);
/// The time for which the fields may be those of one client alone.
const MAX_ALONE: Duration = Duration::from_secs(60 * 60);
/// The shortest time from one try to the next.
const MIN_REST: Duration = Duration::from_secs(1);
/// The number of rests for which an answer of no use shows that the inner service is well.
const ANSWERED_RESTS: u32 = 6;
/// The number of short refreshes at once, at most.
const MAX_SHORT: usize = 4;
/// The number of short refreshes without a response that doubles the number of those at once.
const ENOUGH_SHORT: u32 = 32;
/// The time for which a short refresh that has brought a response speaks for others.
const HELPED_TTL: Duration = Duration::from_secs(60 * 60);

impl Entry {
    pub(super) fn new(
        (key, kind): (&CacheKey, RequestKind),
        request: Box<ProvenRequest>,
        (now, cost): (Moment, Duration),
    ) -> Self {
        Self {
            key: *key,
            kind,
            found: FoundRequest {
                request: request.into(),
                cost,
                replay: REPLAYS[0],
            },
            compared: now,
            comparisons: 0,
            confirmed: now,
            tried: None,
            tries: 0,
            answered: None,
            is_answered: false,
            short_tries: 0,
            helped: None,
            uses: 0,
        }
    }

    pub(super) fn is_of(&self, (key, kind): (&CacheKey, RequestKind)) -> bool {
        self.key == *key && self.kind == kind
    }

    /// The time from one try to the next: its response may come until then.
    fn rest(&self, backoff: Duration) -> Duration {
        let usual = self.found.cost.saturating_mul(2);
        backoff.max(usual).max(MIN_REST)
    }

    fn rests(&self, now: Moment, backoff: Duration) -> bool {
        // One that was answered speaks for other fields, until all have been tried.
        let rest = match self.is_answered && self.found.replay != REPLAYS[0] {
            true => MIN_REST,
            false => self.rest(backoff),
        };
        self.tried.is_some_and(|tried| now.since(tried) < rest)
    }

    /// The request, unless it was tried lately.
    pub(super) fn find(&self, now: Moment, backoff: Duration) -> Option<FoundRequest> {
        (!self.rests(now, backoff)).then(|| self.found.clone())
    }

    /// Whether the request of a stored response may change this one: it was tried twice without a
    /// response, or was not compared for a while.
    pub(super) fn wants_request(&self, now: Moment, backoff: Duration) -> bool {
        self.tries >= USELESS_TRIES && !self.rests(now, backoff)
            || self.comparisons < FIRST_COMPARISONS
            || now.since(self.compared) >= COMPARISON_PAUSE
    }

    /// The short refreshes that there may be, if the inner service is known to be well.
    pub(super) fn short_refreshes(&self, now: Moment, backoff: Duration) -> Option<ShortRefreshes> {
        let answered = self.answered?;
        if now.since(answered) >= self.rest(backoff) * ANSWERED_RESTS {
            return None;
        }
        let (limit, least) = match self.helped {
            Some((at, limit)) if now.since(at) < HELPED_TTL => (limit, Duration::from_millis(500)),
            _ => (1, Duration::from_secs(1)),
        };
        let doublings = (self.short_tries / ENOUGH_SHORT).min(2);
        let cost = self.found.cost;
        Some(ShortRefreshes {
            limit: (limit << doublings).min(MAX_SHORT),
            timeout: cost.saturating_mul(4).max(least),
            cost,
        })
    }

    pub(super) fn note_short(&mut self) {
        self.short_tries = self.short_tries.saturating_add(1);
    }

    pub(super) fn note_tried(&mut self, now: Moment) {
        self.tried = Some(now);
        self.tries = self.tries.saturating_add(1);
        self.is_answered = false;
        self.found.replay = self.found.replay.next(self.kind);
    }

    pub(super) fn note_answered(&mut self, now: Moment, is_failure: bool) {
        if self.tried.is_some() {
            self.answered = Some(now);
            self.is_answered = !is_failure;
        }
    }

    pub(super) fn note_stored(&mut self, fields: CallFields, now: Moment, cost: Duration) {
        match fields {
            CallFields::Own => {}
            CallFields::OwnShort => {
                let limit = 2 << (self.short_tries / ENOUGH_SHORT).min(1);
                let before = self.helped.map_or(0, |(_, limit)| limit);
                self.helped = Some((now, limit.max(before)));
            }
            CallFields::Replay(replay) => {
                (self.tried, self.tries) = (None, 0);
                // With the fields of one client it says nothing of those of the next one.
                if !replay.keeps_personal_fields {
                    self.answered = None;
                }
                // As it was made this time. Nobody but one client may have these fields.
                self.found.replay = replay;
                if !replay.is_bare && now.since(self.confirmed) >= MAX_ALONE {
                    self.found.replay = replay.next(self.kind);
                    self.confirmed = now;
                }
            }
        }
        self.short_tries = 0;
        self.uses = self.uses.saturating_add(1).min(MAX_USES);
        // One slow response makes no request slow: it may be due to other fields.
        let usual = &mut self.found.cost;
        *usual = cost.min(usual.saturating_mul(7).saturating_add(cost) / 8);
    }

    /// Takes the request of a stored response over: in place of this one, if that brings no
    /// response, else what they have in common. So no client has fields in it that others do not
    /// have. What the key is like stays known.
    pub(super) fn take_over(&mut self, request: Box<ProvenRequest>, now: Moment) {
        let own = &mut self.found.request;
        let is_other = own.digest != request.digest;
        self.comparisons = self.comparisons.saturating_add(1);
        if self.tries >= USELESS_TRIES {
            *own = request.into();
            self.found.replay = REPLAYS[0];
            (self.tried, self.tries, self.comparisons) = (None, 0, 0);
        } else if let Some(common) = own.common_with(&request) {
            *own = common.into();
        }
        self.compared = now;
        if is_other {
            self.confirmed = now;
        }
    }

    pub(super) const fn uses(&self) -> u8 {
        self.uses
    }

    /// Makes way for new entries by so many successes.
    pub(super) fn take_uses(&mut self, count: u8) {
        self.uses = self.uses.saturating_sub(count);
    }
}
