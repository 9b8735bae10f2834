//! `POST /explain` of the program: the request that it explains is the one of a client.

use crate::example::Example;
use crate::origin::{Origin, fresh};
use crate::raw::{exchange, last_get};

/// What the program says of a GET of this URI.
async fn explain(proxy: &Example, uri: &str, fields: &str) -> String {
    let address = proxy.admin().strip_prefix("http://").expect("a base");
    let (_, port) = address.rsplit_once(':').expect("a port");
    let question = format!(r#"{{"uri":"{uri}","fields":{fields}}}"#);
    let length = question.len();
    let said = format!(
        "POST /explain HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{question}"
    );
    exchange(port.parse().expect("a port"), said).await
}

const HOST: &str = r#"{"host":"test.example"}"#;

/// P8: the upstream is told the scheme of the listener, and so is an explanation.
#[tokio::test]
async fn a_stored_page_is_explained_as_a_hit_however_the_scheme_is_told() {
    let origin = Origin::saying(fresh("hello")).await;
    for flags in [
        &[][..],
        &["--forwarding", "x-forwarded"],
        &["--forwarding", "forwarded"],
        &["--forwarding", "both"],
        &["--trust-forwarded"],
        &["--trust-forwarded", "--forwarding", "both"],
    ] {
        let url = origin.url();
        let all = ["--upstream", &url, "--admin", "127.0.0.1:0"];
        let proxy = Example::start("proxy", &[&all, flags].concat()).await;
        exchange(proxy.port(), last_get("/a")).await;
        for (uri, fields) in [
            ("/a", HOST),
            ("http://test.example/a", "{}"),
            ("http://test.example:80/a", "{}"),
        ] {
            let said = explain(&proxy, uri, fields).await;
            assert!(said.contains(r#""is_hit":true"#), "{flags:?} {uri}: {said}");
        }
        // What comes by https has keys of its own, once upstreams are told that.
        let said = explain(&proxy, "https://test.example/a", "{}").await;
        let is_told = flags.contains(&"--forwarding");
        assert_eq!(
            said.contains(r#""is_hit":true"#),
            !is_told,
            "{flags:?}: {said}"
        );
        let said = exchange(proxy.port(), last_get("/a")).await;
        assert!(said.contains("; hit"), "{flags:?}: {said}");
    }
}

/// RFC 9112 §3.2.2: of two hosts, that of the target counts, for requests and questions alike.
#[tokio::test]
async fn a_question_with_two_hosts_is_explained_as_the_request() {
    let origin = Origin::saying(fresh("hello")).await;
    let all = ["--upstream", &origin.url(), "--admin", "127.0.0.1:0"];
    let proxy = Example::start("proxy", &[&all[..], &["--host", "preserve"]].concat()).await;
    exchange(proxy.port(), last_get("/a")).await;
    for (host, other) in [
        ("test.example", "other.example"),
        ("other.example", "test.example"),
    ] {
        let uri = format!("http://{host}/a");
        let said = explain(&proxy, &uri, &format!(r#"{{"host":"{other}"}}"#)).await;
        let asked = last_get(&uri).replace("host: test.example", &format!("host: {other}"));
        let only = asked.replacen("\r\n", "\r\ncache-control: only-if-cached\r\n", 1);
        let answer = exchange(proxy.port(), only).await;
        let is_hit = answer.contains("; hit");
        assert_eq!(is_hit, host == "test.example", "{answer}");
        assert_eq!(said.contains(r#""is_hit":true"#), is_hit, "{uri}: {said}");
    }
}

/// A proxy before this one tells the scheme of its own client.
#[tokio::test]
async fn an_explanation_believes_the_fields_that_requests_are_believed() {
    let origin = Origin::saying(fresh("hello")).await;
    let url = origin.url();
    for (flags, is_believed) in [
        (&["--trust-forwarded"][..], true),
        (&["--trust-forwarded", "--forwarding", "x-forwarded"], true),
        (&["--forwarding", "x-forwarded"], false),
    ] {
        let all = ["--upstream", &url, "--admin", "127.0.0.1:0"];
        let proxy = Example::start("proxy", &[&all, flags].concat()).await;
        let told = last_get("/a").replacen("\r\n", "\r\nx-forwarded-proto: https\r\n", 1);
        exchange(proxy.port(), told).await;
        let fields = r#"{"host":"test.example","x-forwarded-proto":"https"}"#;
        for (fields, is_hit) in [(fields, true), (HOST, !is_believed)] {
            let said = explain(&proxy, "/a", fields).await;
            assert_eq!(
                said.contains(r#""is_hit":true"#),
                is_hit,
                "{flags:?} {fields}: {said}"
            );
        }
    }
}

/// Clients use TLS, operators do not.
#[cfg(feature = "proxy-tls")]
#[tokio::test]
async fn a_page_stored_by_https_is_explained_as_a_hit() {
    let origin = Origin::saying(fresh("hello")).await;
    let (folder, made) = (
        crate::folder::Folder::new("explain-tls"),
        crate::certificate::self_signed(&["test.example"]),
    );
    super::tls_to_clients::write(&folder, &made);
    let flags = ["--forwarding", "both", "--admin", "127.0.0.1:0"];
    let proxy = super::tls_to_clients::start(&folder, &origin, &flags).await;
    let stream = super::tls_to_clients::connect(proxy.port(), &made, &[]).await;
    let said = super::tls_to_clients::get(stream.expect("a handshake")).await;
    assert!(said.ends_with("hello"), "{said}");
    for (uri, fields, is_hit) in [
        ("/", HOST, true),
        ("https://test.example/", "{}", true),
        ("http://test.example/", "{}", false),
    ] {
        let said = explain(&proxy, uri, fields).await;
        assert_eq!(said.contains(r#""is_hit":true"#), is_hit, "{uri}: {said}");
    }
}
