//! Asks the inner service for the missing range only, and makes its response whole.

use std::ops::Range;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, response};

use crate::backend::{Backend, StoredResponse};
use crate::body::origin::OriginBody;
use crate::body::watched::WatchedBody;
use crate::semantics::moment::Moment;
use crate::semantics::ranges::{content_range, parse_content_range, range_header, whole_head};
use crate::semantics::stored::updated_headers;
use crate::semantics::validation::is_same_representation;
use crate::service::fill_data::{Completion, HeldParts};
use crate::service::request::outgoing::OutgoingRequest;
use crate::service::select::cut_ranges::{Source, complete_length};
use crate::state::LayerState;

/// The response to a request that was narrowed to the missing range.
pub(crate) enum Completed<Res> {
    /// The stored and the missing bytes together, or another response to the client's request.
    Response(Response<OriginBody<Res>>),
    /// A response about a range, and not about the missing one.
    Other(Response<WatchedBody<Res>>),
}

/// Asks for the missing range only, where parts are stored (RFC 9110 §14.2, §13.1.5). Returns
/// whether it does.
pub(crate) fn narrow<Req, F>(request: &mut Request<Req>, held: &HeldParts<F>) -> bool {
    let Some(completion) = &held.completion else {
        return false;
    };
    let headers = request.headers_mut();
    headers.insert(RANGE, range_header(&completion.missing));
    headers.insert(IF_RANGE, completion.validator.clone());
    true
}

/// Puts the response to a narrowed request together with the stored parts.
pub(crate) fn complete<B: Backend, Res>(
    state: &LayerState<B>,
    response: Response<WatchedBody<Res>>,
    held: &HeldParts<B::Fence>,
    outgoing: &mut OutgoingRequest,
) -> Completed<Res> {
    let status = response.status();
    let completion = held.completion.as_ref();
    let completed = completion
        .filter(|completion| is_missing_part(completion, &response, state.now()))
        .and_then(|completion| Some((completion, stored_around(completion)?)));
    match completed {
        Some((completion, around)) => {
            let (own, response) = make_whole(completion, around, response);
            outgoing.origin_head = Some(Box::new(own));
            Completed::Response(response)
        }
        _ if matches!(
            status,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE
        ) =>
        {
            Completed::Other(response)
        }
        _ => {
            if status == StatusCode::OK {
                // The representation has changed. Until some of the new one is stored, requests
                // for a range are not answered with all of it.
                state.remember_contradicted(&held.lookup_key);
            }
            Completed::Response(response.map(OriginBody::streaming))
        }
    }
}

/// The range of a 206, if it belongs to the representation of which parts are stored.
pub(crate) fn range_of_same_representation(
    stored: &StoredResponse,
    new: &HeaderMap,
    now: Moment,
) -> Option<Range<u64>> {
    let (range, complete) = parse_content_range(new)?;
    let received = stored.freshness().received;
    let is_same = complete_length(stored) == complete
        && is_same_representation(&stored.headers(), received, new, now);
    is_same.then_some(range)
}

/// Whether a response is a 206 with the missing range of the same representation.
fn is_missing_part<Res>(completion: &Completion, response: &Response<Res>, now: Moment) -> bool {
    let headers = response.headers();
    let range = || range_of_same_representation(&completion.stored, headers, now);
    response.status() == StatusCode::PARTIAL_CONTENT
        && range().as_ref() == Some(&completion.missing)
}

/// The stored bytes that the client wants before and behind the missing ones.
fn stored_around(completion: &Completion) -> Option<[Bytes; 2]> {
    let source = Source::from_stored(&completion.stored);
    let slice = |part: Range<u64>| match part.is_empty() {
        true => Some(Bytes::new()),
        false => source.slice(&part),
    };
    let missing = &completion.missing;
    let wanted = completion.wanted.clone();
    let all = wanted.unwrap_or(0..source.length());
    Some([
        slice(all.start..missing.start)?,
        slice(missing.end..all.end)?,
    ])
}

/// The response's own head as that of the whole, and the response with the stored bytes around
/// its body.
fn make_whole<Res>(
    completion: &Completion,
    around: [Bytes; 2],
    response: Response<WatchedBody<Res>>,
) -> (response::Parts, Response<OriginBody<Res>>) {
    let (mut head, body) = response.into_parts();
    let own = whole_head(&head);
    let complete = complete_length(&completion.stored);
    let wanted = completion.wanted.as_ref();
    let length = wanted.map_or(complete, |part| part.end - part.start);
    let headers = &mut head.headers;
    *headers = updated_headers(&completion.stored, headers);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    match wanted {
        Some(part) => {
            headers.insert(CONTENT_RANGE, content_range(part, complete));
        }
        None => head.status = StatusCode::OK,
    }
    let missing = completion.missing.end - completion.missing.start;
    let body = OriginBody::spliced(around, body, missing);
    (own, Response::from_parts(head, body))
}
