//! Parts of a representation (RFC 9111 §3.3, §3.4): found, answered from, and completed by asking for what they lack.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, response};

use crate::backend::{Backend, CacheKey, Lookup, StoredResponse};
use crate::flight::Audience;
use crate::semantics::freshening::freshened;
use crate::semantics::moment::Moment;
use crate::semantics::range::{
    content_range, is_of_the_same, part_of_whole, range_of, strong_validator,
};
use crate::semantics::reason::FetchReason;
use crate::semantics::selection::Selection;
use crate::semantics::verdict::{Found, Verdict, verdict};

use crate::body::origin::Content;
use crate::body::response::ResponseBody;
use crate::service::lookup::{Fill, Hit, Looked, Miss, selects};
use crate::service::parts::merge::as_whole;
use crate::service::request::outgoing::Sent;
use crate::service::select::ranges::Source;
use crate::service::select::stored::{selected_if_held, selection_of};
use crate::state::Shared;
use crate::state::failure_log::Failed;

/// For how long a key is looked up for parts, too, by those who want the whole, if nothing else is said.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Parts that are stored, and where.
#[derive(Clone, Debug)]
pub(crate) struct HeldParts {
    pub(crate) response: Arc<StoredResponse>,
    pub(crate) place: CacheKey,
    /// How the request is completed that they were found for, if it can be.
    completes: Option<Completes>,
}

/// What is asked for, so that with what is held an answer is whole.
#[derive(Clone, Debug)]
struct Completes {
    held: Arc<StoredResponse>,
    /// What tells that it is the same still.
    validator: HeaderValue,
    /// What the client wants; `None` for all.
    wanted: Option<Range<u64>>,
    missing: Range<u64>,
    /// What is held before and behind it.
    around: [Bytes; 2],
}

/// What an answer is to a request that completes.
pub(crate) enum Completed<Res> {
    /// What the client wants: held and missing together, or another answer to its own request.
    Answer(Response<Content<Res>>),
    /// Neither what was asked for, nor what the client wants.
    Contradicts,
}

impl<F> Miss<F> {
    fn completes(&self) -> Option<&Completes> {
        self.parts.as_ref()?.completes.as_ref()
    }
}

