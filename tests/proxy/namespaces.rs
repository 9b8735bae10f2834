//! Proxies before different sites on one Redis.

use std::process::Stdio;

use tokio::io::AsyncReadExt;

use crate::example::{Example, example};
use crate::origin::{Origin, Step, ok};
use crate::raw::Raw;
use crate::redis::{RedisServer, until};

/// An origin whose every page says its name.
async fn site(name: &'static str) -> Origin {
    Origin::start(move |heard| {
        let page = format!("{name} {}", heard.request_line());
        let fields = "cache-control: max-age=60\r\nvary: accept-language\r\n";
        vec![Step::Content, Step::Say(ok(fields, &page).into())]
    })
    .await
}

async fn proxy(redis: &RedisServer, arguments: &[&str]) -> Example {
    Example::run(&mut command(redis, arguments)).await
}

fn command(redis: &RedisServer, arguments: &[&str]) -> tokio::process::Command {
    let mut command = example(
        "proxy",
        &["--backend", "redis", "--redis-url", &redis.url()],
    );
    command.args(arguments);
    command
}

/// The lines that a proxy logs until it serves.
async fn warnings(redis: &RedisServer, arguments: &[&str]) -> String {
    let mut command = command(redis, arguments);
    let mut proxy = Example::run(command.env("RUST_LOG", "warn").stderr(Stdio::piped())).await;
    let mut stderr = proxy.stderr();
    ask(&proxy, "GET", "site.example", "/first").await;
    proxy.signal("TERM").await;
    let mut said = String::new();
    stderr.read_to_string(&mut said).await.expect("a pipe");
    assert!(proxy.exit().await.success());
    said
}

async fn ask(proxy: &Example, method: &str, host: &str, path: &str) -> String {
    let mut client = Raw::connect(proxy.port()).await;
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\naccept-language: de\r\n");
    client.say(format!("{head}connection: close\r\n\r\n")).await;
    client.hear_all().await
}

async fn is_hit(proxy: &Example, host: &str, path: &str) -> bool {
    ask(proxy, "GET", host, path)
        .await
        .contains("tower-response-cache; hit")
}

async fn warm(proxy: &Example, host: &str, path: &str) {
    until("it is stored", async || is_hit(proxy, host, path).await).await;
}

/// Neither answers with a page of the other one's site.
async fn assert_separate(one: &Example, other: &Example) {
    for host in ["site.example", "127.0.0.1"] {
        for path in ["/", "/a", "/a?b=c"] {
            warm(one, host, path).await;
            let said = ask(other, "GET", host, path).await;
            assert!(said.contains("two GET"), "{host} {path}: {said}");
            warm(other, host, path).await;
            for (proxy, name) in [(one, "one GET"), (other, "two GET")] {
                let said = ask(proxy, "GET", host, path).await;
                assert!(said.contains(name), "{host} {path}: {said}");
            }
        }
    }
}

/// One answers with what the other one has stored. A single lookup may take longer than its deadline.
async fn assert_shared(one: &Example, other: &Example, path: &str) {
    for number in 0..10 {
        let path = format!("{path}{number}");
        warm(one, "site.example", &path).await;
        if is_hit(other, "site.example", &path).await {
            return;
        }
    }
    panic!("{path} is not shared");
}

#[tokio::test]
async fn proxies_before_different_sites_never_serve_each_others_pages() {
    let redis = RedisServer::start().await;
    let (one, two) = (site("one").await, site("two").await);
    for host in ["preserve", "upstream"] {
        let options = ["--host", host, "--upstream"];
        let one = proxy(&redis, &[&options[..], &[&one.url()]].concat()).await;
        let two = proxy(&redis, &[&options[..], &[&two.url()]].concat()).await;
        assert_separate(&one, &two).await;
    }
}

/// A namespace that both are given makes their invalidations reach each other, and no more.
#[tokio::test]
async fn a_namespace_of_both_shares_invalidations_and_no_pages() {
    let redis = RedisServer::start().await;
    let (one, two) = (site("one").await, site("two").await);
    let options = ["--host", "upstream", "--namespace", "shop", "--upstream"];
    let one = proxy(&redis, &[&options[..], &[&one.url()]].concat()).await;
    let two = proxy(&redis, &[&options[..], &[&two.url()]].concat()).await;
    assert_separate(&one, &two).await;
    assert!(is_hit(&one, "site.example", "/a").await);
    ask(&two, "POST", "site.example", "/a").await;
    assert!(!is_hit(&one, "site.example", "/a").await);
}

/// What decides a page beside its key: proxies that differ in it share nothing.
#[tokio::test]
async fn proxies_with_other_keys_share_no_pages() {
    let redis = RedisServer::start().await;
    let origin = site("one").await;
    let url = origin.url();
    let plain = proxy(&redis, &["--upstream", &url]).await;
    warm(&plain, "site.example", "/a").await;
    for options in [
        &["--ignore-cookies", "session"][..],
        &["--credential-fields", "x-session"],
        &["--forwarding", "x-forwarded"],
        &["--trust-forwarded"],
        &["--host", "upstream"],
        &["--http2-upstream"],
    ] {
        let other = proxy(&redis, &[&["--upstream", &url], options].concat()).await;
        assert!(!is_hit(&other, "site.example", "/a").await, "{options:?}");
    }
    // The order of a list and a slash decide nothing.
    let more = ["--ignore-cookies", "a,b", "--upstream"];
    let one = proxy(&redis, &[&more[..], &[&url]].concat()).await;
    let slash = format!("{url}/");
    let more = ["--ignore-cookies", "b,a", "--upstream", &slash];
    let same = proxy(&redis, &more).await;
    assert_shared(&one, &same, "/b").await;
    let other = site("one").await;
    let servers = [url.clone(), other.url()];
    let one = proxy(&redis, &["--upstream", &servers.join(",")]).await;
    let turned = format!("{},{}", servers[1], servers[0]);
    let same = proxy(&redis, &["--upstream", &turned]).await;
    assert_shared(&one, &same, "/c").await;
}

/// A line with both configurations, at the first start with another one.
#[tokio::test]
async fn another_configuration_in_a_namespace_is_told_at_start() {
    let redis = RedisServer::start().await;
    let (one, two) = (site("one").await, site("two").await);
    let (first, second) = (one.url(), two.url());
    let start = async |url: &str, more: &[&str]| {
        let options = [&["--upstream", url][..], more].concat();
        warnings(&redis, &options).await
    };
    let named = ["--namespace", "shop"];
    assert_eq!(start(&first, &named).await, "");
    assert_eq!(start(&first, &named).await, "");
    let said = start(&second, &named).await;
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["WARN", "another configuration", "shop:o", &first, &second] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(start(&second, &named).await, "");
    // Without a namespace, each has its own.
    assert_eq!(start(&first, &[]).await, "");
    assert_eq!(start(&second, &[]).await, "");
    let keys = redis.command(&["KEYS", "proxy-*:o"]).await;
    assert_eq!(keys.array().len(), 2, "{keys:?}");
}

#[tokio::test]
async fn a_wrong_namespace_is_explained() {
    let redis = RedisServer::start().await;
    let options = ["--upstream", "http://a", "--namespace", "a:b"];
    let output = command(&redis, &options).output().await.expect("an output");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        said.contains("--namespace: invalid Redis namespace \"a:b\""),
        "{said}"
    );
}
