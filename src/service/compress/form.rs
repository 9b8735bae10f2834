//! The form of an answer: the identity, or a coded one.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG};
use http::{HeaderMap, StatusCode};
use http_body::Body;

use crate::backend::{Backend, StoredResponse};
use crate::semantics::content_coding::{
    Coding, CodingLimits, Form, add_vary, coded_tag, decide_coding,
};
use crate::semantics::fields;
use crate::semantics::reason::RequestResult;
use crate::service::served::{AnsweredFrom, Served};
use crate::state::LayerState;

use super::demand::Demand;
use super::sub_entry::SubEntry;
use super::waiting::{Finished, PendingForm};

/// Gives an answer the form that its request gets, as far as that need not wait.
pub(crate) fn finish_now<B: Backend, Res: Body<Data = Bytes>>(
    state: &LayerState<B>,
    demand: &Demand,
    mut served: Served<Res>,
) -> Finished<B::Fence, Res> {
    let source = served.source.take();
    let limits = state.config.compress.limits;
    let coding = negotiated(limits, demand, &mut served, source.as_deref());
    let (Some(coding), Some(source)) = (coding, source) else {
        return Finished::Done(served);
    };
    let entry = SubEntry::new(&state.shared.store.seed, *source, coding);
    let lookup = state.shared.store.backend.get_now(&entry.key);
    let waiting = Box::new(PendingForm::new(served, entry, demand.is_head));
    match lookup {
        None => Finished::Waits(waiting),
        Some(lookup) => waiting.with_lookup(state, lookup),
    }
}

/// The coding that an answer may get. Says on the answer that it depends on `Accept-Encoding`, if
/// it does; a 304 gets the tag of the form that the client has.
fn negotiated<Res: Body<Data = Bytes>>(
    limits: CodingLimits,
    demand: &Demand,
    served: &mut Served<Res>,
    source: Option<&AnsweredFrom>,
) -> Option<Coding> {
    use RequestResult::{Collapsed, Hit, Miss, Partial, Revalidated, Stale};
    if !matches!(
        served.result,
        Hit | Stale | Revalidated | Collapsed | Miss | Partial
    ) {
        return None;
    }
    let status = served.response.status();
    let body_length = served.response.body().data_length();
    let headers = served.response.headers_mut();
    let stored = source.map(|source| &*source.stored);
    match status {
        StatusCode::NOT_MODIFIED => {
            name_form(limits, demand, headers, stored);
            return None;
        }
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            if stored.is_some_and(|stored| may_be_stored_coded(limits, stored)) {
                add_vary(headers);
            }
            return None;
        }
        _ => {}
    }
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|line| fields::decimal(line.as_bytes()))
        .or(body_length.filter(|_| !demand.is_head));
    decide_coding(status, headers, length, limits).ok()?;
    add_vary(headers);
    let is_whole = stored.is_some_and(|stored| {
        stored.status() == status && stored.trailers().is_none() && stored.parts().is_none()
    });
    demand.coding.filter(|_| is_whole)
}

/// Whether a stored response may be coded.
fn may_be_stored_coded(limits: CodingLimits, stored: &StoredResponse) -> bool {
    let length = Some(stored.body_length());
    decide_coding(stored.status(), &stored.headers(), length, limits).is_ok()
}

/// Gives a 304 the tag of the form that the client has, or that it would get.
fn name_form(
    limits: CodingLimits,
    demand: &Demand,
    headers: &mut HeaderMap,
    stored: Option<&StoredResponse>,
) {
    let tag = fields::single(headers, &ETAG).cloned();
    let form = tag
        .as_ref()
        .and_then(|tag| demand.tags.form_of(tag, demand.coding));
    let may_be_coded = stored.map(|stored| may_be_stored_coded(limits, stored));
    let coding = match form {
        Some(Form::Coded(coding)) => Some(coding),
        Some(Form::Identity) => None,
        None => demand.coding.filter(|_| may_be_coded == Some(true)),
    };
    if coding.is_some() || may_be_coded != Some(false) {
        add_vary(headers);
    }
    if let (Some(coding), Some(tag)) = (coding, tag)
        && let Some(tag) = coded_tag(&tag, coding)
    {
        headers.insert(ETAG, tag);
    }
}
