//! The preconditions and ranges of a request: those that the cache answers itself, and those that
//! go on to the inner service.

use http::header::{
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode};

use crate::semantics::reuse::is_condition_or_range;

/// What a client asks of a stored response: all of it, or what its conditions and ranges select.
#[derive(Clone, Copy)]
pub(crate) struct Preconditions<'r> {
    pub(crate) method: &'r Method,
    /// The header fields, if they may select less than the whole response.
    pub(crate) fields: Option<&'r HeaderMap>,
}

impl<'r> Preconditions<'r> {
    /// The preconditions of a request; `is_selective` tells whether its fields may have any.
    pub(crate) fn new(method: &'r Method, headers: &'r HeaderMap, is_selective: bool) -> Self {
        Self {
            method,
            fields: is_selective.then_some(headers),
        }
    }
}

/// Takes the conditions and ranges off a request whose response others may get, too, and returns
/// them. `None` if they go on to the inner service.
///
/// They do so where the response is for this client alone (`is_private`), where they are the
/// origin's business (`If-Match`, `If-Unmodified-Since`), and, if nothing is stored, beside a
/// range.
pub(crate) fn take_client_conditions<Req>(
    request: &mut Request<Req>,
    has_stored: bool,
    is_private: bool,
) -> Option<HeaderMap> {
    let headers = request.headers();
    let has = |name: HeaderName| headers.contains_key(name);
    let go_on = is_private
        || request.method() != Method::GET
        || has(IF_MATCH)
        || has(IF_UNMODIFIED_SINCE)
        || (!has_stored && (has(RANGE) || has(IF_RANGE)));
    (!go_on).then(|| take_conditions(request.headers_mut()))
}

/// Whether header fields have a condition that may be answered with this status (RFC 9110 §13.2.2).
pub(crate) fn has_condition_for(status: StatusCode, headers: &HeaderMap) -> bool {
    let names: &[HeaderName] = match status {
        StatusCode::NOT_MODIFIED => &[IF_NONE_MATCH, IF_MODIFIED_SINCE],
        StatusCode::PRECONDITION_FAILED => &[IF_MATCH, IF_UNMODIFIED_SINCE, IF_NONE_MATCH],
        _ => &[],
    };
    names.iter().any(|name| headers.contains_key(name))
}

/// Removes all conditions and ranges, and returns them.
fn take_conditions(headers: &mut HeaderMap) -> HeaderMap {
    let mut taken = HeaderMap::new();
    let names: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in names.into_iter().filter(is_condition_or_range) {
        for value in headers.get_all(&name) {
            taken.append(&name, value.clone());
        }
        headers.remove(name);
    }
    taken
}
