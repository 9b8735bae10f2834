//! `Expect: 100-continue` (RFC 9110 §10.1.1): the upstream decides about a request's content.
//!
//! ```text
//!  Undecided --100 (Continue)----------> Requested   the content is sent
//!      |     --final response's head---> Answered    the content waits
//!      |                                     |
//!      |                                     +--response read or dropped--> Refused: error
//!      +------1 s without a decision-----------------------------------> the content is sent
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::EXPECT;
use http::{Request, StatusCode};
use tokio::sync::watch;

use crate::semantics::fields;

/// The longest wait for a decision. Many upstreams never make one.
const DECISION_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContentDecision {
    Undecided,
    Requested,
    /// The upstream sent its final response without requesting the content, and that response is
    /// still being read.
    Answered,
    /// That response has been read or dropped.
    Refused,
}

/// The upstream's decision about the content of one request. Clones share it.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct ExpectContinue(Arc<watch::Sender<ContentDecision>>);

/// Resolves when the content is to be sent; fails when it never is.
pub(super) type ContentRequested =
    Pin<Box<dyn Future<Output = Result<(), ContentNotRequested>> + Send>>;

/// The error that ends content which the upstream never requested.
#[derive(Debug)]
pub(super) struct ContentNotRequested;

impl fmt::Display for ContentNotRequested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream answered without asking for the content")
    }
}

impl std::error::Error for ContentNotRequested {}

impl ExpectContinue {
    /// The expectation of a request; `None` if the request has none.
    ///
    /// Registers for the upstream's informational responses by an extension of the request.
    pub(in crate::proxy) fn from_request<B>(request: &mut Request<B>) -> Option<Self> {
        let is_continue = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
        if !fields::list(request.headers(), &EXPECT).any(is_continue) {
            return None;
        }
        let expectation = Self(Arc::new(watch::Sender::new(ContentDecision::Undecided)));
        let listener = expectation.clone();
        hyper::ext::on_informational(request, move |response| {
            if response.status() == StatusCode::CONTINUE {
                listener.change(ContentDecision::Undecided, ContentDecision::Requested);
            }
        });
        Some(expectation)
    }

    pub(super) fn wait_until_requested(&self) -> ContentRequested {
        let mut decision = self.0.subscribe();
        Box::pin(async move {
            let decided = decision.wait_for(|now| *now != ContentDecision::Undecided);
            if tokio::time::timeout(DECISION_TIMEOUT, decided)
                .await
                .is_err()
            {
                return Ok(());
            }
            let is_final = |now: &ContentDecision| {
                matches!(now, ContentDecision::Requested | ContentDecision::Refused)
            };
            match decision.wait_for(is_final).await {
                Ok(now) if *now == ContentDecision::Requested => Ok(()),
                _ => Err(ContentNotRequested),
            }
        })
    }

    /// Records that the final response's head has arrived. Content that was not requested by then
    /// is not sent.
    pub(in crate::proxy) fn response_started(self) -> ResponseInProgress {
        self.change(ContentDecision::Undecided, ContentDecision::Answered);
        ResponseInProgress(self)
    }

    fn change(&self, from: ContentDecision, to: ContentDecision) {
        self.0.send_if_modified(|now| {
            let applies = *now == from;
            if applies {
                *now = to;
            }
            applies
        });
    }
}

/// Ends a request's unrequested content when dropped with the response.
///
/// Ending it earlier would make hyper close the connection and cut the response off.
#[derive(Debug)]
pub(in crate::proxy) struct ResponseInProgress(ExpectContinue);

impl Drop for ResponseInProgress {
    fn drop(&mut self) {
        self.0
            .change(ContentDecision::Answered, ContentDecision::Refused);
    }
}