impl<B: Backend> Shared<B> {
    /// The answer from stored parts, where nothing whole is stored and they hold all that is wanted. If they hold some of it,
    /// that is noted.
    pub(crate) async fn answer_from_parts<Res>(
        &self,
        fill: &mut Fill<B::Fence>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<Response<ResponseBody<Res>>> {
        if method != Method::GET || !self.may_have_parts(fill, headers) {
            return None;
        }
        let mut held = self.look_for_parts(fill, headers).await?;
        let now = self.now();
        let found = Found::Response(held.response.freshness());
        if let Verdict::Fresh { age, left } = verdict(&fill.key.directives, found, now)
            && let Some(response) = selected_if_held(&held.response, &Method::GET, headers)
        {
            let hit = Hit::fresh(held.response, age, left);
            return Some(self.answer(&hit, response));
        }
        if !self.is_contradicted(&held.place) {
            held.completes = Completes::of(&held.response, headers);
        }
        if held.completes.is_some() {
            fill.miss.reason = FetchReason::Partial;
        }
        fill.miss.parts = Some(held);
        None
    }

    fn may_have_parts(&self, fill: &Fill<B::Fence>, headers: &HeaderMap) -> bool {
        let is_an_origins = |name| headers.contains_key(name);
        self.config.store_parts
            && fill.miss.fence.is_some()
            && fill.miss.held().is_none()
            && ![IF_MATCH, IF_UNMODIFIED_SINCE].iter().any(is_an_origins)
            && (headers.contains_key(RANGE) || self.is_partly_held(&fill.key.key))
    }

    pub(crate) fn is_partly_held(&self, key: &CacheKey) -> bool {
        let memory = &self.core.partial;
        memory.is_remembered(key, Audience::Everyone, self.now())
    }

    pub(crate) async fn look_for_parts(
        &self,
        fill: &Fill<B::Fence>,
        headers: &HeaderMap,
    ) -> Option<HeldParts> {
        let key = fill.key.key.parts(&self.core.seed);
        let looked = self.look_twice(&key, headers, self.now()).await;
        let Looked { lookup, place, .. } = looked
            .inspect_err(|error| self.backend_failed(Failed::Lookup, error))
            .ok()?;
        let Lookup::Found(response, _) = lookup else {
            return None;
        };
        let is_it = response.identity() == &*fill.key.identity
            && response.parts().is_some()
            && selects(&response, headers);
        is_it.then_some(HeldParts {
            response,
            place,
            completes: None,
        })
    }

    /// Asks for what is missing only, where parts are held (RFC 9110 §14.2, §13.1.5).
    pub(crate) fn complete<Req>(&self, request: &mut Request<Req>, fill: &Fill<B::Fence>) {
        if let Some(completes) = fill.miss.completes() {
            let headers = request.headers_mut();
            headers.insert(RANGE, range_of(&completes.missing));
            headers.insert(IF_RANGE, completes.validator.clone());
        }
    }

    /// What an answer is to a request that completes, or to any other.
    pub(crate) fn completed<Res>(
        &self,
        answer: Response<Res>,
        fill: &Fill<B::Fence>,
        sent: &mut Sent,
    ) -> Completed<Res> {
        let Some(completes) = fill.miss.completes() else {
            return Completed::Answer(answer.map(Content::streaming));
        };
        let status = answer.status();
        let is_about_the_part = match status {
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => true,
            // To conditions of the client's own.
            StatusCode::NOT_MODIFIED => !sent.is_partial(),
            _ => false,
        };
        if status == StatusCode::OK {
            // It has changed: until something of the new one is stored, nobody gets all of it for the sake of a part.
            self.is_not_completed(fill);
        }
        if !is_about_the_part {
            return Completed::Answer(answer.map(Content::streaming));
        }
        if status == StatusCode::PARTIAL_CONTENT && completes.are_met_by(&answer, self.now()) {
            let (own, answer) = completes.whole(answer);
            sent.own = Some(Box::new(own));
            return Completed::Answer(answer);
        }
        tracing::warn!(%status, "an answer to a request for a missing part that is not that part");
        self.is_not_completed(fill);
        Completed::Contradicts
    }

    /// For a while, requests go as they are.
    fn is_not_completed(&self, fill: &Fill<B::Fence>) {
        if let Some(held) = &fill.miss.parts {
            self.remember_contradicted(&held.place);
        }
    }

    /// From now on those who want the whole look for parts, too.
    pub(crate) fn is_partly_held_from_now(&self, key: &CacheKey, lifetime: Option<Duration>) {
        let time = lifetime.unwrap_or(REMEMBERED).min(REMEMBERED);
        let memory = &self.core.partial;
        memory.remember(key, Audience::Everyone, self.now(), time);
    }
}

/// The part that a 206 is, if it is one of the representation of which parts are held.
pub(crate) fn part_of_the_same(
    held: &StoredResponse,
    new: &HeaderMap,
    now: Moment,
) -> Option<Range<u64>> {
    let (range, complete) = part_of_whole(new)?;
    let received = held.freshness().received;
    let is_same =
        Source::of(held).length() == complete && is_of_the_same(held.headers(), received, new, now);
    is_same.then_some(range)
}

impl Completes {
    /// How a request is completed: if it wants one part or all, and some of that is held, and can be told from any other by a
    /// strong validator (RFC 9111 §3.4).
    fn of(held: &Arc<StoredResponse>, headers: &HeaderMap) -> Option<Self> {
        let validator = strong_validator(held.headers(), held.freshness().received)?.clone();
        let parts = held.parts()?;
        let wanted = if headers.contains_key(RANGE) {
            match selection_of(held, &Method::GET, headers) {
                Selection::Part(part) => Some(part),
                _ => return None,
            }
        } else {
            None
        };
        let all = wanted.clone().unwrap_or(0..parts.complete());
        let missing = parts.gap(&all);
        if missing.is_empty() || missing == all {
            return None;
        }
        let source = Source::of(held);
        let slice = |part: Range<u64>| match part.is_empty() {
            true => Some(Bytes::new()),
            false => source.slice(&part),
        };
        let around = [
            slice(all.start..missing.start)?,
            slice(missing.end..all.end)?,
        ];
        let held = held.clone();
        Some(Self {
            held,
            validator,
            wanted,
            missing,
            around,
        })
    }

    /// Whether an answer is the very part, of the same representation.
    fn are_met_by<Res>(&self, answer: &Response<Res>, now: Moment) -> bool {
        let part = part_of_the_same(&self.held, answer.headers(), now);
        part.as_ref() == Some(&self.missing)
    }

    /// What the answer says itself, and what is held and what came, one behind the other.
    fn whole<Res>(&self, answer: Response<Res>) -> (response::Parts, Response<Content<Res>>) {
        let (mut head, body) = answer.into_parts();
        let own = as_whole(&head);
        let complete = Source::of(&self.held).length();
        let length = self.wanted.as_ref();
        let length = length.map_or(complete, |part| part.end - part.start);
        let headers = &mut head.headers;
        *headers = freshened(&self.held, headers);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        match &self.wanted {
            Some(part) => {
                headers.insert(CONTENT_RANGE, content_range(part, complete));
            }
            None => head.status = StatusCode::OK,
        }
        let missing = self.missing.end - self.missing.start;
        let content = Content::spliced(self.around.clone(), body, missing);
        (own, Response::from_parts(head, content))
    }
}
