//! Host names with several addresses, and their changes.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};
use tower_response_cache::proxy::{ProxyErrorKind, ReverseProxy};

use crate::call::{call, get};
use crate::example::PATIENCE;
use crate::origin::{Origin, ok};

const SOON: Duration = Duration::from_millis(50);

/// A proxy for a host whose addresses end in these numbers.
fn proxy(port: u16, numbers: &'static [u8]) -> ReverseProxy {
    let proxy = ReverseProxy::new(&format!("http://many.test:{port}")).expect("a URL");
    proxy.resolver(move |host| {
        assert_eq!(host, "many.test");
        let addresses = numbers
            .iter()
            .map(|number| IpAddr::from([127, 0, 0, *number]));
        let addresses: Vec<_> = addresses.collect();
        async { Ok(addresses) }
    })
}

/// A listener whose queue is full: it accepts no connection, and says nothing.
struct BlackHole(
    Vec<TcpStream>,
    #[allow(dead_code, reason = "held")] tokio::net::TcpListener,
);

async fn black_hole(number: u8, port: u16) -> BlackHole {
    let socket = TcpSocket::new_v4().expect("a socket");
    let address = (IpAddr::from([127, 0, 0, number]), port).into();
    socket.bind(address).expect("a port");
    let listener = socket.listen(1).expect("it listens");
    let mut queued = Vec::new();
    while let Ok(stream) = tokio::time::timeout(SOON, TcpStream::connect(address)).await {
        queued.push(stream.expect("it listens"));
    }
    BlackHole(queued, listener)
}

/// RFC 8305: connecting goes on at the next address.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_dead_address_among_others_costs_no_client_its_answer() {
    let origin = Origin::saying(ok("", "hello")).await;
    let (one, two) = (
        black_hole(2, origin.port).await,
        black_hole(3, origin.port).await,
    );
    assert!(!one.0.is_empty() && !two.0.is_empty());
    // Nothing listens at the fourth.
    for numbers in [&[2, 1][..], &[2, 3, 1], &[4, 1], &[4, 2, 4, 1], &[1, 2]] {
        let proxy = proxy(origin.port, numbers).connect_timeout(Duration::from_secs(30));
        let begin = Instant::now();
        let answer = call(&proxy, get("/")).await.expect("an answer");
        assert_eq!(answer.content.as_deref(), Ok("hello"));
        assert!(begin.elapsed() < Duration::from_secs(10), "{numbers:?}");
    }
    let proxy = proxy(origin.port, &[2, 3]).connect_timeout(Duration::from_millis(400));
    let failed = call(&proxy, get("/")).await.expect_err("nobody answers");
    assert_eq!(failed.kind(), ProxyErrorKind::ConnectTimeout);
}

#[tokio::test]
async fn a_host_without_an_address_is_an_error_of_dns() {
    for (addresses, expected) in [
        (Ok(vec![]), ProxyErrorKind::Dns),
        (Err(()), ProxyErrorKind::Dns),
        (
            Ok(vec![IpAddr::from([127, 0, 0, 9])]),
            ProxyErrorKind::Connect,
        ),
    ] {
        let proxy = ReverseProxy::new("http://many.test:9").expect("a URL");
        let proxy = proxy.resolver(move |_| {
            let addresses = addresses.clone();
            async { addresses.map_err(|()| io::Error::other("no server of names")) }
        });
        let failed = call(&proxy, get("/")).await.expect_err("it is not there");
        assert_eq!(failed.kind(), expected);
    }
}

/// Under load no connection is ever idle for long; its age ends it.
#[tokio::test]
async fn a_change_of_dns_is_followed_under_load() {
    let old = Origin::saying(ok("", "old")).await;
    let new = Origin::saying_at("127.0.0.2", old.port, ok("", "new")).await;
    let (number, port) = (Arc::new(AtomicUsize::new(1)), old.port);
    let current = number.clone();
    let proxy = ReverseProxy::new(&format!("http://moves.test:{port}")).expect("a URL");
    let proxy = proxy
        .max_connection_age(Duration::from_millis(200))
        .resolver(move |_| {
            let number = current.load(Ordering::SeqCst) as u8;
            async move { Ok(vec![IpAddr::from([127, 0, 0, number])]) }
        });
    let content = async || call(&proxy, get("/")).await.expect("an answer").content;
    assert_eq!(content().await.as_deref(), Ok("old"));
    number.store(2, Ordering::SeqCst);
    let begin = Instant::now();
    while content().await.as_deref() == Ok("old") {
        assert!(begin.elapsed() < PATIENCE, "it is not followed");
    }
    assert_eq!(content().await.as_deref(), Ok("new"));
    // The old connections are given up.
    while old.open() > 0 {
        assert!(begin.elapsed() < PATIENCE, "it is kept");
        tokio::time::sleep(SOON).await;
    }
    drop(new);
}

/// Within its age a connection is kept; a proxy that keeps none has one for each request.
#[tokio::test]
async fn a_connection_is_used_for_its_age() {
    for (age, connections) in [(Duration::from_secs(3600), 1), (Duration::ZERO, 5)] {
        let origin = Origin::saying(ok("", "hello")).await;
        let proxy = ReverseProxy::new(&origin.url()).expect("a URL");
        let proxy = proxy.max_connection_age(age);
        for _ in 0..5 {
            call(&proxy, get("/")).await.expect("an answer");
        }
        let used: std::collections::HashSet<_> = origin
            .heard()
            .iter()
            .map(|heard| heard.connection)
            .collect();
        assert_eq!(used.len(), connections, "{age:?}");
    }
}
