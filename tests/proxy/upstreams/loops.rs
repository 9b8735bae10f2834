//! Requests that come back (RFC 9110 §7.6.3).

use std::time::Instant;

use tokio::process::Command;

use crate::example::{Example, PATIENCE, program};
use crate::origin::{Nobody, Origin, fresh};
use crate::raw::{exchange, last_get};

/// Starts a proxy at a port that was bound until now: no other test takes it.
async fn proxy(listen: Nobody, upstream: u16) -> Example {
    let address = listen.url().replace("http://", "");
    let mut command = Command::new(program("proxy"));
    command
        .args(["--listen", &address])
        .args(["--upstream", &format!("http://127.0.0.1:{upstream}")])
        .env("RUST_LOG", "off")
        .kill_on_drop(true);
    drop(listen);
    Example::run(&mut command).await
}

/// A proxy before itself, and two before each other.
#[tokio::test]
async fn a_loop_is_answered_508_at_once() {
    let bound = [Nobody::new(), Nobody::new(), Nobody::new()];
    let [one, two, three] = [0, 1, 2].map(|number: usize| bound[number].port());
    let [first, second, third] = bound;
    let _proxies = (
        proxy(first, one).await,
        proxy(second, three).await,
        proxy(third, two).await,
    );
    for port in [one, two, three] {
        let begin = Instant::now();
        let said = exchange(port, last_get("/")).await;
        assert!(said.starts_with("HTTP/1.1 508 "), "{said}");
        assert!(begin.elapsed() < PATIENCE / 10);
    }
}

/// Proxies of one name in a row are no loop.
#[tokio::test]
async fn proxies_in_a_row_are_no_loop() {
    let origin = Origin::saying(fresh("hello")).await;
    let last = Example::start("proxy", &["--upstream", &origin.url()]).await;
    let middle = Example::start("proxy", &["--upstream", last.base()]).await;
    let first = Example::start("proxy", &["--upstream", middle.base()]).await;
    assert!(
        exchange(first.port(), last_get("/"))
            .await
            .ends_with("hello")
    );
    let via = origin.heard_one().field("via");
    assert_eq!(
        via.matches("1.1 tower-response-cache (").count(),
        3,
        "{via}"
    );
    // Each proxy recognizes its own `Via`.
    let again = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nvia: {via}\r\n\r\n");
    let said = exchange(last.port(), again.replace(" | ", "\r\nvia: ")).await;
    assert!(said.starts_with("HTTP/1.1 508 "), "{said}");
}
