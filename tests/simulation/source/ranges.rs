//! Parts of responses: those that clients ask for, and the rest of a response that the cache holds
//! parts of.
//!
//! Only strong tags tell whether two parts belong together. A replica that lags may have the rest
//! of a response that is no longer current, as it may confirm one: see [`super::validators`].

use std::ops::Range;

use http::header::{CONTENT_RANGE, IF_RANGE, RANGE};
use http::{Method, Request, StatusCode};

use super::validators::{Validators, call_of};
use super::{Source, text};
use crate::support::origin::{Response, answer, full};

impl Source {
    /// 206 with the rest of a response that the request names, if that is still current.
    pub(super) fn rest_of(
        &self,
        request: &Request<()>,
        key: &str,
        version: u64,
        owner: &str,
    ) -> Option<Response> {
        let call = call_of(&text(request.headers(), IF_RANGE.as_str()))?;
        let compared = self.compared_version(version);
        if !self.history.is_still(call, key, owner, compared) {
            return None;
        }
        let mut response = self.part(request, call)?;
        self.describe(response.headers_mut(), key, compared, call, owner);
        Some(response)
    }

    /// 206 with the part of what a call answers that the request asks for.
    pub(super) fn part(&self, request: &Request<()>, call: usize) -> Option<Response> {
        if request.method() != Method::GET || self.plan.validators != Validators::Strong {
            return None;
        }
        let (whole, _) = self.history.text(call);
        let range = range_of(&text(request.headers(), RANGE.as_str()), whole.len())?;
        // Even if the whole breaks off, it may be put together of parts.
        self.history.completes(call);
        let cache_control = [("cache-control", self.plan.cache_control)];
        let mut response = answer(206, &cache_control, "");
        let field = format!("bytes {}-{}/{}", range.start, range.end - 1, whole.len());
        let field = field.parse().expect("a field value");
        response.headers_mut().insert(CONTENT_RANGE, field);
        Some(response.map(|_| full(whole[range].to_owned())))
    }
}

/// The one range that a field asks for, of a whole of some length.
fn range_of(field: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = field.strip_prefix("bytes=")?.split_once('-')?;
    let start = first.parse().ok().filter(|start| *start < length)?;
    let end = last.parse::<usize>().map_or(length, |last| last + 1);
    Some(start..end.min(length))
}

/// The part of a whole text that a response has, if it is a right one.
pub fn expected_part<'t>(head: &http::response::Parts, whole: &'t str) -> Option<&'t str> {
    if head.status != StatusCode::PARTIAL_CONTENT {
        return Some(whole);
    }
    let field = text(&head.headers, CONTENT_RANGE.as_str());
    let (range, length) = field.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
    let is_right = length.parse() == Ok(whole.len());
    whole.get(first..=last).filter(|_| is_right)
}
