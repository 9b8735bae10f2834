//! Coded forms of stored responses, made once (RFC 9110 §8.4, §12.5.3).
//!
//! ```text
//! request   Demand::take   notes the coding that the client gets; the request goes on as one for
//!                          the identity, so that one response is stored for all
//! answer    finish_now     the form of the answer: identity, or a coded form that is stored
//!           PendingForm    the coded form of a backend that has to be waited for, or of an
//!                          encoding that many requests may wait for
//! ```
//!
//! A coded form is a sub-entry: it is stored under a key of its own that belongs to the resource of
//! its identity, and its full key has a digest of the identity's content. It is looked up only after
//! the identity has been found, judged and turned into an answer, and used only if it was made of
//! the same content. So it is as fresh as its identity, whatever happens to either: an
//! invalidation, a replacement, a 304, an eviction.
//!
//! The rules are those of `semantics::content_coding`. Start reading with [`finish_now`].

mod demand;
mod encode;
mod encoding;
mod form;
mod sub_entry;
mod waiting;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Body;

use crate::backend::Backend;
use crate::state::LayerState;

use super::served::ServedResult;

pub(crate) use self::demand::Demand;
pub(crate) use self::form::finish_now;
pub(crate) use self::waiting::{Finished, PendingForm};

/// The answer of a future, in the form that the request gets.
///
/// # Errors
/// The error of the inner service.
pub(crate) async fn coded<B: Backend, Res, E>(
    state: LayerState<B>,
    demand: Arc<Demand>,
    work: Pin<Box<impl Future<Output = ServedResult<Res, E>>>>,
) -> ServedResult<Res, E>
where
    Res: Body<Data = Bytes>,
{
    let served = work.await?;
    Ok(match finish_now(&state, &demand, served) {
        Finished::Done(served) => served,
        Finished::Waits(waiting) => waiting.finish(&state).await,
    })
}
