//! A client that does not read removed responses, beside others whose pages are to be stored.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::http2_client::Http2Client;
use super::limit_counts::{reached, start, until, warned};
use crate::example::{Example, PATIENCE};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

/// More than the system takes of a response that is not read.
const LENGTH: usize = 6_000_000;
/// The pages that are kept take more than half of `--max-lingering-bytes`.
const PAGES: usize = 14;
const FLAGS: [&str; 12] = [
    "--max-lingering-bytes",
    "64MiB",
    "--max-body",
    "8MiB",
    "--capacity",
    "512MiB",
    "--idle-timeout",
    "10m",
    "--client-timeout",
    "10m",
    "--min-download-rate",
    "0B",
];

/// Large pages below `/big`, one of 300 kB elsewhere; writes succeed.
async fn pages() -> Origin {
    let (large, page) = (fresh(&"x".repeat(LENGTH)), fresh(&"x".repeat(300_000)));
    Origin::start(move |heard| {
        let said = match (heard.head.starts_with("POST"), heard.head.contains("/big")) {
            (true, _) => ok("", "written"),
            (_, true) => large.clone(),
            _ => page.clone(),
        };
        vec![Step::Say(said.into_bytes())]
    })
    .await
}

fn large_pages() -> impl Iterator<Item = String> {
    (0..PAGES).map(|number| format!("/big/{number}"))
}

/// Stores the large pages, and one for the reader that is honest.
async fn store_pages(proxy: &Example) {
    for path in large_pages().chain(["/big/honest".to_owned()]) {
        exchange(proxy.port(), last_get(&path)).await;
    }
}

/// Removes the large pages from the store. The limit is exceeded then.
async fn remove_pages(proxy: &Example) {
    for path in large_pages().chain(["/big/honest".to_owned()]) {
        let post = last_get(&path).replacen("GET", "POST", 1);
        let post = post.replacen("\r\n", "\r\ncontent-length: 0\r\n", 1);
        let said = exchange(proxy.port(), post).await;
        assert!(said.ends_with("written"), "{said}");
    }
}

