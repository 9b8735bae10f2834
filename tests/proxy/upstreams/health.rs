//! Active health checks of servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::example::{Example, PATIENCE};
use crate::origin::{Origin, Step, ok};
use crate::raw::{exchange, last_get};

/// A server that passes its checks while `is_well`; other requests it always answers.
async fn server(is_well: &Arc<AtomicBool>, unwell: Step) -> Origin {
    let is_well = is_well.clone();
    Origin::start(move |heard| {
        let is_check = heard.head.starts_with("GET /up ");
        match is_check && !is_well.load(Ordering::SeqCst) {
            true => vec![unwell.clone()],
            false => vec![Step::Say(
                ok("cache-control: no-store\r\n", "hello").into_bytes(),
            )],
        }
    })
    .await
}

const CHECKS: [&str; 10] = [
    "--health-path",
    "/up",
    "--health-interval",
    "20ms",
    "--health-timeout",
    "200ms",
    "--health-failures",
    "2",
    "--health-successes",
    "2",
];

async fn proxy(servers: [&Origin; 2]) -> Example {
    let urls = servers.map(Origin::url).join(",");
    Example::start("proxy", &[&["--upstream", &urls], &CHECKS[..]].concat()).await
}

/// How many of ten requests each of the servers gets.
async fn shares(proxy: &Example, servers: [&Origin; 2]) -> [usize; 2] {
    for server in servers {
        server.heard();
    }
    for number in 0..10 {
        let said = exchange(proxy.port(), last_get(&format!("/{number}"))).await;
        assert!(said.ends_with("hello"), "{said}");
    }
    servers.map(|server| {
        let heard = server.heard();
        let others = heard.iter().filter(|heard| !heard.head.contains(" /up "));
        others.count()
    })
}

async fn until(mut is_reached: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !is_reached().await {
        assert!(begin.elapsed() < PATIENCE, "nothing changes");
        sleep(Duration::from_millis(20)).await;
    }
}

/// A server gets no requests while it fails its checks, whatever the failure.
#[tokio::test]
async fn a_server_that_fails_its_checks_gets_no_requests() {
    let failure = b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n";
    for unwell in [Step::Say(failure.to_vec()), Step::Hang, Step::Close] {
        let (well, changes) = (Arc::new(true.into()), Arc::new(AtomicBool::new(true)));
        let good = server(&well, Step::Close).await;
        let other = server(&changes, unwell).await;
        let proxy = proxy([&good, &other]).await;
        let both = [&good, &other];
        until(async || shares(&proxy, both).await == [5, 5]).await;
        changes.store(false, Ordering::SeqCst);
        until(async || shares(&proxy, both).await == [10, 0]).await;
        changes.store(true, Ordering::SeqCst);
        until(async || shares(&proxy, both).await == [5, 5]).await;
    }
}

/// If all fail, all are asked.
#[tokio::test]
async fn servers_that_all_fail_their_checks_are_asked() {
    let unwell = Arc::new(AtomicBool::new(false));
    let (one, two) = (
        server(&unwell, Step::Close).await,
        server(&unwell, Step::Close).await,
    );
    let proxy = proxy([&one, &two]).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(shares(&proxy, [&one, &two]).await, [5, 5]);
}
