//! `Expect: 100-continue` (RFC 9110 §10.1.1): the origin is who answers it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::EXPECT;
use http::{Request, StatusCode};
use tokio::sync::watch;

use crate::semantics::fields;

/// For how long an origin may leave open whether it wants the content: many never say.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Undecided,
    Open,
    /// The origin has answered without having asked for the content, and its answer is still being read.
    Answered,
    /// That answer is over.
    Shut,
}

/// Whether an origin wants the content of a request.
#[derive(Clone, Debug)]
pub(super) struct Expectation(Arc<watch::Sender<Gate>>);

/// Open when the content is to be sent; an error when it never is.
pub(super) type Opening = Pin<Box<dyn Future<Output = Result<(), Unwanted>> + Send>>;

/// What ends content that an origin never asked for.
#[derive(Debug)]
pub(super) struct Unwanted;

impl std::fmt::Display for Unwanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the upstream answered without asking for the content")
    }
}

impl std::error::Error for Unwanted {}

impl Expectation {
    /// `None` where a request has none. To be told what the origin says, it is put on the request.
    pub(super) fn of<B>(request: &mut Request<B>) -> Option<Self> {
        let is_continue = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
        if !fields::list(request.headers(), &EXPECT).any(is_continue) {
            return None;
        }
        let expectation = Self(Arc::new(watch::Sender::new(Gate::Undecided)));
        let told = expectation.clone();
        hyper::ext::on_informational(request, move |answer| {
            if answer.status() == StatusCode::CONTINUE {
                told.decide(Gate::Undecided, Gate::Open);
            }
        });
        Some(expectation)
    }

    pub(super) fn opening(&self) -> Opening {
        let mut gate = self.0.subscribe();
        Box::pin(async move {
            let decided = gate.wait_for(|gate| *gate != Gate::Undecided);
            if tokio::time::timeout(PATIENCE, decided).await.is_err() {
                return Ok(());
            }
            let over = gate.wait_for(|gate| matches!(gate, Gate::Open | Gate::Shut));
            match over.await {
                Ok(gate) if *gate == Gate::Open => Ok(()),
                _ => Err(Unwanted),
            }
        })
    }

    /// The final answer's head is there: content that was not sent by then is not sent any more.
    pub(super) fn answered(self) -> Answered {
        self.decide(Gate::Undecided, Gate::Answered);
        Answered(self)
    }

    fn decide(&self, from: Gate, to: Gate) {
        self.0.send_if_modified(|gate| {
            let is_from = *gate == from;
            if is_from {
                *gate = to;
            }
            is_from
        });
    }
}

/// Ends a request's content with the answer to it: not before, as that would cut the answer off.
#[derive(Debug)]
pub(super) struct Answered(Expectation);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.decide(Gate::Answered, Gate::Shut);
    }
}
