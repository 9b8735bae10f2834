//! A page that may not be used stale: honest clients wait for their own calls, not for those of a
//! stranger.

use std::time::Duration;

use super::{FOR_EVER, MS, Stranger, beside, honest, odd, origin, with_clients, without_clients};
use crate::support::time::SECOND;

/// What a stranger sends, after how many milliseconds each, and when it gives that up.
const STRANGERS: [(&str, u64, Duration); 8] = [
    ("hangs", 50, FOR_EVER),
    ("hangs", 50, SECOND.saturating_mul(9)),
    ("trickles", 50, FOR_EVER),
    ("breaks-off", 50, FOR_EVER),
    ("is-refused", 50, FOR_EVER),
    ("is-slow", 50, FOR_EVER),
    ("fails", 50, FOR_EVER),
    ("fails-at-once", 50, FOR_EVER),
];

fn stranger((what, pause, patience): (&'static str, u64, Duration)) -> Stranger {
    Stranger {
        request: Box::new(move |number| odd("/a", what, number)),
        pause,
        patience,
        own_pages: 0,
    }
}

/// Apart from once, for the first call of the stranger.
#[tokio::test(start_paused = true)]
async fn others_wait_for_the_calls_of_a_stranger_once() {
    let slower = (500, STRANGERS[0]);
    for (cost, case) in STRANGERS.map(|case| (50, case)).into_iter().chain([slower]) {
        let cost = MS * cost;
        let page = origin(cost, "public, max-age=1");
        let got = beside(with_clients(), page, honest, stranger(case)).await;
        println!("{cost:?}, {case:?}: {got:?}");
        assert!(got.waited <= cost + 600 * MS, "{cost:?}, {case:?}: {got:?}");
        assert!(
            got.waited_longest <= 10 * SECOND + cost,
            "{cost:?}, {case:?}: {got:?}"
        );
        assert_eq!(got.failed, 0, "{cost:?}, {case:?}: {got:?}");
    }
}

/// A page that is fresh for longer is fetched less often, and is waited for as often.
#[tokio::test(start_paused = true)]
async fn others_wait_for_slow_calls_of_a_stranger_once_however_long_the_page_is_fresh() {
    for directives in ["public, max-age=10", "public, max-age=60"] {
        for (what, pause) in [("is-slow", 50), ("is-slow", 1000), ("hangs", 50)] {
            let case = (what, pause, FOR_EVER);
            let page = origin(50 * MS, directives);
            let got = beside(with_clients(), page, honest, stranger(case)).await;
            println!("{directives}, {case:?}: {got:?}");
            assert!(got.waited <= 700 * MS, "{directives}, {case:?}: {got:?}");
            assert_eq!(got.failed, 0, "{directives}, {case:?}: {got:?}");
        }
    }
}

/// One call of a page at a time, or two: who calls more often than others is taken for a stranger.
#[tokio::test(start_paused = true)]
async fn a_page_that_is_slow_for_all_is_fetched_once() {
    for cost in [1500 * MS, 5 * SECOND] {
        let page = origin(cost, "public, max-age=10");
        let calls = async |layer| {
            let as_all = Stranger {
                request: Box::new(|number| odd("/a", "as-all", number)),
                pause: 50,
                patience: FOR_EVER,
                own_pages: 0,
            };
            beside(layer, page.clone(), honest, as_all).await.calls
        };
        let (without, with) = (calls(without_clients()).await, calls(with_clients()).await);
        println!("{cost:?}: {without} calls, {with} where clients are told apart");
        assert!(2 * with <= 5 * without, "{cost:?}: {without}, {with}");
    }
}

/// What `client_by` is for.
#[tokio::test(start_paused = true)]
async fn others_wait_for_a_stranger_again_and_again_where_clients_are_not_told_apart() {
    let page = origin(50 * MS, "public, max-age=1");
    let got = beside(without_clients(), page, honest, stranger(STRANGERS[0])).await;
    println!("{got:?}");
    assert!(got.waited > 5 * SECOND, "{got:?}");
}
