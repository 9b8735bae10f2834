//! A stored response as a client wants it: whole, 304 (RFC 9110 §15.4.5), 206 or 416.
//!
//! The rules for conditions and ranges are those of `semantics`; here their result is cut from
//! stored bytes, without copying the body.

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, response};

use crate::backend::StoredResponse;
use crate::semantics::moment::Moment;
use crate::semantics::reuse::{Selection, StoredRepresentation, select_content};
use crate::semantics::stored::AnswerValues;
use crate::semantics::validation::{has_stored_tag, not_modified_headers};

use crate::body::response::ResponseBody;
use crate::service::request::preconditions::Preconditions;

use super::cut_ranges::{self, Source};

/// The stored response, or the part of it that the preconditions select, with the values of an
/// answer.
#[inline]
pub(crate) fn selected<Res>(
    stored: &StoredResponse,
    preconditions: Preconditions<'_>,
    values: &impl AnswerValues,
) -> Response<ResponseBody<Res>> {
    let method = preconditions.method;
    if let Some(fields) = preconditions.fields {
        return selected_by(stored, method, fields, values);
    }
    if method == Method::HEAD {
        return whole(stored, stored.headers_with(values), None);
    }
    let (headers, body) = stored.answer(values);
    let body = ResponseBody::whole(body, stored.trailers());
    with_head(body, stored.status(), headers)
}

/// A response with these fields.
#[inline]
fn with_head<B>(body: B, status: StatusCode, headers: HeaderMap) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    // An empty map holds nothing, but to drop it takes dozens of instructions.
    std::mem::forget(std::mem::replace(response.headers_mut(), headers));
    response
}

/// The whole stored response, with these copies of its fields and its body. HEAD gets no body.
#[inline]
fn whole<Res>(
    stored: &StoredResponse,
    headers: HeaderMap,
    body: Option<Bytes>,
) -> Response<ResponseBody<Res>> {
    let body = match (body, stored.trailers()) {
        (None, None) => ResponseBody::default(),
        (None, Some(_)) => ResponseBody::empty_of_unknown_size(),
        (Some(body), trailers) => ResponseBody::whole(body, trailers),
    };
    with_head(body, stored.status(), headers)
}

/// The part that these fields select, or the whole.
fn selected_by<Res>(
    stored: &StoredResponse,
    method: &Method,
    fields: &HeaderMap,
    values: &impl AnswerValues,
) -> Response<ResponseBody<Res>> {
    match cut_or_headers(stored, method, fields, values) {
        Ok(response) => response,
        Err(headers) => {
            let body = (method != Method::HEAD).then(|| stored.body());
            whole(stored, headers, body)
        }
    }
}

/// The selected part, or a copy of all stored fields if there is none.
fn cut_or_headers<Res>(
    stored: &StoredResponse,
    method: &Method,
    fields: &HeaderMap,
    values: &impl AnswerValues,
) -> Result<Response<ResponseBody<Res>>, HeaderMap> {
    let not_modified = || {
        let headers = stored.not_modified_with(values);
        with_head(ResponseBody::default(), StatusCode::NOT_MODIFIED, headers)
    };
    if has_stored_tag(fields, stored.status(), stored.etag()) {
        return Ok(not_modified());
    }
    let headers = stored.headers_with(values);
    match selection(stored, &headers, method, fields) {
        Selection::Whole => Err(headers),
        Selection::NotModified => Ok(not_modified()),
        selection => {
            let (mut head, ()) = Response::new(()).into_parts();
            head.headers = headers;
            match cut_to(&mut head, selection, &Source::from_stored(stored)) {
                Some(body) => Ok(Response::from_parts(head, body)),
                None => Err(stored.headers_with(values)),
            }
        }
    }
}

/// What a request with these preconditions gets of a stored response.
pub(crate) fn selection_for(
    stored: &StoredResponse,
    preconditions: Preconditions<'_>,
) -> Selection {
    let method = preconditions.method;
    let selected = |fields| selection_of(stored, method, fields);
    preconditions.fields.map_or(Selection::Whole, selected)
}

/// What the conditions and ranges of a request select of a stored response.
pub(crate) fn selection_of(
    stored: &StoredResponse,
    method: &Method,
    fields: &HeaderMap,
) -> Selection {
    match has_stored_tag(fields, stored.status(), stored.etag()) {
        true => Selection::NotModified,
        false => selection(stored, &stored.headers(), method, fields),
    }
}

/// The selection of a stored response with these fields.
fn selection(
    stored: &StoredResponse,
    headers: &HeaderMap,
    method: &Method,
    fields: &HeaderMap,
) -> Selection {
    let subject = StoredRepresentation {
        status: stored.status(),
        headers,
        received: stored.freshness().received,
        length: stored
            .trailers()
            .is_none()
            .then(|| cut_ranges::complete_length(stored)),
    };
    select_content(method, fields, subject)
}

/// Turns a head into that of a selection, and returns its body; `None` if the selected bytes are
/// not stored.
fn cut_to<Res>(
    head: &mut response::Parts,
    selection: Selection,
    source: &Source<'_>,
) -> Option<ResponseBody<Res>> {
    let headers = &mut head.headers;
    let cut = match selection {
        Selection::NotModified => {
            *headers = not_modified_headers(headers);
            head.status = StatusCode::NOT_MODIFIED;
            return Some(ResponseBody::default());
        }
        Selection::Part(part) => cut_ranges::single_part(headers, source, &part)?,
        Selection::Parts(parts) => cut_ranges::multipart(headers, source, &parts)?,
        Selection::Unsatisfiable => cut_ranges::unsatisfiable(headers, source),
        Selection::Whole => return Some(ResponseBody::whole(source.content(), None)),
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
    confirmed: Option<Bytes>,
    now: Moment,
) -> Option<ResponseBody<Res>> {
    let fields = preconditions.fields?;
    let subject = StoredRepresentation {
        status: head.status,
        headers: &head.headers,
        received: now,
        length: confirmed.as_ref().map(|content| content.len() as u64),
    };
    let selection = select_content(preconditions.method, fields, subject);
    if selection == Selection::Whole {
        return None;
    }
    cut_to(
        head,
        selection,
        &Source::whole(confirmed.unwrap_or_default()),
    )
}
