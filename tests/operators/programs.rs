//! The flags of the programs: who is served where, and what happens on the public address.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::example::{Example, PATIENCE, example};
use crate::http_client::{get, make_product, send};

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A file with a token, removed when dropped.
pub struct TokenFile(String);

impl TokenFile {
    pub fn new(token: &str) -> Self {
        let name = format!("token-{}", uuid::Uuid::new_v4());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, format!("{token}\n")).expect("a file");
        Self(file.to_str().expect("UTF-8").to_owned())
    }

    pub fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Why a program does not start with these arguments.
async fn refusal(name: &str, arguments: &[&str]) -> String {
    let mut command = example(name, arguments);
    let output = command
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .output();
    let output = output.await.expect("a program");
    assert!(!output.status.success(), "{arguments:?}");
    assert!(output.stdout.is_empty(), "it did not say that it listens");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// A proxy in front of a products server, each with an address for operators.
async fn both(token: &TokenFile) -> ([Example; 2], String) {
    let arguments = ["--admin", "127.0.0.1:0", "--admin-token-file", token.path()];
    let products = Example::start("products", &arguments).await;
    let path = make_product(&products, "Lamp").await;
    let upstream = ["--upstream", products.base(), "--ttl", "60s"];
    let upstream = [&upstream, &arguments[..]].concat();
    let proxy = Example::start("proxy", &upstream).await;
    ([products, proxy], path)
}

async fn is_hit(server: &Example, path: &str) -> bool {
    let answer = get(server.base(), path).await;
    // That of the cache nearest to the client is the last one.
    let status = answer.headers.get_all("cache-status").iter().next_back();
    status.is_some_and(|status| status.to_str().expect("text").contains("; hit"))
}

#[tokio::test]
async fn beyond_loopback_there_is_no_service_without_a_token() {
    for (name, more) in [("products", None), ("proxy", Some("http://127.0.0.1:1"))] {
        let with = |arguments: &[&'static str]| {
            let upstream = more.into_iter().flat_map(|url| ["--upstream", url]);
            upstream
                .chain(arguments.iter().copied())
                .collect::<Vec<_>>()
        };
        for address in ["0.0.0.0:0", "[::]:0"] {
            let error = refusal(name, &with(&["--admin", address])).await;
            assert!(error.contains("add --admin-token-file"), "{error}");
        }
        let short = TokenFile::new("short");
        for (file, says) in [
            (short.path(), "at least 16"),
            ("/nowhere/token", "/nowhere/token"),
        ] {
            let mut arguments = with(&["--admin", "127.0.0.1:0"]);
            arguments.extend(["--admin-token-file", file]);
            let error = refusal(name, &arguments).await;
            assert!(
                error.contains("--admin-token-file") && error.contains(says),
                "{error}"
            );
        }
        let error = refusal(name, &with(&["--admin-token-file", "/nowhere/token"])).await;
        assert!(error.contains("--admin"), "{error}");
    }
}

#[tokio::test]
async fn purge_on_the_public_address_is_refused_and_does_nothing() {
    let token = TokenFile::new(TOKEN);
    let (servers, path) = both(&token).await;
    for server in &servers {
        assert!(!is_hit(server, &path).await);
        assert!(is_hit(server, &path).await);
        let authorization = format!("Bearer {TOKEN}");
        for lines in [&[][..], &[("authorization", &*authorization)]] {
            let answer = send(server.base(), "PURGE", &path, lines, "").await;
            assert_eq!(answer.status, 405, "{answer:?}");
            assert!(is_hit(server, &path).await);
        }
        // On the address for operators it works, with the token alone.
        let refused = send(server.admin(), "PURGE", &path, &[], "").await;
        assert_eq!(refused.status, 401);
        assert!(is_hit(server, &path).await);
        // Behind the proxy, every host is a site of its own.
        let host = server.base().strip_prefix("http://").expect("a base");
        let lines = [("authorization", &*authorization), ("host", host)];
        let done = send(server.admin(), "PURGE", &path, &lines, "").await;
        assert_eq!(done.status, 200, "{done:?}");
        assert!(!is_hit(server, &path).await);
    }
}

/// Runs curl with a token, and returns the status and the text of the answer.
async fn curl(arguments: &[&str]) -> (u16, String) {
    let authorization = format!("authorization: Bearer {TOKEN}");
    let output = Command::new("curl")
        .args([
            "-s",
            "--noproxy",
            "",
            "-w",
            "\n%{http_code}",
            "-H",
            &authorization,
        ])
        .args(arguments)
        .output()
        .await
        .expect("curl");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (text, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a number"), text.to_owned())
}

/// A purge is of the site that it names, and never of the operators' address.
#[tokio::test]
async fn a_purge_names_its_site() {
    let token = TokenFile::new(TOKEN);
    let arguments = ["--admin", "127.0.0.1:0", "--admin-token-file", token.path()];
    let products = Example::start("products", &arguments).await;
    let path = make_product(&products, "Lamp").await;
    for (name, more, are_sites) in [
        ("products", &[][..], false),
        ("proxy", &["--host", "upstream"], false),
        ("proxy", &["--host", "preserve"], true),
        (
            "proxy",
            &["--host", "preserve", "--admin-host", "ops.example"],
            true,
        ),
    ] {
        let upstream = ["--upstream", products.base(), "--ttl", "60s"];
        let proxy = match name {
            "products" => None,
            name => Some(Example::start(name, &[&upstream[..], &arguments, more].concat()).await),
        };
        let server = proxy.as_ref().unwrap_or(&products);
        let own = server.admin().strip_prefix("http://").expect("a base");
        let (_, port) = own.split_once(':').expect("a port");
        let site = server.base().strip_prefix("http://").expect("a base");
        let url = format!("{}{path}", server.admin());
        let host = |host: &str| format!("host: {host}");
        // The site by Host, by the target through a proxy, and by the target alone.
        let target = format!("http://{site}{path}");
        for named in [
            &[&*url, "-H", &host(site)][..],
            &["--proxy", own, &target],
            &["--request-target", &target, &url],
            &[
                "--request-target",
                &target,
                "-H",
                "host: other.example",
                &url,
            ],
        ] {
            is_hit(server, &path).await;
            assert!(is_hit(server, &path).await, "{name} {more:?}");
            let (status, text) = curl(&[&["-X", "PURGE"], named].concat()).await;
            assert_eq!(status, 200, "{text}");
            assert!(!is_hit(server, &path).await, "{name} {named:?}");
        }
        // None, or that of operators, under each of its names.
        let localhost = format!("localhost:{port}");
        for unnamed in [
            &[&*url][..],
            &["-H", &host(&localhost), &url],
            &["-H", "host: ops.example", &url],
            &["-H", "host;", "--http1.0", &url],
            &["-H", "surrogate-key: x", server.admin()],
        ] {
            let is_named = unnamed.contains(&"host: ops.example") && !more.contains(&"ops.example");
            is_hit(server, &path).await;
            assert!(is_hit(server, &path).await, "{name} {more:?}");
            let (status, text) = curl(&[&["-X", "PURGE"], unnamed].concat()).await;
            let expected = if are_sites && !is_named { 400 } else { 200 };
            assert_eq!(status, expected, "{name} {more:?} {unnamed:?}: {text}");
            assert_eq!(
                expected == 400,
                text.contains("every host is a site here"),
                "{text}"
            );
            let is_whole_group = unnamed.contains(&"surrogate-key: x");
            assert_eq!(
                is_hit(server, &path).await,
                are_sites || is_whole_group,
                "{name} {more:?} {unnamed:?}"
            );
        }
    }
}

#[tokio::test]
async fn ten_megabytes_for_operators_are_refused_and_hurt_nobody() {
    let token = TokenFile::new(TOKEN);
    let (servers, path) = both(&token).await;
    for server in &servers {
        let address = server.admin().strip_prefix("http://").expect("a base");
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let head = format!(
            "POST /invalidate HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\n\
             content-type: application/json\r\ncontent-length: 10000000\r\n\r\n"
        );
        stream
            .write_all(head.as_bytes())
            .await
            .expect("a head is sent");
        let mut sent = 0;
        // The connection may be closed before all of it is sent.
        while sent < 10_000_000 && stream.write_all(&[b' '; 10_000]).await.is_ok() {
            sent += 10_000;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 413"),
            "{answer}"
        );
        assert_eq!(get(server.admin(), "/healthz").await.status, 200);
        assert_eq!(get(server.base(), &path).await.status, 200);
    }
}

#[tokio::test]
async fn on_a_loopback_address_everything_can_be_read_without_the_token() {
    let server = Example::start("products", &["--admin", "127.0.0.1:0"]).await;
    make_product(&server, "Lamp").await;
    for path in ["/", "/stats", "/metrics", "/healthz", "/readyz"] {
        assert_eq!(get(server.admin(), path).await.status, 200, "{path}");
    }
    let json = [("content-type", "application/json")];
    let explained = send(
        server.admin(),
        "POST",
        "/explain",
        &json,
        r#"{"uri":"/products"}"#,
    );
    assert_eq!(explained.await.status, 200);
    let all = send(
        server.admin(),
        "POST",
        "/invalidate",
        &json,
        r#"{"type":"all"}"#,
    )
    .await;
    assert_eq!(all.status, 403, "{all:?}");
    assert_eq!(
        send(server.admin(), "PURGE", "/products", &[], "")
            .await
            .status,
        403
    );
    // Another site's page that resolves its own name to this machine.
    let named = send(
        server.admin(),
        "GET",
        "/stats",
        &[("host", "evil.example")],
        "",
    )
    .await;
    assert_eq!(named.status, 403);
    // The operators' paths are not on the public address.
    assert_eq!(get(server.base(), "/metrics").await.status, 404);
}

#[tokio::test]
async fn a_proxy_shows_the_cache_of_its_new_options() {
    let products = Example::start("products", &[]).await;
    let path = make_product(&products, "Lamp").await;
    let name = format!("proxy-{}.toml", uuid::Uuid::new_v4());
    let file = std::env::temp_dir().join(name);
    let config = |name: &str| {
        let upstream = format!("upstream = [\"{}\"]\nttl = \"60s\"\n", products.base());
        let text = format!("{upstream}[cache]\ncache_status_name = \"{name}\"\n");
        std::fs::write(&file, text).expect("a file");
    };
    config("one");
    let name = file.to_str().expect("UTF-8");
    let proxy = Example::start("proxy", &["--config", name, "--admin", "127.0.0.1:0"]).await;
    let name_and_misses = async || {
        let stats = get(proxy.admin(), "/stats").await.text;
        let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
        (stats["name"].clone(), stats["requests"]["miss"].clone())
    };
    get(proxy.base(), &path).await;
    assert_eq!(name_and_misses().await, ("one".into(), 1.into()));
    config("two");
    proxy.signal("HUP").await;
    while name_and_misses().await.0 == "one" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(name_and_misses().await, ("two".into(), 1.into()));
    assert!(is_hit(&proxy, &path).await, "with the same store");
    let _ = std::fs::remove_file(&file);
}

/// Linux drops the packets of clients beyond the backlog, and they try again after a second: here
/// they would do so for as long as the program is stopped.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn clients_that_come_at_once_need_not_come_again() {
    let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("a number");
    let allowed: usize = allowed.trim().parse().expect("a number");
    let token = TokenFile::new(TOKEN);
    let (servers, _) = both(&token).await;
    for server in &servers {
        server.signal("STOP").await;
        for url in [server.base(), server.admin()] {
            let address = url.strip_prefix("http://").expect("a URL");
            let mut clients = Vec::new();
            for _ in 0..allowed.min(300) {
                let client = timeout(PATIENCE, TcpStream::connect(address)).await;
                clients.push(client.expect("it is connected").expect("it listens"));
            }
        }
        server.signal("CONT").await;
    }
}
