//! Requests that come back (RFC 9110 §7.6.3).

use std::time::Instant;

use tokio::net::TcpListener;
use tokio::process::Command;

use crate::example::{Example, PATIENCE, program};
use crate::origin::{Origin, fresh};
use crate::raw::{exchange, last_get};

async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

async fn proxy(listen: u16, upstream: u16) -> Example {
    let mut command = Command::new(program("proxy"));
    command
        .args(["--listen", &format!("127.0.0.1:{listen}")])
        .args(["--upstream", &format!("http://127.0.0.1:{upstream}")])
        .env("RUST_LOG", "off")
        .kill_on_drop(true);
    Example::run(&mut command).await
}

/// A proxy before itself, and two before each other.
#[tokio::test]
async fn a_loop_is_answered_508_at_once() {
    let (one, two, three) = (free_port().await, free_port().await, free_port().await);
    let _proxies = (
        proxy(one, one).await,
        proxy(two, three).await,
        proxy(three, two).await,
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
