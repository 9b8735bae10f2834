//! A page that may be used stale: it is refreshed by a request of another client as soon as those of
//! a stranger hang.

use http::Request;

use super::{FOR_EVER, MS, Stranger, beside, honest, odd, origin, own_page, with_clients};
use crate::support::time::SECOND;
use crate::support::with;

const OWN_PAGES: usize = 40;

fn honest_with_cookie(number: usize) -> Request<()> {
    with(honest(number), "cookie", &format!("s={number}"))
}

/// A request of the stranger for the page of all.
fn on_page(what: &'static str) -> impl Fn(usize) -> Request<()> + Clone {
    move |number| odd("/a", what, number)
}

fn hangs_with_cookie(number: usize) -> Request<()> {
    with(odd("/a", "hangs", number), "cookie", &format!("t={number}"))
}

/// One of two is for a page of its own.
fn hangs_on_own_pages(number: usize) -> Request<()> {
    match number.is_multiple_of(2) {
        true => odd(&own_page(number / 2 % OWN_PAGES), "hangs", number),
        false => odd("/a", "hangs", number),
    }
}

/// What the page is refreshed after, on average, beside a stranger who sends 20 requests a second.
async fn assert_fresh(
    what: &str,
    honest: fn(usize) -> Request<()>,
    request: impl Fn(usize) -> Request<()> + Clone + Send + 'static,
) {
    // A request makes the refresh, and a later one gets what it has brought. One that fails after 9 s
    // is waited for as long as the page usually takes, twice.
    for (cost, most) in [(50 * MS, SECOND), (4 * SECOND, 12 * SECOND)] {
        let stranger = Stranger {
            request: Box::new(request.clone()),
            pause: 50,
            patience: FOR_EVER,
            own_pages: OWN_PAGES,
        };
        let page = origin(cost, "public, max-age=1, stale-while-revalidate=86400");
        let got = beside(with_clients(), page, honest, stranger).await;
        println!("{cost:?}, {what}: {got:?}");
        assert!(got.stale <= most, "{cost:?}, {what}: {got:?}");
        assert!(got.waited_longest.is_zero(), "{cost:?}, {what}: {got:?}");
        assert_eq!(got.failed, 0, "{cost:?}, {what}: {got:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_another_kind_that_hang_keep_nothing_stale() {
    assert_fresh("a cookie", honest, hangs_with_cookie).await;
    assert_fresh("no cookie", honest_with_cookie, on_page("hangs")).await;
}

#[tokio::test(start_paused = true)]
async fn requests_that_hang_or_trickle_keep_nothing_stale() {
    for what in ["hangs", "trickles"] {
        assert_fresh(what, honest, on_page(what)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail_are_refused_or_slow_keep_nothing_stale() {
    for what in ["fails-at-once", "fails", "is-refused", "is-slow"] {
        assert_fresh(what, honest, on_page(what)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn own_pages_of_a_stranger_take_half_of_the_places_at_most() {
    assert_fresh("own pages", honest, hangs_on_own_pages).await;
}
