//! Flags of the example about how upstreams know their clients.

use crate::example::Example;
use crate::origin::{Origin, Step, ok};
use crate::raw::exchange;

/// A GET with this field, the last of its connection.
fn get(path: &str, field: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: test.example\r\n{field}\r\n");
    format!("{head}connection: close\r\n\r\n")
}

/// An upstream whose page shows one field of the request, and a proxy with these flags.
async fn showing(name: &'static str, flags: &[&str]) -> (Origin, Example) {
    let origin = Origin::start(move |heard| {
        let page = format!("page of {:?}", heard.field(name));
        vec![Step::Content, Step::Say(ok("", &page).into())]
    })
    .await;
    let url = origin.url();
    let arguments = [&["--upstream", url.as_str(), "--ttl", "60s"][..], flags].concat();
    let proxy = Example::start("proxy", &arguments).await;
    (origin, proxy)
}

#[tokio::test]
async fn ignored_cookies_do_not_reach_the_upstream_and_make_no_request_personal() {
    let flags = ["--ignore-cookies", "_ga,_ga_*"];
    let (_origin, proxy) = showing("cookie", &flags).await;
    for (path, cookies, expected, is_hit) in [
        ("/a", "_ga=1; _ga_X=2", "page of \"\"", false),
        ("/a", "_ga=2", "page of \"\"", true),
        ("/b", "_ga=1; id=1", "page of \"id=1\"", false),
        ("/b", "_ga=1; id=2", "page of \"id=2\"", false),
    ] {
        let said = exchange(proxy.port(), get(path, &format!("cookie: {cookies}"))).await;
        assert!(said.ends_with(expected), "{cookies}: {said}");
        assert_eq!(said.contains("; hit; "), is_hit, "{cookies}: {said}");
    }
    let (_origin, proxy) = showing("cookie", &[]).await;
    let said = exchange(proxy.port(), get("/a", "cookie: _ga=1")).await;
    assert!(
        said.ends_with("page of \"_ga=1\""),
        "without the flag: {said}"
    );
}

#[tokio::test]
async fn credential_fields_are_added_to_the_default_ones() {
    for (name, flags, is_personal) in [
        (
            "x-session",
            &["--credential-fields", "x-user,x-session"][..],
            true,
        ),
        ("x-api-key", &["--credential-fields", "x-session"], true),
        ("x-api-key", &[], true),
        ("x-session", &[], false),
    ] {
        let (_origin, proxy) = showing(name, flags).await;
        for client in ["alice", "bob"] {
            let said = exchange(proxy.port(), get("/me", &format!("{name}: {client}"))).await;
            let own = format!("page of {client:?}");
            let is_own = said.ends_with(&own);
            assert_eq!(
                is_own,
                is_personal || client == "alice",
                "{name} {flags:?}: {said}"
            );
        }
    }
}
