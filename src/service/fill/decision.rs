//! An answer that may be stored: judged when its head is here, stored when its body has ended.

use std::sync::Arc;
use std::time::Duration;

use http::header::{DATE, TRAILER};
use http::{StatusCode, response};
use http_body::Body;

use crate::backend::{Backend, CacheKey, Put};
use crate::flight::{BudgetShare, DropNotice};
use crate::semantics::date;
use crate::semantics::moment::Moment;
use crate::semantics::reason::Refusal;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::{Grant, StoringRules};

use crate::body::capture::{Capture, Captured, Terms, Whole};
use crate::service::fill::policy::announced_length;
use crate::service::lookup::Fill;
use crate::service::parts::merge::{Joins, Part};
use crate::service::request::outgoing::Sent;
use crate::state::Shared;

/// An answer that may be stored, once its body is here.
pub(crate) struct Storable<F> {
    pub(crate) key: CacheKey,
    /// The key that it was looked for under, and the whole of it.
    pub(crate) place: CacheKey,
    pub(crate) identity: Arc<[u8]>,
    /// What must hold when it is stored, or why it is shared only.
    pub(crate) fence: Result<F, Refusal>,
    pub(crate) stored: StoredHead,
    pub(crate) grant: Grant,
    /// The body's length, where it is announced.
    pub(crate) length: Option<u64>,
    has_trailers: bool,
    /// How it becomes one with what is stored of it already, if it is a part.
    joins: Option<Joins>,
    /// When the inner service was called.
    pub(crate) began: Moment,
    /// What it was judged by, whatever was stored before.
    pub(crate) rules: StoringRules,
}

/// What is held until a body is stored, or is known not to be.
pub(crate) trait Held: Send + 'static {
    /// Who is to be told when the stored response is gone.
    fn companion(&self) -> Option<Arc<DropNotice>> {
        None
    }

    /// It is stored.
    fn is_stored(&self) {}
}

impl Held for () {}

/// Gives an answer that may be stored a `Date`, if it has none.
fn dated(head: &mut response::Parts, grant: &Grant) {
    let received = grant.freshness.received.wall();
    let date = head.headers.entry(DATE);
    date.or_insert_with(|| date::format(received));
}

impl<B: Backend> Shared<B> {
    /// Judges an answer. One that may be stored and has no `Date` gets the moment of its receipt, on its way to the client
    /// too (RFC 9110 §6.6.1).
    pub(crate) fn storable<Res: Body>(
        &self,
        fill: Fill<B::Fence>,
        fence: Result<B::Fence, Refusal>,
        sent: &Sent,
        head: &mut response::Parts,
        body: &Res,
    ) -> Result<Storable<B::Fence>, Refusal> {
        if let Some(part) = self.part_of(&fill, sent, head) {
            return self.storable_part(part, fill, fence, sent, (head, body));
        }
        if let Some(own) = &sent.own {
            self.grant_by_its_own(own, &fill, sent, body)?;
        }
        let rules = self.rules(head);
        let with_existing = StoringRules {
            existing: fill.miss.existing,
            ..rules.clone()
        };
        let grant = self.grant(sent.asked(), &fill.key.identity, head, body, with_existing)?;
        let fence = fence.and_then(|fence| self.spares(&grant.groups, sent.at).map(|()| fence));
        dated(head, &grant);
        if grant.freshness.is_reusable() {
            self.no_longer_refused(&fill.miss.place, &sent.headers);
        }
        let identity = fill.key.identity;
        Ok(Storable {
            place: fill.miss.place,
            identity: identity.clone(),
            key: self.key_of(fill.key.key, &grant, &sent.headers),
            fence,
            stored: StoredHead::new(identity, head.status, &head.headers, grant.clone()),
            grant,
            length: announced_length(head, body),
            has_trailers: head.headers.contains_key(TRAILER),
            joins: None,
            began: sent.at,
            rules,
        })
    }

    /// What an answer says itself must let it be stored, whatever it is put together with: that others may have what is
    /// held is no permission to show them this one.
    fn grant_by_its_own<Res: Body>(
        &self,
        own: &response::Parts,
        fill: &Fill<B::Fence>,
        sent: &Sent,
        body: &Res,
    ) -> Result<(), Refusal> {
        let identity = &fill.key.identity;
        let granted = self.grant(sent.asked(), identity, own, body, self.rules(own));
        granted.map(drop)
    }

