//! The number of a request's header fields, which HTTP/2 does not bound by itself.

use crate::call::Http2;
use crate::example::Example;
use crate::origin::{Origin, ok};

fn lines(count: usize) -> Vec<(String, String)> {
    let line = |number: usize| (format!("x-{number}"), "y".to_owned());
    (0..count).map(line).collect()
}

/// The status of a request over HTTP/2 with these lines.
async fn status(client: &mut Http2, lines: &[(String, String)]) -> u16 {
    let lines: Vec<_> = lines
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    client.get("/", &lines).await.status.as_u16()
}

/// A field that costs its client a byte takes much more memory here.
#[tokio::test]
async fn a_request_over_http_2_has_a_bounded_number_of_fields() {
    let origin = Origin::saying(ok("", "hello")).await;
    let url = origin.url();
    for (most, limit) in [(None, 100), (Some("120"), 120), (Some("10"), 10)] {
        let mut options = vec!["--upstream", &url];
        options.extend(most.iter().flat_map(|most| ["--max-head-fields", most]));
        let proxy = Example::start("proxy", &options).await;
        let mut client = Http2::connect(proxy.port()).await;
        assert_eq!(status(&mut client, &lines(limit)).await, 200, "{limit}");
        assert_eq!(status(&mut client, &lines(limit + 1)).await, 431, "{limit}");
        let same = vec![("x".to_owned(), String::new()); limit + 1];
        assert_eq!(status(&mut client, &same).await, 431, "{limit}");
        // The connection goes on.
        assert_eq!(status(&mut client, &[]).await, 200, "{limit}");
    }
}

/// RFC 9113 §8.2.3: each cookie may be a field of its own, and browsers keep 180 for a site.
#[tokio::test]
async fn cookies_count_as_one_field_up_to_those_that_browsers_send() {
    let origin = Origin::saying(ok("", "hello")).await;
    let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
    let mut client = Http2::connect(proxy.port()).await;
    for (cookies, others, expected) in [(180, 99, 200), (180, 100, 431), (257, 0, 431)] {
        let mut all = vec![("cookie".to_owned(), "a=b".to_owned()); cookies];
        all.extend(lines(others));
        let status = status(&mut client, &all).await;
        assert_eq!(status, expected, "{cookies} cookies, {others} others");
    }
    let heard = origin.heard();
    let [heard] = &heard[..] else {
        panic!("{heard:?}");
    };
    assert_eq!(heard.field("cookie").matches("a=b").count(), 180);
}
