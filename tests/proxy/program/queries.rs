//! QUERY through the program, by real clients and over both versions of HTTP.

use crate::example::Example;
use crate::folder::Folder;
use crate::nginx::files::{cache_status, curl};
use crate::origin::{Origin, Step, fresh};
use crate::raw::{Raw, exchange};

const MOST: usize = 1024;

/// An origin that is asked, the program before it that stores answers to QUERY, and its folder.
async fn started(name: &str) -> (Origin, Example, Folder) {
    let origin = Origin::start(|_| vec![Step::Content, Step::Say(fresh("found").into())]).await;
    let folder = Folder::new(name);
    let upstream = origin.url();
    let text = format!("upstream = \"{upstream}\"\n[cache]\ncache_queries = {MOST}\n");
    folder.write("proxy.toml", text);
    let proxy = Example::start("proxy", &["--config", &folder.file("proxy.toml")]).await;
    (origin, proxy, folder)
}

/// Whether curl's QUERY with this content is answered from the store.
async fn is_hit(proxy: &Example, content: &str, options: &[&str]) -> bool {
    let url = format!("{}/find", proxy.base());
    let query = ["-i", "-X", "QUERY", "--data-raw", content];
    let said = curl(&[&query, options, &[&url]].concat()).await;
    assert!(said.ends_with("found"), "{said}");
    cache_status(&said).starts_with("hit")
}

#[tokio::test]
async fn a_query_is_stored_by_its_content_until_its_resource_is_written() {
    let (origin, proxy, _folder) = started("queries").await;
    assert!(!is_hit(&proxy, "colour=red", &[]).await);
    let heard = origin.heard_one();
    assert_eq!(heard.request_line(), "QUERY /find HTTP/1.1");
    assert_eq!(heard.content, b"colour=red");
    // However it is framed.
    assert!(is_hit(&proxy, "colour=red", &[]).await);
    assert!(is_hit(&proxy, "colour=red", &["-H", "transfer-encoding: chunked"]).await);
    assert!(is_hit(&proxy, "colour=red", &["--http2-prior-knowledge"]).await);
    assert!(!is_hit(&proxy, "colour=blue", &["--http2-prior-knowledge"]).await);
    let other_type = ["-H", "content-type: text/plain"];
    assert!(!is_hit(&proxy, "colour=red", &other_type).await);
    // A GET of the same target is another question.
    let get = "GET /find HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n\r\n";
    let said = exchange(proxy.port(), get).await;
    assert!(!said.contains("; hit"), "{said}");
    assert_eq!(origin.heard().len(), 3);

    assert!(!is_hit(&proxy, "colour=red", &["-X", "PUT"]).await);
    for content in ["colour=red", "colour=blue"] {
        assert!(!is_hit(&proxy, content, &[]).await, "{content}");
    }
}

/// Sibling: content beyond the bound reaches the origin whole, however it is framed.
#[tokio::test]
async fn a_query_with_more_content_than_the_bound_passes_whole() {
    let (origin, proxy, _folder) = started("long-queries").await;
    let long = "x".repeat(10 * MOST);
    for options in [
        &[][..],
        &["-H", "transfer-encoding: chunked"],
        &["--http2-prior-knowledge"],
    ] {
        for _ in 0..2 {
            assert!(!is_hit(&proxy, &long, options).await, "{options:?}");
            let heard = origin.heard_one().content;
            let passed = heard.iter().filter(|byte| **byte == b'x').count();
            assert_eq!(passed, long.len(), "{options:?}");
        }
    }
}

/// Sibling: content that breaks off is no question, and nothing of it is stored.
#[tokio::test]
async fn a_query_that_breaks_off_is_not_answered_from_what_a_whole_one_stored() {
    let (origin, proxy, _folder) = started("broken-queries").await;
    assert!(!is_hit(&proxy, "colour=red", &[]).await);
    origin.heard();
    let broken = "QUERY /find HTTP/1.1\r\nhost: test.example\r\ncontent-type: application/x-www-form-urlencoded\r\n\
                  content-length: 20\r\n\r\ncolour=red";
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(broken).await;
    raw.stop_saying().await;
    let said = raw.hear_all().await;
    assert!(!said.contains("found"), "{said}");
    assert!(is_hit(&proxy, "colour=red", &[]).await);
}
