//! `Expect: 100-continue` (RFC 9110 §10.1.1): the upstream decides about a request's content.
//!
//! ```text
//!  undecided --100 (Continue)--------> the content is sent
//!      |     --final response's head-> the content waits --response has ended--> error
//!      +-----1 s without a decision--> the content is sent
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::EXPECT;
use http::{Request, StatusCode};
use tokio::sync::Notify;

use crate::semantics::fields;

use super::response_progress::ResponseProgress;

/// The longest wait for a decision. Many upstreams never make one.
const DECISION_TIMEOUT: Duration = Duration::from_secs(1);

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

/// What the content of a request waits for; `None` if the request has no expectation.
///
/// Registers for the upstream's informational responses by an extension of the request.
pub(super) fn expectation_of<B>(
    request: &mut Request<B>,
    response: &ResponseProgress,
) -> Option<ContentRequested> {
    let is_continue = |value: &[u8]| value.eq_ignore_ascii_case(b"100-continue");
    if !fields::list(request.headers(), &EXPECT).any(is_continue) {
        return None;
    }
    let requested = Arc::new(Notify::new());
    let listener = requested.clone();
    hyper::ext::on_informational(request, move |informational| {
        if informational.status() == StatusCode::CONTINUE {
            listener.notify_one();
        }
    });
    let response = response.clone();
    Some(Box::pin(async move {
        let has_response = tokio::select! {
            biased;
            () = requested.notified() => return Ok(()),
            has_response = response.wait_for_head(DECISION_TIMEOUT) => has_response,
        };
        if !has_response {
            return Ok(());
        }
        response.wait_for_end().await;
        Err(ContentNotRequested)
    }))
}