/// A client at another address that reads its page slowly until it is `told`. Returns how much it
/// has got.
async fn read_slowly(mut reader: Raw, told: &Cell<bool>) -> usize {
    let mut received = 0;
    loop {
        let more = reader.hear_some(20_000).await;
        if more == 0 {
            return received;
        }
        received += more;
        if !told.get() {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Reads so many whole pages on one connection of a third address.
async fn read_pages(proxy: &Example, count: usize) -> Raw {
    let mut reader = Raw::connect_from("127.0.0.4", proxy.port()).await;
    for _ in 0..count {
        reader
            .say("GET /big/0 HTTP/1.1\r\nhost: test.example\r\n\r\n")
            .await;
        let mut received = 0;
        while received <= LENGTH {
            received += reader.hear_some(LENGTH).await;
        }
    }
    reader
}

/// Removes the pages while they are read, and waits until others can have theirs stored. `greedy`
/// goes on for as long.
async fn others_are_stored(proxy: &Example, greedy: impl Future<Output = ()>) {
    let mut honest = Raw::connect_from("127.0.0.3", proxy.port()).await;
    honest.say(last_get("/big/honest")).await;
    let begun = honest.hear_some(1).await;
    assert_eq!(begun, 1);
    let mut fast = read_pages(proxy, 2 * PAGES).await;
    remove_pages(proxy).await;
    let is_over = Cell::new(false);
    let others = async {
        until("a page of others is stored", || async {
            exchange(proxy.port(), last_get("/page"))
                .await
                .contains("; hit")
        })
        .await;
        until("slow clients are counted", || async {
            reached(proxy, "slow_clients").await > 0
        })
        .await;
        // The honest one is not ended later, either.
        sleep(Duration::from_secs(3)).await;
        is_over.set(true);
    };
    let others = async {
        tokio::select! {
            () = others => {}
            () = greedy => unreachable!("it goes on"),
        }
    };
    let ((), received) = tokio::join!(others, read_slowly(honest, &is_over));
    // One that has read all of even more is not ended.
    fast.say(last_get("/page")).await;
    assert!(fast.hear_all().await.len() >= 300_000);
    // With the head.
    assert!(received > LENGTH, "the honest reader has got {received}");
}

/// The greedy client has a connection for each page, and reads so many bytes of each now and then.
async fn over_http_1(bytes: usize) {
    let origin = pages().await;
    let (proxy, log) = start(&origin, &FLAGS).await;
    store_pages(&proxy).await;
    let mut greedy = Vec::new();
    for path in large_pages() {
        let mut raw = Raw::connect_from("127.0.0.2", proxy.port()).await;
        raw.say(last_get(&path)).await;
        assert!(raw.hear_until("\r\n\r\n").await.contains("; hit"));
        greedy.push(raw);
    }
    let reads = async {
        loop {
            for raw in &mut greedy {
                raw.hear_some(bytes).await;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    others_are_stored(&proxy, reads).await;
    warned(log, "slow clients keep too many bytes of removed responses").await;
}

/// The greedy client has a stream for each page, two on each connection, and lets so many bytes of
/// each come now and then.
async fn over_http_2(bytes: u32) {
    let origin = pages().await;
    let (proxy, log) = start(&origin, &FLAGS).await;
    store_pages(&proxy).await;
    let mut greedy = Vec::new();
    for paths in large_pages().collect::<Vec<_>>().chunks(2) {
        let mut client = Http2Client::connect_from("127.0.0.2", proxy.port(), 1000).await;
        let mut streams = Vec::new();
        for path in paths {
            streams.push(client.request("GET", path, None).await);
        }
        client.receive(2000).await;
        greedy.push((client, streams));
    }
    let reads = async {
        loop {
            for (client, streams) in &mut greedy {
                for stream in streams.iter().filter(|_| bytes > 0) {
                    client.open(*stream, bytes).await;
                }
                client.stays_for(Duration::from_millis(10)).await;
            }
        }
    };
    others_are_stored(&proxy, reads).await;
    warned(log, "slow clients keep too many bytes of removed responses").await;
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_keep_pages_of_others_from_being_stored() {
    over_http_1(0).await;
}

#[tokio::test]
async fn a_client_that_trickles_does_not_keep_pages_of_others_from_being_stored() {
    over_http_1(5000).await;
}

#[tokio::test]
async fn streams_that_never_read_do_not_keep_pages_of_others_from_being_stored() {
    over_http_2(0).await;
}

#[tokio::test]
async fn streams_that_trickle_do_not_keep_pages_of_others_from_being_stored() {
    over_http_2(100).await;
}

/// A few bytes of a page keep all of it.
#[tokio::test]
async fn ranges_that_are_not_read_do_not_keep_pages_of_others_from_being_stored() {
    let origin = pages().await;
    let (proxy, _log) = start(&origin, &FLAGS).await;
    store_pages(&proxy).await;
    let mut greedy = Http2Client::connect_from("127.0.0.2", proxy.port(), 0).await;
    for path in large_pages() {
        greedy.get_ranges(&path, "bytes=0-0,5-5").await;
    }
    greedy.stays_for(Duration::from_secs(1)).await;
    let reads = async {
        loop {
            greedy.stays_for(Duration::from_millis(100)).await;
            sleep(Duration::from_millis(10)).await;
        }
    };
    others_are_stored(&proxy, reads).await;
}

/// Nothing ends while there is room for what lingers.
#[tokio::test]
async fn slow_readers_are_left_alone_while_little_lingers() {
    let origin = pages().await;
    let (proxy, _log) = start(&origin, &FLAGS).await;
    store_pages(&proxy).await;
    let mut readers = Vec::new();
    for path in large_pages().take(3) {
        let mut raw = Raw::connect_from("127.0.0.2", proxy.port()).await;
        raw.say(last_get(&path)).await;
        raw.hear_some(1).await;
        readers.push(raw);
    }
    remove_pages(&proxy).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(reached(&proxy, "slow_clients").await, 0);
    for reader in readers {
        let all = timeout(PATIENCE, reader.hear_all()).await;
        assert!(all.expect("it ends").len() > LENGTH);
    }
}
