//! An answer whose coded form is looked up, read or made.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Backend, Lookup, StoredResponse};
use crate::body::response::ResponseBody;
use crate::semantics::content_coding::{Coding, make_coded};
use crate::service::lookup::detached_body::read_whole;
use crate::service::served::Served;
use crate::state::LayerState;
use crate::state::throttled_log::Operation;

use super::encoding::encoded;
use super::sub_entry::{FoundForm, SubEntry};

/// An answer in its form.
pub(crate) enum Finished<F, Res> {
    /// It is here.
    Done(Served<Res>),
    /// It has to be waited for.
    Waits(Box<PendingForm<F, Res>>),
}

/// An answer whose coded form has to be waited for.
pub(crate) struct PendingForm<F, Res> {
    /// The answer with the identity.
    served: Served<Res>,
    entry: SubEntry,
    is_head: bool,
    step: NextStep<F>,
}

/// What comes next.
enum NextStep<F> {
    /// The form is looked up.
    Lookup,
    /// Its body is read.
    Read(Arc<StoredResponse>),
    /// It is made, and stored under this fence.
    Encode(F),
}

impl<F, Res> PendingForm<F, Res> {
    /// An answer with the identity, whose form has not been looked up.
    pub(super) fn new(served: Served<Res>, entry: SubEntry, is_head: bool) -> Self {
        Self {
            served,
            entry,
            is_head,
            step: NextStep::Lookup,
        }
    }

    /// What becomes of the answer, once its form has been looked up.
    pub(super) fn with_lookup<B: Backend<Fence = F>>(
        mut self: Box<Self>,
        state: &LayerState<B>,
        lookup: Lookup<F>,
    ) -> Finished<F, Res> {
        let coding = self.entry.coding;
        match self.entry.judge(lookup) {
            // It is no smaller than its identity.
            FoundForm::Form(form) if form.body_length() == 0 => Finished::Done(self.served),
            FoundForm::Form(form) if self.is_head => {
                let length = Some(form.body_length());
                make_coded(self.served.response.headers_mut(), coding, length);
                Finished::Done(self.served)
            }
            FoundForm::Form(mut form) if form.has_whole_body() => {
                state.count_copy_of(&mut form);
                Finished::Done(with_coded(self.served, coding, form.body()))
            }
            FoundForm::Form(form) => {
                self.step = NextStep::Read(form);
                Finished::Waits(self)
            }
            // As the answer to GET would be. For a HEAD nothing is made.
            FoundForm::Nothing(_) if self.is_head => {
                make_coded(self.served.response.headers_mut(), coding, None);
                Finished::Done(self.served)
            }
            FoundForm::Nothing(fence) => {
                self.step = NextStep::Encode(fence);
                Finished::Waits(self)
            }
            FoundForm::Unfenced => Finished::Done(self.served),
        }
    }

    /// Waits for the coded form. If there is none in the end, the answer is the identity.
    pub(crate) async fn finish<B: Backend<Fence = F>>(
        mut self: Box<Self>,
        state: &LayerState<B>,
    ) -> Served<Res> {
        if let NextStep::Lookup = self.step {
            let backend = &state.shared.store.backend;
            let looked_up = backend.get(&self.entry.key, state.now()).await;
            let lookup = match looked_up {
                Ok(lookup) => lookup,
                Err(error) => {
                    state.backend_failed(Operation::Lookup, &error);
                    return self.served;
                }
            };
            self = match self.with_lookup(state, lookup) {
                Finished::Done(served) => return served,
                Finished::Waits(waiting) => waiting,
            };
        }
        let (served, coding) = (self.served, self.entry.coding);
        let body = match self.step {
            NextStep::Lookup => None,
            NextStep::Read(form) => match read_whole(state, form).await {
                Ok(form) => form.map(|form| form.body()),
                Err(error) => {
                    state.backend_failed(Operation::Lookup, &error);
                    None
                }
            },
            NextStep::Encode(fence) => encoded(state, self.entry, fence).await,
        };
        match body {
            Some(body) => with_coded(served, coding, body),
            None => served,
        }
    }
}

/// The answer with this coded body.
fn with_coded<Res>(mut served: Served<Res>, coding: Coding, body: Bytes) -> Served<Res> {
    let length = Some(body.len() as u64);
    make_coded(served.response.headers_mut(), coding, length);
    *served.response.body_mut() = ResponseBody::whole(body, None);
    served
}
