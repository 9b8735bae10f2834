//! The names that nginx is told and tells, and how many fields it has.

#[cfg(feature = "proxy-tls")]
use http::Method;
#[cfg(feature = "proxy-tls")]
use tower_response_cache::proxy::{HostPolicy, ReverseProxy};

use super::Nginx;
#[cfg(feature = "proxy-tls")]
use crate::call::{call, to};
#[cfg(feature = "proxy-tls")]
use crate::certificate::{self_signed, trusting};
use crate::example::Example;
use crate::raw::{Raw, exchange, last_get};

/// Redirects of nginx name what it was told, with its own port and the path on its disk.
#[tokio::test]
async fn a_redirect_of_nginx_to_a_folder_can_be_followed() {
    let relative = "location /base/relative { absolute_redirect off; }";
    let nginx = Nginx::with("folders", relative, None).await;
    for folder in ["absolute", "relative"] {
        let folder = format!("base/{folder}");
        std::fs::create_dir_all(nginx.path(&folder)).expect("a folder");
        nginx.write(&format!("{folder}/index.html"), "index");
    }
    let url = format!("{}/base", nginx.url());
    for (options, folder, expected) in [
        (&["--host", "upstream"][..], "/absolute", "/absolute/"),
        (&["--host", "upstream"], "/relative", "/relative/"),
        (&[], "/relative", "/relative/"),
    ] {
        let arguments = [&["--upstream", url.as_str()][..], options].concat();
        let proxy = Example::start("proxy", &arguments).await;
        let said = exchange(proxy.port(), last_get(folder)).await;
        assert!(said.starts_with("HTTP/1.1 301 "), "{said}");
        let line = format!("\r\nlocation: {expected}\r\n");
        assert!(said.contains(&line), "{options:?}: {said}");
        let said = exchange(proxy.port(), last_get(expected)).await;
        assert!(said.ends_with("index"), "{options:?}: {said}");
    }
}

/// RFC 9111 §4.4: what nginx names is invalidated as clients know it.
#[tokio::test]
async fn what_a_response_of_nginx_names_is_invalidated() {
    let orders = "
        location /base/items { add_header Cache-Control max-age=60; return 200 items; }
        location /base/absolute { add_header Location http://$http_host/base/items; return 201; }
        location /base/relative { add_header Location /base/items; return 201; }
        location /base/content {
            add_header Content-Location http://$http_host/base/items;
            return 204;
        }
    ";
    let nginx = Nginx::with("orders", orders, None).await;
    let url = format!("{}/base", nginx.url());
    for host in ["upstream", "preserve"] {
        let proxy = Example::start("proxy", &["--upstream", &url, "--host", host]).await;
        let read = async || exchange(proxy.port(), last_get("/items")).await;
        for path in ["/absolute", "/relative", "/content"] {
            read().await;
            assert!(read().await.contains("; hit"), "{host} {path}");
            let written = last_get(path).replacen("GET", "POST", 1);
            let said = exchange(proxy.port(), written).await;
            let mut lines = said.lines();
            let named = lines.find_map(|line| line.split_once("ocation: "));
            let (_, named) = named.unwrap_or_else(|| panic!("no name: {said}"));
            assert!(!named.contains("/base"), "{host} {path}: {said}");
            assert!(!read().await.contains("; hit"), "{host} {path}");
        }
    }
}

/// nginx chooses its certificate by the name of the handshake, and the version where it may.
#[cfg(feature = "proxy-tls")]
#[tokio::test]
async fn nginx_is_asked_by_tls_for_the_host_of_the_request() {
    let made = self_signed(&["localhost", "one.test", "two.test"]);
    let pem = [made.cert.pem(), made.signing_key.serialize_pem()];
    let name = "location /name { return 200 '$ssl_server_name $host $server_protocol'; }";
    let nginx = Nginx::with("sni", name, Some(pem)).await;
    let url = format!("https://localhost:{}", nginx.tls_port);
    let proxy = ReverseProxy::new(&url).expect("a URL").tls(trusting(&made));
    let by_upstream = proxy.clone().tls_by_host(false);
    let told = proxy.clone().host(HostPolicy::Upstream);
    for (proxy, host, expected) in [
        (&proxy, "one.test", "one.test one.test HTTP/1.1"),
        (&proxy, "TWO.test.:8443", "two.test two.test HTTP/1.1"),
        (&proxy, "one.test", "one.test one.test HTTP/1.1"),
        (&by_upstream, "one.test", "localhost one.test HTTP/1.1"),
        (&told, "one.test", "localhost localhost HTTP/2.0"),
    ] {
        let answer = call(proxy, to(Method::GET, "/name", &[("host", host)])).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.content.as_deref(), Ok(expected), "{host}");
    }
}

/// More than 100 field lines of a request and of a response pass with the option for it, whether
/// or not the client goes on sending.
#[tokio::test]
async fn many_fields_reach_nginx_and_come_back() {
    let lines = (0..150).map(|number| format!("add_header X-{number} $http_x_{number};"));
    let many = format!(
        "location /many {{ {} return 200 many; }} location /few {{ return 200 $http_x_149; }}",
        lines.collect::<String>()
    );
    let nginx = Nginx::with("fields", &many, None).await;
    let url = nginx.url();
    let fields: String = (0..150)
        .map(|number| format!("x-{number}: v{number}\r\n"))
        .collect();
    let request =
        |path: &str| last_get(path).replacen("connection:", &format!("{fields}connection:"), 1);
    let proxy = Example::start("proxy", &["--upstream", &url, "--max-head-fields", "200"]).await;
    let few = exchange(proxy.port(), request("/few")).await;
    assert!(few.ends_with("\r\n\r\nv149"), "{few}");
    let mut half = Raw::connect(proxy.port()).await;
    half.say(request("/many")).await;
    half.stop_saying().await;
    let many = half.hear_all().await;
    assert!(
        many.contains("x-0: v0\r\n") && many.contains("x-149: v149\r\n"),
        "{many}"
    );
    assert!(many.ends_with("\r\n\r\nmany"), "{many}");
    // By default there may be 100.
    let proxy = Example::start("proxy", &["--upstream", &url]).await;
    let said = exchange(proxy.port(), request("/few")).await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
    // nginx leaves out fields without a value.
    let said = exchange(proxy.port(), last_get("/many")).await;
    assert!(said.ends_with("\r\n\r\nmany"), "{said}");
}
