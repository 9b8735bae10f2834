//! Answers that are less than the whole: 304 for whoever has it already (RFC 9110 §15.4.5), 206 and 416.

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, response};

use crate::backend::{Backend, StoredResponse};
use crate::semantics::conditional;
use crate::semantics::selection::{Selection, Subject, select};

use crate::body::response::ResponseBody;
use crate::service::request::outgoing::{Sent, Wanted};
use crate::service::select::ranges::{self, Source};
use crate::state::Shared;

/// A stored response, or what a request wants of it.
#[inline]
pub(crate) fn selected<Res>(
    stored: &StoredResponse,
    wanted: Wanted<'_>,
) -> Response<ResponseBody<Res>> {
    if let Some(fields) = wanted.fields {
        return selected_by(stored, wanted.method, fields);
    }
    whole(stored, wanted.method)
}

fn whole<Res>(stored: &StoredResponse, method: &Method) -> Response<ResponseBody<Res>> {
    let body = match (method == Method::HEAD, stored.trailers()) {
        (true, None) => ResponseBody::default(),
        (true, Some(_)) => ResponseBody::none_of_unknown_size(),
        (false, trailers) => ResponseBody::whole(stored.body().clone(), trailers.cloned()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = stored.status();
    *response.headers_mut() = stored.headers().clone();
    response
}

fn selected_by<Res>(
    stored: &StoredResponse,
    method: &Method,
    fields: &HeaderMap,
) -> Response<ResponseBody<Res>> {
    selected_if_held(stored, method, fields).unwrap_or_else(|| whole(stored, method))
}

/// What a request wants, where that is less than the whole and all of it is held.
pub(crate) fn selected_if_held<Res>(
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
            let body = cut_to(&mut head, selection, Source::of(stored))?;
            Some(Response::from_parts(head, body))
        }
    }
}

pub(crate) fn selection_of(
    stored: &StoredResponse,
    method: &Method,
    fields: &HeaderMap,
) -> Selection {
    let length = Source::of(stored).length();
    let subject = Subject {
        status: stored.status(),
        headers: stored.headers(),
        received: stored.freshness().received,
        length: stored.trailers().is_none().then_some(length),
    };
    select(method, fields, subject)
}

/// Makes an answer what was selected of it; `None` where that is not there.
fn cut_to<Res>(
    head: &mut response::Parts,
    selection: Selection,
    source: Source<'_>,
) -> Option<ResponseBody<Res>> {
    let headers = &mut head.headers;
    let cut = match selection {
        Selection::NotModified => {
            *headers = conditional::not_modified(headers);
            head.status = StatusCode::NOT_MODIFIED;
            return Some(ResponseBody::default());
        }
        Selection::Part(part) => ranges::part(headers, source, &part)?,
        Selection::Parts(parts) => ranges::parts(headers, source, &parts)?,
        Selection::Unsatisfiable => ranges::none(headers, source),
        Selection::Whole => return Some(ResponseBody::whole(source.content().clone(), None)),
    };
    head.status = cut.status;
    Some(ResponseBody::pieces(cut.pieces))
}

impl<B: Backend> Shared<B> {
    /// Makes the head of an answer that came whole what its client wants; the body to send instead, where that is another.
    pub(crate) fn cut<Res>(
        &self,
        head: &mut response::Parts,
        sent: &Sent,
    ) -> Option<ResponseBody<Res>> {
        let fields = sent.wanted().fields?;
        // What has just been validated is at hand; of what is yet to come nobody can take a part.
        let content = sent.confirmed();
        let subject = Subject {
            status: head.status,
            headers: &head.headers,
            received: self.now(),
            length: content.map(|content| content.len() as u64),
        };
        let selection = select(&sent.method, fields, subject);
        if selection == Selection::Whole {
            return None;
        }
        let none = Bytes::new();
        cut_to(head, selection, Source::whole(content.unwrap_or(&none)))
    }
}
