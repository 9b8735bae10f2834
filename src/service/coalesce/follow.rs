//! What followers of a fill share, and who may have it.

use std::sync::Arc;

use http::header::AGE;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::backend::{Backend, CacheKey};
use crate::flight::BodyReader;
use crate::semantics::hop_by_hop;
use crate::semantics::moment::Moment;
use crate::semantics::storing::{Answered, Asked, Grant, Storing, StoringRules, storing};
use crate::semantics::verdict::{Found, Verdict, verdict};

use crate::body::response::ResponseBody;
use crate::service::lookup::Fill;
use crate::service::request::outgoing::Sent;
use crate::state::Shared;

/// The head of an answer that is being stored.
#[derive(Debug)]
pub(crate) struct SharedHead {
    pub(crate) status: StatusCode,
    /// Without those that concern one connection.
    pub(crate) headers: HeaderMap,
    pub(crate) identity: Arc<[u8]>,
    pub(crate) grant: Grant,
    /// What it was judged by.
    pub(crate) rules: StoringRules,
    /// When the inner service was called.
    pub(crate) called: Moment,
    /// The body's length, where it is announced.
    pub(crate) length: Option<u64>,
}

/// What a follower makes of a shared head.
pub(crate) enum Taken<Res> {
    /// It is for this request, too.
    Answer(Response<ResponseBody<Res>>),
    /// Other fields selected it (RFC 9111 §4.1): this request's own variant has this key.
    OtherVariant(CacheKey),
    /// Its body failed, or can no longer be read from its beginning.
    Lost,
    /// It is too old for this request by now.
    TooOld,
    /// It may not be shared with this request.
    NotForThis,
}

impl SharedHead {
    pub(crate) fn headers_of(head: &http::response::Parts, grant: &Grant) -> HeaderMap {
        let mut headers = head.headers.clone();
        hop_by_hop::remove(&mut headers);
        for name in &grant.withheld {
            headers.remove(name);
        }
        headers
    }

    /// An answer of its own for each who reads; version and extensions are the leader's alone.
    fn answer<Res>(&self, reader: BodyReader) -> Response<ResponseBody<Res>> {
        let mut response = Response::new(ResponseBody::shared(reader, self.length));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

impl<B: Backend> Shared<B> {
    /// Takes what another request's fill has brought, if it could have been stored for this one just as well.
    pub(crate) fn take<Res>(
        &self,
        shared: &SharedHead,
        reader: Option<BodyReader>,
        fill: &Fill<B::Fence>,
        sent: &Sent,
    ) -> Taken<Res> {
        if shared.identity != fill.key.identity {
            return Taken::NotForThis;
        }
        if let Some(selected) = &shared.grant.selected
            && !selected.matches(&sent.headers)
        {
            let rule = selected.rule();
            let key = fill
                .key
                .key
                .variant_for(&self.core.seed, rule, &sent.headers);
            return Taken::OtherVariant(key);
        }
        if !could_be_stored_for(shared, sent) {
            return Taken::NotForThis;
        }
        // Whatever it insists on, its own call would have brought nothing younger.
        let is_called_since = shared.called.monotonic() > sent.at.monotonic();
        if !is_called_since && !self.is_young_enough(shared, fill) {
            return Taken::TooOld;
        }
        let Some(reader) = reader.filter(|reader| !reader.is_broken()) else {
            return Taken::Lost;
        };
        let mut response = shared.answer(reader);
        let freshness = &shared.grant.freshness;
        // Whoever came when it was there already gets it from what is stored, if only for a moment (RFC 9111 §4).
        if sent.at.monotonic() > freshness.received.monotonic() {
            let age = freshness.age(self.now()).as_secs();
            response.headers_mut().insert(AGE, HeaderValue::from(age));
        }
        let (mut head, mut body) = response.into_parts();
        if let Some(cut) = self.cut(&mut head, sent) {
            body = cut;
        }
        self.collapsed(&mut head.headers, fill.miss.reason);
        Taken::Answer(Response::from_parts(head, body))
    }

    fn is_young_enough(&self, shared: &SharedHead, fill: &Fill<B::Fence>) -> bool {
        let found = Found::Response(&shared.grant.freshness);
        let asked = &fill.key.directives;
        matches!(
            verdict(asked, found, self.now()),
            Verdict::Fresh { .. } | Verdict::StaleWhileRevalidate
        )
    }
}

/// Whether the same answer to this request's fields could have been stored. Time has no part in it: what was called, and
/// judged, once is not judged anew.
fn could_be_stored_for(shared: &SharedHead, sent: &Sent) -> bool {
    let asked = Asked {
        method: &sent.method,
        headers: &sent.headers,
        at: shared.called,
    };
    let answered = Answered {
        status: shared.status,
        headers: &shared.headers,
        at: shared.grant.freshness.received,
    };
    matches!(storing(asked, answered, &shared.rules), Storing::Store(_))
}
