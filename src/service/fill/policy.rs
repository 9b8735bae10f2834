//! Whether an answer may be stored, and under which key: the rules of `semantics` with this layer's options.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, response};
use http_body::Body;

use crate::backend::{Backend, CacheKey};
use crate::flight::BudgetShare;
use crate::random::uniform;
use crate::semantics::reason::Refusal;
use crate::semantics::stored::StoredHead;
use crate::semantics::storing::{Answered, Asked, Grant, Storing, StoringRules, storing};

use crate::state::Shared;

impl<B: Backend> Shared<B> {
    /// May an answer be stored, under the key that `identity` is?
    pub(crate) fn grant<Res: Body>(
        &self,
        asked: Asked<'_>,
        identity: &[u8],
        head: &response::Parts,
        body: &Res,
        rules: StoringRules,
    ) -> Result<Grant, Refusal> {
        let answered = Answered {
            status: head.status,
            headers: &head.headers,
            at: self.now(),
        };
        match storing(asked, answered, &rules) {
            Storing::Refuse(refusal) => Err(refusal),
            Storing::Store(_) if self.limit() == 0 => Err(Refusal::NoRoom),
            Storing::Store(_) if self.is_too_large(head, body) => Err(Refusal::TooLarge),
            Storing::Store(_) if head_length(&head.headers) > self.config.max_head => {
                Err(Refusal::HeadTooLarge)
            }
            Storing::Store(grant) => Ok(Grant {
                groups: self.groups_in(identity, &head.headers)?,
                ..grant
            }),
        }
    }

    /// This layer's rules for a response, whatever is stored already.
    pub(crate) fn rules(&self, head: &response::Parts) -> StoringRules {
        StoringRules {
            assigned: self.config.assigned_ttl(head),
            store_set_cookie: self.config.store_set_cookie,
            existing: None,
            ignored: self.config.ignored,
            targets: self.config.targeted_cache_control.clone(),
            explicit_only: false,
            stale: self.config.stale,
            shortened_by: self.config.ttl_jitter * (1.0 - self.drawn()),
        }
    }

    /// Between 0 and 1; 1 where chance has no part.
    fn drawn(&self) -> f64 {
        if self.config.ttl_jitter > 0.0 {
            uniform(&*self.config.random)
        } else {
            1.0
        }
    }

    /// The key of the variant that an answer to a request with these header fields is.
    pub(crate) fn key_of(&self, key: CacheKey, grant: &Grant, request: &HeaderMap) -> CacheKey {
        match &grant.selected {
            Some(selected) => key.variant_for(&self.core.seed, selected.rule(), request),
            None => key,
        }
    }

    /// What is about to be stored, with a tag of its content where that is wanted.
    pub(crate) fn tagged(&self, head: StoredHead, content: &[u8]) -> StoredHead {
        if self.config.generate_etags {
            head.tagged(content)
        } else {
            head
        }
    }

    /// The largest body that is stored.
    pub(crate) fn limit(&self) -> u64 {
        self.config.max_body.min(self.core.backend.largest())
    }

    /// A share of the bytes that may be in capture, none taken yet.
    pub(crate) fn share(&self) -> BudgetShare {
        BudgetShare::new(self.core.capturing.clone(), self.config.max_buffered_bytes)
    }

    fn is_too_large<Res: Body>(&self, head: &response::Parts, body: &Res) -> bool {
        let least = body.size_hint().lower();
        least.max(announced_length(head, body).unwrap_or(0)) > self.limit()
    }
}

/// Names and values, as they would be written.
fn head_length(headers: &HeaderMap) -> usize {
    let line = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    headers.iter().map(line).sum()
}

/// The length the response has by its own account.
pub(crate) fn announced_length<Res: Body>(head: &response::Parts, body: &Res) -> Option<u64> {
    head.headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .or_else(|| body.size_hint().exact())
}
