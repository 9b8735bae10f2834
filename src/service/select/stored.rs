//! A stored response as a client wants it: whole, 304 (RFC 9110 §15.4.5), 206 or 416.
//!
//! The rules for conditions and ranges are those of `semantics`; here their result is cut from
//! stored bytes, without copying the body.

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, response};

use crate::backend::StoredResponse;
use crate::semantics::moment::Moment;
use crate::semantics::reuse::{Selection, StoredRepresentation, select_content};
use crate::semantics::validation;

use crate::body::response::ResponseBody;
use crate::service::request::preconditions::Preconditions;

use super::cut_ranges::{self, Source};

/// The stored response, or the part of it that the preconditions select.
#[inline]
pub(crate) fn selected<Res>(
    stored: &StoredResponse,
    preconditions: Preconditions<'_>,
) -> Response<ResponseBody<Res>> {
    if let Some(fields) = preconditions.fields {
        return selected_by(stored, preconditions.method, fields);
    }
    whole(stored, preconditions.method)
}

/// The whole stored response, without its body for HEAD.
fn whole<Res>(stored: &StoredResponse, method: &Method) -> Response<ResponseBody<Res>> {
    let body = match (method == Method::HEAD, stored.trailers()) {
        (true, None) => ResponseBody::default(),
        (true, Some(_)) => ResponseBody::empty_of_unknown_size(),
        (false, trailers) => ResponseBody::whole(stored.body().clone(), trailers.cloned()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = stored.status();
    *response.headers_mut() = stored.headers().clone();
    response
}

/// The part that these fields select, or the whole.
fn selected_by<Res>(
    stored: &StoredResponse,
    method: &Method,
    fields: &HeaderMap,
) -> Response<ResponseBody<Res>> {
    selected_part(stored, method, fields).unwrap_or_else(|| whole(stored, method))
}

/// The selected part, where that is less than the whole and all of it is stored.
pub(crate) fn selected_part<Res>(
    stored: &StoredResponse,
    method: &Method,
    fields: &HeaderMap,
) -> Option<Response<ResponseBody<Res>>> {
    match selection_of(stored, method, fields) {
        Selection::Whole => None,
        Selection::NotModified => {
            let mut response = Response::new(ResponseBody::default());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.headers_mut() = stored.not_modified();
            Some(response)
        }
        selection => {
            let (mut head, ()) = Response::new(()).into_parts();
            head.headers = stored.headers().clone();
            let body = cut_to(&mut head, selection, Source::from_stored(stored))?;
            Some(Response::from_parts(head, body))
        }
    }
}

/// What the conditions and ranges of a request select of a stored response.
pub(crate) fn selection_of(
    stored: &StoredResponse,
    method: &Method,
    fields: &HeaderMap,
) -> Selection {
    let length = Source::from_stored(stored).length();
    let subject = StoredRepresentation {
        status: stored.status(),
        headers: stored.headers(),
        received: stored.freshness().received,
        length: stored.trailers().is_none().then_some(length),
    };
    select_content(method, fields, subject)
}

/// Turns a head into that of a selection, and returns its body; `None` if the selected bytes are
/// not stored.
fn cut_to<Res>(
    head: &mut response::Parts,
    selection: Selection,
    source: Source<'_>,
) -> Option<ResponseBody<Res>> {
    let headers = &mut head.headers;
    let cut = match selection {
        Selection::NotModified => {
            *headers = validation::not_modified_headers(headers);
            head.status = StatusCode::NOT_MODIFIED;
            return Some(ResponseBody::default());
        }
        Selection::Part(part) => cut_ranges::single_part(headers, source, &part)?,
        Selection::Parts(parts) => cut_ranges::multipart(headers, source, &parts)?,
        Selection::Unsatisfiable => cut_ranges::unsatisfiable(headers, source),
        Selection::Whole => return Some(ResponseBody::whole(source.content().clone(), None)),
    };
    head.status = cut.status;
    Some(ResponseBody::pieces(cut.pieces))
}

/// Cuts the head of a response that came whole to a client's preconditions. Returns the body to
/// send instead, if that is another.
///
/// `confirmed` is the content, where a 304 has just confirmed it. Content that is still to come
/// cannot be cut.
pub(crate) fn cut_response<Res>(
    head: &mut response::Parts,
    preconditions: Preconditions<'_>,
    confirmed: Option<&Bytes>,
    now: Moment,
) -> Option<ResponseBody<Res>> {
    let fields = preconditions.fields?;
    let subject = StoredRepresentation {
        status: head.status,
        headers: &head.headers,
        received: now,
        length: confirmed.map(|content| content.len() as u64),
    };
    let selection = select_content(preconditions.method, fields, subject);
    if selection == Selection::Whole {
        return None;
    }
    let none = Bytes::new();
    cut_to(head, selection, Source::whole(confirmed.unwrap_or(&none)))
}
