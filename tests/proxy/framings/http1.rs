//! Framings of HTTP/1.1.

use tokio::time::{Duration, timeout};

use super::http1_cases::{Outcome, all};
use super::origins::{Pair, saw};
use crate::raw::Raw;

/// RFC 9112 §11.2. Whatever the proxy forwards, the origin reads as the same number of requests,
/// in the same order, and nothing is left on the connection for the next client.
#[tokio::test]
async fn origins_read_requests_as_the_proxy_does() {
    let mut wrong = Vec::new();
    for mut pair in Pair::both("framings").await {
        let cases = all();
        assert!(cases.len() > 60);
        for (case, request, outcome) in cases {
            let mut raw = Raw::connect(pair.proxy.port()).await;
            raw.say(&request).await;
            raw.stop_saying().await;
            let said = timeout(Duration::from_secs(20), raw.hear_all()).await;
            let said = said.unwrap_or_else(|_| panic!("{case}: no end"));
            let mut seen = pair.seen().await;
            seen.extend(pair.assert_next_client_is_answered(case).await);
            let told = saw(&said);
            let is_as_expected = match outcome {
                Outcome::Forwarded(count) => told == seen && told.len() == count,
                // The next one is a request of its own, where the connection is kept.
                Outcome::Rejected(status) => {
                    let is_next = seen.iter().all(|line| line.contains("/next "));
                    let is_rejected = said.starts_with(&format!("HTTP/1.1 {status} "));
                    is_rejected && told == seen && is_next
                }
                Outcome::Broken => {
                    seen.len() <= 1 && seen.iter().all(|line| line.contains("/first"))
                }
            };
            if !is_as_expected {
                let status = said.lines().next().unwrap_or_default();
                wrong.push(format!(
                    "{} {case}: expected {outcome:?}; {status}, told {told:?}, seen {seen:?}",
                    pair.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
