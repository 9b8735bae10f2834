//! Arbitrary pairs of requests through the whole stack: if the second is answered by the response
//! to the first, the upstream would have got the same request.
//!
//! Promised is, whatever `Vary` says: the request line, `Host`, the absence of content, and with
//! the key hook of the proxy what it tells or believes of the host. Of the fields that `Vary` names,
//! which may be any that the upstream gets: their meaning.

use bytes::Bytes;
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::key::Authority;
use tower_response_cache::proxy::{ForwardedClaims, Forwarding, HostPolicy, Peer, ReverseProxy};

use crate::origin::{Heard, Origin, Step, ok};
use crate::spellings::{Choices, FIELDS, Spelling, meaning};

/// A proxy, and whether its cache keys have all that upstreams are told.
type Configured = (ReverseProxy, bool);

/// Sends requests one after the other through a cache of their own; what the upstream heard.
async fn heard(origin: &Origin, proxy: &Configured, requests: &[&Spelling]) -> Vec<Heard> {
    let (proxy, has_claims) = proxy;
    let mut cache = CacheLayer::new(MemoryBackend::default());
    if *has_claims {
        // As the program does where all hosts are one site, which is where claims count most.
        cache = cache.key(ForwardedClaims);
        cache = cache.authority(Authority::fixed("upstream"));
    }
    let service = ServiceBuilder::new()
        .layer(proxy.request_layer())
        .layer(cache)
        .service(proxy.clone());
    for spelling in requests {
        let content = if spelling.has_content { "x" } else { "" };
        let Some(mut request) = spelling.build(Full::new(Bytes::from(content))) else {
            continue;
        };
        let address = "192.0.2.1".parse().expect("an address");
        request.extensions_mut().insert(Peer::new(address));
        let response = service.clone().oneshot(request).await.expect("a response");
        let body = http_body_util::BodyExt::collect(response.into_body()).await;
        body.expect("a whole body");
        tokio::task::yield_now().await;
    }
    origin.heard()
}

fn lines(heard: &Heard, name: &str) -> Vec<String> {
    let lines = heard.head.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter(|(field, _)| *field == name)
        .map(|(_, value)| value.to_owned())
        .collect()
}

fn assert_equal(vary: &str, has_claims: bool, pair: [&Heard; 2], spellings: [&Spelling; 2]) {
    let target = |heard: &Heard| {
        let mut line = heard.request_line().split(' ');
        (line.nth(1).map(str::to_owned), heard.content.clone())
    };
    assert_eq!(target(pair[0]), target(pair[1]), "{spellings:#?}");
    let mut names: Vec<&str> = vec!["host", "content-length", "transfer-encoding"];
    if has_claims {
        names.extend(["x-forwarded-host", "x_forwarded_host", "x-forwarded-proto"]);
    }
    if !vary.is_empty() {
        // Everything that the upstream got, named by `Vary` or not.
        names = pair
            .iter()
            .flat_map(|heard| heard.head.lines().skip(1))
            .filter_map(|line| line.split_once(": "))
            .map(|(name, _)| name)
            .collect();
    }
    for name in names {
        let [one, other] = pair.map(|heard| meaning(name, &lines(heard, name)));
        assert_eq!(one, other, "{name}: {pair:#?} {spellings:#?}");
    }
}

async fn check(has_claims: bool, options: impl Fn(ReverseProxy) -> ReverseProxy) {
    let all = FIELDS.join(", ");
    for vary in ["", &all] {
        let fields = format!("cache-control: public, max-age=60\r\nvary: {vary}\r\n");
        let said = ok(&fields, "");
        let origin =
            Origin::start(move |_| vec![Step::Content, Step::Say(said.clone().into_bytes())]).await;
        let proxy = options(ReverseProxy::new(&origin.url()).expect("a URL"));
        let proxy = (proxy, has_claims);
        let (mut shared, mut respelled) = (0, 0);
        for seed in 0..300 {
            let choices = Choices::new(seed);
            let first = choices.spelling();
            let second = choices.variation(&first);
            let alone = heard(&origin, &proxy, &[&second]).await;
            let both = heard(&origin, &proxy, &[&first, &second]).await;
            // Requests that the proxy answers itself are no part of this.
            let (1, [one]) = (alone.len(), &both[..]) else {
                continue;
            };
            if heard(&origin, &proxy, &[&first]).await.is_empty() {
                continue;
            }
            shared += 1;
            respelled += usize::from(format!("{first:?}") != format!("{second:?}"));
            assert_equal(vary, has_claims, [one, &alone[0]], [&first, &second]);
        }
        assert!(shared > 25 && respelled > 12, "{shared} {respelled}");
    }
}

#[tokio::test]
async fn requests_with_one_key_are_one_request_for_the_upstream() {
    check(false, |proxy| proxy).await;
}

/// Where more fields reach the upstream, and fewer hosts.
#[tokio::test]
async fn fields_that_are_trusted_or_added_are_told_apart() {
    let upstream = HostPolicy::Upstream;
    check(false, |proxy| proxy.forwarding(Forwarding::Both)).await;
    check(false, |proxy| proxy.trust_forwarded(true).host(upstream)).await;
    let told = Forwarding::XForwarded;
    check(true, |proxy| proxy.forwarding(told).host(upstream)).await;
    check(true, |proxy| proxy.trust_forwarded(true).host(upstream)).await;
}
