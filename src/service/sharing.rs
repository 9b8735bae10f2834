//! What followers of a fill share, and who may have it.

use http::{Response, response};

use crate::backend::{Backend, CacheKey};
use crate::flight::{Reader, Stream};
use crate::semantics::reason::FetchReason;
use crate::semantics::storing::{Answered, Grant, Storing, storing};

use super::body::ResponseBody;
use super::fetch::Sent;
use super::shared::Shared;

/// The head of an answer that is being stored, with its body as it arrives.
#[derive(Debug)]
pub(crate) struct SharedHead {
    pub(super) head: response::Parts,
    pub(super) grant: Grant,
    /// The body's length, where it is announced.
    pub(super) length: Option<u64>,
    pub(super) stream: Stream,
}

/// What a follower makes of a shared head.
pub(super) enum Taken<Res> {
    /// It is for this request, too.
    Answer(Response<ResponseBody<Res>>),
    /// Other fields selected it (RFC 9111 §4.1): this request's own variant has this key.
    OtherVariant(CacheKey),
    /// It may not be shared with this request, or can no longer be read from its beginning.
    NotForThis,
}

impl SharedHead {
    /// An answer of its own for each who reads; the response's extensions are the leader's alone.
    pub(super) fn answer<Res>(&self, reader: Reader) -> Response<ResponseBody<Res>> {
        let mut response = Response::new(ResponseBody::shared(reader, self.length));
        *response.status_mut() = self.head.status;
        *response.version_mut() = self.head.version;
        *response.headers_mut() = self.head.headers.clone();
        response
    }
}

impl<B: Backend> Shared<B> {
    /// Takes what another request's fill has brought, if it could have been stored for this one just as well.
    pub(super) fn take<Res>(
        &self,
        shared: &SharedHead,
        primary: CacheKey,
        sent: &Sent,
        reason: FetchReason,
    ) -> Taken<Res> {
        if let Some(selected) = &shared.grant.selected
            && !selected.matches(&sent.headers)
        {
            let rule = selected.rule();
            let key = primary.variant_for(&self.core.seed, rule, &sent.headers);
            return Taken::OtherVariant(key);
        }
        if !self.could_be_stored_for(shared, sent) {
            return Taken::NotForThis;
        }
        let Some(reader) = shared.stream.reader() else {
            return Taken::NotForThis;
        };
        let mut response = shared.answer(reader);
        self.collapsed(response.headers_mut(), reason);
        Taken::Answer(response)
    }

    fn could_be_stored_for(&self, shared: &SharedHead, sent: &Sent) -> bool {
        let answered = Answered {
            status: shared.head.status,
            headers: &shared.head.headers,
            at: shared.grant.freshness.received,
        };
        let rules = self.rules(&shared.head, None);
        matches!(storing(sent.asked(), answered, rules), Storing::Store(_))
    }
}