    /// The same of a part.
    fn storable_part<Res: Body>(
        &self,
        part: Part,
        fill: Fill<B::Fence>,
        fence: Result<B::Fence, Refusal>,
        sent: &Sent,
        (head, body): (&mut response::Parts, &Res),
    ) -> Result<Storable<B::Fence>, Refusal> {
        if let Some(own) = sent.own.as_deref().or(part.own.as_ref()) {
            self.grant_by_its_own(own, &fill, sent, body)?;
        }
        let rules = self.rules(&part.head);
        let identity = fill.key.identity;
        let grant = self.grant(sent.asked(), &identity, &part.head, body, rules.clone())?;
        if !grant.freshness.is_reusable() {
            return Err(Refusal::NoCache);
        }
        let fence = fence.and_then(|fence| self.spares(&grant.groups, sent.at).map(|()| fence));
        dated(head, &grant);
        let whole = fill.key.key;
        let key = self.key_of(whole.parts(&self.core.seed), &grant, &sent.headers);
        let stored = StoredHead::new(
            identity.clone(),
            StatusCode::OK,
            &part.head.headers,
            grant.clone(),
        );
        let (joins, parts) = part.joins(key, self.limit()).ok_or(Refusal::Status)?;
        let (key, stored) = if parts.is_whole() {
            (self.key_of(whole, &grant, &sent.headers), stored)
        } else {
            self.is_partly_held_from_now(&whole, grant.freshness.lifetime);
            (key, stored.holding(parts))
        };
        Ok(Storable {
            place: fill.miss.place,
            identity,
            key,
            fence,
            stored,
            grant,
            length: Some(joins.length()),
            has_trailers: false,
            joins: Some(joins),
            began: sent.at,
            rules,
        })
    }

    /// Collects a body for the store, with a share of the budget that it takes from unless that is done for it; `held` is
    /// let go of when all is done.
    pub(crate) fn capture(
        &self,
        storable: Storable<B::Fence>,
        share: Arc<BudgetShare>,
        is_counted: bool,
        held: impl Held,
    ) -> Capture {
        let shared = self.clone();
        let terms = Terms {
            limit: self.limit(),
            announced: storable.length,
            has_trailers: storable.has_trailers,
            is_counted,
        };
        Capture::new(terms, share, move |captured| {
            shared.commit(storable, captured, held);
        })
    }

    /// What a fill has cost by now. A wall clock that was set has no part in it.
    pub(crate) fn cost_since(&self, began: Moment) -> Duration {
        let now = self.now().monotonic();
        now.saturating_sub(began.monotonic())
    }

    /// Stores at the body's clean end; where the backend needs waiting for, off the request's way.
    pub(crate) fn commit(&self, storable: Storable<B::Fence>, captured: Captured, held: impl Held) {
        let (whole, fence) = match captured.and_then(|whole| Ok((whole, storable.fence?))) {
            Ok(may_be_stored) => may_be_stored,
            Err(refusal) => {
                // So that the next ones do not wait for what is not kept either.
                if refusal == Refusal::TooLarge {
                    self.remember_refused(&storable.place, refusal);
                }
                return self.refused(refusal);
            }
        };
        let Whole {
            data,
            trailers,
            share,
        } = whole;
        let Storable {
            key,
            stored,
            began,
            place,
            joins,
            ..
        } = storable;
        let (data, trailers) = match joins {
            // Both are in memory until they are one.
            Some(joins) if !share.try_take(joins.held()) => return self.refused(Refusal::Budget),
            Some(joins) => (joins.join(data), None),
            None => (data, trailers),
        };
        let cost = self.cost_since(began);
        let stored = self.tagged(stored, &data);
        let mut response = stored.with_body(data, trailers, cost);
        if let Some(companion) = held.companion() {
            response = response.with_companion(companion);
        }
        let response = Arc::new(response);
        let shared = self.clone();
        self.core.background.run(async move {
            let backend = &shared.core.backend;
            let of_parts = shared.of_older_parts(&key, &response, &fence);
            let put = backend.put(&key, fence, response, shared.now()).await;
            if matches!(put, Ok(Put::Stored)) {
                if let Some(older) = of_parts {
                    shared.forget_parts(older).await;
                }
                shared.core.failing.forget(&place);
                held.is_stored();
            }
            shared.put(&put);
            drop((share, held));
        });
    }
}
