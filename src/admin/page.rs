//! The page for people: one file without anything from elsewhere.

use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_FRAME_OPTIONS};

use super::answer::{Answer, content, with};

const PAGE: &str = include_str!("page.html");

/// What the page may do: run its one script, use its one style sheet, and ask this service.
///
/// The hashes are those of the text between the tags. If the page has changed, a test fails and
/// prints the new ones.
const POLICY: &str = concat!(
    "default-src 'none'; ",
    "script-src 'sha256-rBuzNRDEuaa80KcrP5IBkOVU4QNaDjM4HyLoxWkSHmU='; ",
    "style-src 'sha256-P+d4O3RDRO6A/hAgDaRx0mWIFJyoZVNhJgTM31HXeDw='; ",
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'",
);

pub(super) fn page() -> Answer {
    let page = content(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    let page = with(page, CONTENT_SECURITY_POLICY, POLICY);
    let page = with(page, REFERRER_POLICY, "no-referrer");
    with(page, X_FRAME_OPTIONS, "DENY")
}
