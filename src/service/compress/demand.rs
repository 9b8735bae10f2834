//! What a request says of codings.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, Method, request};

use crate::config::CompressOptions;
use crate::semantics::content_coding::{
    AcceptedCodings, CodedTags, Coding, forbids_transformation,
};

/// The form of a response that a request gets, and what it said to get it.
#[derive(Debug)]
pub(crate) struct Demand {
    /// The coding; `None` for the identity.
    pub(super) coding: Option<Coding>,
    /// The tags of coded forms that the client has.
    pub(super) tags: CodedTags,
    pub(super) is_head: bool,
    /// The lines of `Accept-Encoding` as they came.
    lines: Vec<HeaderValue>,
}

impl Demand {
    /// Takes what a request says of codings off it; `None` if nothing is coded.
    #[inline]
    pub(crate) fn take(
        options: &CompressOptions,
        request: &mut request::Parts,
    ) -> Option<Arc<Self>> {
        match options.is_on() {
            true => Some(Self::take_from(options, request)),
            false => None,
        }
    }

    /// The request goes on as one for the identity. Conditions with the tags of coded forms name
    /// the identities of these as well.
    #[inline(never)]
    fn take_from(options: &CompressOptions, request: &mut request::Parts) -> Arc<Self> {
        let headers = &mut request.headers;
        let accepted = AcceptedCodings::from_headers(headers);
        let tags = CodedTags::from_headers(headers, &accepted);
        if !tags.is_empty()
            && let Some(list) = tags.with_identities(headers)
        {
            headers.insert(IF_NONE_MATCH, list);
        }
        let wants_identity = headers.contains_key(RANGE) || forbids_transformation(headers);
        let lines = headers.get_all(ACCEPT_ENCODING).iter().cloned().collect();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let coding = accepted.choose(&options.codings);
        Arc::new(Self {
            coding: coding.filter(|_| !wants_identity),
            tags,
            is_head: request.method == Method::HEAD,
            lines,
        })
    }

    /// Gives a request that bypasses the cache its own `Accept-Encoding` back.
    pub(crate) fn put_back(&self, headers: &mut HeaderMap) {
        headers.remove(ACCEPT_ENCODING);
        for line in &self.lines {
            headers.append(ACCEPT_ENCODING, line.clone());
        }
    }
}
