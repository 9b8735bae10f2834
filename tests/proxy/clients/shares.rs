//! P9: a client is known by its address, so that its requests speak for itself alone.

use tokio::task::JoinSet;

use crate::example::Example;
use crate::folder::Folder;
use crate::origin::{Heard, Origin, Step, ok};
use crate::raw::{Raw, exchange, last_get};

/// A GET with a field of this value that makes it fail, or not.
fn get(name: &str, number: usize) -> String {
    format!("GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{name}: {number}\r\n\r\n")
}

/// Failures of many different requests speak for all, unless one client has sent them.
#[tokio::test]
async fn requests_of_one_address_that_fail_do_not_end_the_refreshes_for_another() {
    let page = ok(
        "cache-control: max-age=0, stale-while-revalidate=3600\r\n",
        "hello",
    );
    let origin = Origin::start(move |heard: &Heard| {
        let said = match heard.field("x-odd").is_empty() {
            true => page.clone(),
            false => "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
        };
        vec![Step::Content, Step::Say(said.into_bytes())]
    })
    .await;
    let folder = Folder::new("shares");
    let text = format!(
        "upstream = \"{}\"\n[cache]\nfailure_backoff = \"1h\"\n",
        origin.url()
    );
    folder.write("proxy.toml", text);
    let proxy = Example::start("proxy", &["--config", &folder.file("proxy.toml")]).await;
    exchange(proxy.port(), get("x-honest", 0)).await;
    origin.heard_one();
    for number in 0..200 {
        let mut stranger = Raw::connect_from("127.0.0.2", proxy.port()).await;
        stranger.say(get("x-odd", number)).await;
        stranger.hear_all().await;
    }
    // The request of another client makes a refresh.
    for number in 1.. {
        exchange(proxy.port(), get("x-honest", number)).await;
        if origin
            .heard()
            .iter()
            .any(|heard| !heard.field("x-honest").is_empty())
        {
            return;
        }
        assert!(number < 500, "the page is not refreshed");
    }
}

/// The calls of one client that hang leave places before the upstream to another one, unless the
/// proxy is told that its peers are proxies.
#[tokio::test]
async fn calls_of_one_address_that_hang_leave_places_to_others() {
    for (options, taken, is_answered) in [(&[][..], 2, true), (&["--trust-forwarded"], 4, false)] {
        let origin = Origin::start(|heard: &Heard| match heard.head.contains("/hangs") {
            true => vec![Step::Content, Step::Hang],
            false => vec![Step::Content, Step::Say(ok("", "hello").into_bytes())],
        })
        .await;
        let url = origin.url();
        let places = [
            "--upstream",
            &url,
            "--concurrency",
            "4",
            "--queue-timeout",
            "500ms",
        ];
        let proxy = Example::start("proxy", &[&places, options].concat()).await;
        let mut strangers = JoinSet::new();
        for number in 0..6 {
            let mut stranger = Raw::connect_from("127.0.0.2", proxy.port()).await;
            let line = format!("GET /hangs/{number} HTTP/1.1");
            stranger.say(format!("{line}\r\nhost: a\r\n\r\n")).await;
            strangers.spawn(async move { stranger.hear_until("\r\n\r\n").await });
        }
        // The others wait in vain.
        for _ in taken..6 {
            let said = strangers.join_next().await.expect("one").expect("no panic");
            assert!(said.contains(" 503 "), "{options:?}: {said}");
        }
        assert_eq!(origin.heard().len(), taken, "{options:?}");
        for path in ["/", "/other"] {
            let mut honest = Raw::connect(proxy.port()).await;
            honest.say(last_get(path)).await;
            let said = honest.hear_all().await;
            assert_eq!(said.ends_with("hello"), is_answered, "{options:?}: {said}");
            assert_eq!(said.contains(" 503 "), !is_answered, "{options:?}: {said}");
        }
    }
}
