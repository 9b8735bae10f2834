//! Framings of HTTP/1.1.

use tokio::time::{Duration, timeout};

use super::http1_cases::{Outcome, all};
use super::origins::{Pair, numbered, saw};
use crate::raw::Raw;

/// RFC 9112 §11.2. Whatever the proxy forwards, the origin reads as the same number of requests,
/// in the same order, and nothing is left on the connection for the next client.
#[tokio::test]
async fn origins_read_requests_as_the_proxy_does() {
    let mut wrong = Vec::new();
    for pair in Pair::both("framings").await {
        let cases = all();
        assert!(cases.len() > 60);
        let mut answers = Vec::new();
        for (number, (case, request, _)) in cases.iter().enumerate() {
            let request = std::str::from_utf8(request).expect("text");
            let mut raw = Raw::connect(pair.proxy.port()).await;
            raw.say(numbered(request, number)).await;
            raw.stop_saying().await;
            let said = timeout(Duration::from_secs(20), raw.hear_all()).await;
            answers.push(said.unwrap_or_else(|_| panic!("{case}: no end")));
            pair.assert_next_client_is_answered(case, number).await;
        }
        let (seen, others) = pair.seen_of(cases.len()).await;
        if !others.is_empty() {
            wrong.push(format!("{}: seen of no case {others:?}", pair.name));
        }
        for (((case, _, outcome), said), seen) in cases.iter().zip(&answers).zip(&seen) {
            if !is_as_expected(*outcome, said, seen) {
                let status = said.lines().next().unwrap_or_default();
                wrong.push(format!(
                    "{} {case}: expected {outcome:?}; {status}, told {:?}, seen {seen:?}",
                    pair.name,
                    saw(said)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn is_as_expected(outcome: Outcome, said: &str, seen: &[String]) -> bool {
    let told = saw(said);
    match outcome {
        // nginx may answer before it has read the content, and logs a request once it has.
        Outcome::Forwarded(count) => sorted(&told) == sorted(seen) && told.len() == count,
        // The next one is a request of its own, where the connection is kept.
        Outcome::Rejected(status) => {
            let is_next = seen.iter().all(|line| line.contains("/next-"));
            let is_rejected = said.starts_with(&format!("HTTP/1.1 {status} "));
            is_rejected && told == seen && is_next
        }
        Outcome::Broken => seen.len() <= 1 && seen.iter().all(|line| line.contains("/first")),
    }
}

fn sorted<L: AsRef<str>>(lines: &[L]) -> Vec<&str> {
    let mut lines: Vec<_> = lines.iter().map(AsRef::as_ref).collect();
    lines.sort();
    lines
}
