//! Between nginx, which serves files, and curl.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Nginx;
use crate::example::Example;
use crate::origin::{Origin, ok};

/// What curl prints.
pub async fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "600"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("these tests need curl: apt-get install curl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The value of a field in what `curl -i` or `curl -D -` says.
pub fn field(said: &str, name: &str) -> String {
    let lines = said.lines().filter_map(|line| line.split_once(": "));
    let mut found = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    found.next().map_or("", |(_, value)| value).to_owned()
}

pub fn cache_status(said: &str) -> String {
    let status = field(said, "cache-status");
    let own = status.strip_prefix("tower-response-cache; ");
    own.unwrap_or_else(|| panic!("no Cache-Status: {said}"))
        .to_owned()
}

/// An nginx with files, and the example before it.
async fn both(name: &str, options: &[&str]) -> (Nginx, Example) {
    let nginx = Nginx::start(name).await;
    let url = nginx.url();
    let mut arguments = vec!["--upstream", url.as_str()];
    arguments.extend_from_slice(options);
    let proxy = Example::start("proxy", &arguments).await;
    (nginx, proxy)
}

#[tokio::test]
async fn the_second_fetch_is_a_hit() {
    let (nginx, proxy) = both("hit", &[]).await;
    nginx.write("a.txt", "hello, file\n");
    let url = format!("{}/minute/a.txt", proxy.base());
    let first = curl(&["-i", &url]).await;
    assert_eq!(cache_status(&first), "fwd=uri-miss; stored");
    assert!(first.ends_with("\r\n\r\nhello, file\n"), "{first}");
    let second = curl(&["-i", &url]).await;
    assert!(cache_status(&second).starts_with("hit; ttl="), "{second}");
    assert!(second.ends_with("\r\n\r\nhello, file\n"), "{second}");
    assert_eq!(field(&second, "etag"), field(&first, "etag"));
    assert_eq!(nginx.log().await, ["GET /minute/a.txt HTTP/1.1 200"]);
    // And by HTTP/2.
    let third = curl(&["-i", "--http2-prior-knowledge", &url]).await;
    assert!(third.starts_with("HTTP/2 200"), "{third}");
    assert!(cache_status(&third).starts_with("hit; ttl="), "{third}");
    // HEAD gets the same head.
    let head = curl(&["-I", &url]).await;
    assert!(cache_status(&head).starts_with("hit; ttl="), "{head}");
    assert_eq!(field(&head, "content-length"), "12");
    assert_eq!(nginx.log().await.len(), 1);
}

#[tokio::test]
async fn a_stale_response_is_validated() {
    let (nginx, proxy) = both("validate", &[]).await;
    nginx.write("a.txt", "hello, file\n");
    let url = format!("{}/a.txt", proxy.base());
    curl(&[&url]).await;
    let validated = curl(&["-i", &url]).await;
    assert!(validated.starts_with("HTTP/1.1 200"), "{validated}");
    assert!(validated.ends_with("hello, file\n"), "{validated}");
    assert!(
        cache_status(&validated).contains("fwd-status=304"),
        "{validated}"
    );
    assert_eq!(nginx.log().await[1..], ["GET /a.txt HTTP/1.1 304"]);
    // The client's own conditions.
    let tag = field(&validated, "etag");
    let same = curl(&["-i", "-H", &format!("if-none-match: {tag}"), &url]).await;
    assert!(same.starts_with("HTTP/1.1 304"), "{same}");
    assert_eq!(nginx.log().await[2..], ["GET /a.txt HTTP/1.1 304"]);
    // touch
    let file = fs::File::options().append(true).open(nginx.path("a.txt"));
    let earlier = SystemTime::now() - Duration::from_secs(3600);
    file.and_then(|file| file.set_modified(earlier))
        .expect("it is touched");
    let touched = curl(&["-i", &url]).await;
    assert_ne!(field(&touched, "etag"), tag);
    assert_eq!(nginx.log().await[3..], ["GET /a.txt HTTP/1.1 200"]);
}

#[tokio::test]
async fn an_expired_response_is_validated() {
    let (nginx, proxy) = both("expire", &[]).await;
    nginx.write("a.txt", "hello, file\n");
    let url = format!("{}/second/a.txt", proxy.base());
    curl(&[&url]).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let validated = curl(&["-i", &url]).await;
    assert!(
        cache_status(&validated).starts_with("fwd=stale; fwd-status=304"),
        "{validated}"
    );
    assert_eq!(nginx.log().await[1..], ["GET /second/a.txt HTTP/1.1 304"]);
}

#[tokio::test]
async fn codings_are_variants() {
    let (nginx, proxy) = both("gzip", &[]).await;
    let text = "hello, file\n".repeat(100);
    nginx.write("a.txt", &text);
    let url = format!("{}/minute/a.txt", proxy.base());
    for expected in ["fwd=uri-miss; stored", "hit; ttl="] {
        let plain = curl(&["-i", &url]).await;
        assert!(cache_status(&plain).starts_with(expected), "{plain}");
        assert!(plain.ends_with(&text), "{plain}");
    }
    for expected in ["fwd=vary-miss; stored", "hit; ttl="] {
        let zipped = curl(&["-i", "--compressed", &url]).await;
        assert!(cache_status(&zipped).starts_with(expected), "{zipped}");
        assert_eq!(field(&zipped, "content-encoding"), "gzip");
        assert!(zipped.ends_with(&text), "{zipped}");
    }
    assert_eq!(nginx.log().await.len(), 2);
}

/// Stock nginx weakens the tag of a 200 that it compresses, and not that of the 304 (Envoy #31420):
/// the 304 confirms the compressed response.
#[tokio::test]
async fn compressed_responses_are_validated() {
    let (nginx, proxy) = both("weak", &[]).await;
    let text = "hello, file\n".repeat(100);
    nginx.write("a.txt", &text);
    let url = format!("{}/a.txt", proxy.base());
    let first = curl(&["-i", "--compressed", &url]).await;
    let tag = field(&first, "etag");
    assert!(tag.starts_with("W/"), "{first}");
    for call in 1..3 {
        let validated = curl(&["-i", "--compressed", &url]).await;
        assert!(validated.starts_with("HTTP/1.1 200"), "{validated}");
        assert!(validated.ends_with(&text), "{validated}");
        assert_eq!(field(&validated, "content-encoding"), "gzip");
        assert_eq!(field(&validated, "etag"), tag);
        assert!(
            cache_status(&validated).contains("fwd-status=304"),
            "{validated}"
        );
        assert_eq!(nginx.log().await[call], "GET /a.txt HTTP/1.1 304");
    }
    // A new version is fetched whole, once. The tag of nginx is the second and the length.
    let longer = text.to_uppercase() + "HELLO\n";
    nginx.write("a.txt", &longer);
    let changed = curl(&["-i", "--compressed", &url]).await;
    assert!(changed.ends_with(&longer), "{changed}");
    assert_eq!(nginx.log().await[3..], ["GET /a.txt HTTP/1.1 200"]);
}

/// Interrupted downloads resume: of stored responses, and of responses too large to be stored.
#[tokio::test]
async fn downloads_are_resumed() {
    let options = ["--max-body", "4MiB"];
    let (nginx, proxy) = both("resume", &options).await;
    for (name, size) in [("small", 3_000_000), ("large", 9_000_000)] {
        let content: Vec<u8> = (0..size)
            .map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        nginx.write(name, &content);
        let url = format!("{}/minute/{name}", proxy.base());
        for kept in [0, 1, 1_234_567, size as usize - 1] {
            let partial = nginx.other("partial");
            fs::write(&partial, &content[..kept]).expect("a file");
            curl(&["-C", "-", "-o", &partial, &url]).await;
            let whole = fs::read(&partial).expect("a file");
            assert!(
                whole == content,
                "{name} from {kept}: {} bytes",
                whole.len()
            );
        }
        let part = nginx.other("part");
        curl(&["-r", "1000-1999", "-o", &part, &url]).await;
        assert!(fs::read(&part).expect("a file") == content[1000..2000]);
    }
    let whole = curl(&["-I", &format!("{}/minute/small", proxy.base())]).await;
    assert!(cache_status(&whole).starts_with("hit"), "{whole}");
}

/// How much memory a process holds at most, in MiB.
fn peak(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.expect("a number").parse::<u64>().expect("a number") / 1024
}

#[tokio::test]
async fn a_gibibyte_streams_in_flat_memory_and_is_not_stored() {
    const GIB: u64 = 1 << 30;
    let (nginx, proxy) = both("large", &[]).await;
    nginx.write("big", "");
    let file = fs::File::options().write(true).open(nginx.path("big"));
    file.and_then(|file| file.set_len(GIB))
        .expect("a sparse file");
    let url = format!("{}/minute/big", proxy.base());
    let before = peak(proxy.id());
    for _ in 0..2 {
        let head = nginx.other("head");
        let size = curl(&[
            "-o",
            "/dev/null",
            "-D",
            &head,
            "-w",
            "%{size_download}",
            &url,
        ])
        .await;
        assert_eq!(size, GIB.to_string());
        let head = fs::read_to_string(&head).expect("a head");
        assert!(cache_status(&head).starts_with("fwd="), "{head}");
        assert!(!cache_status(&head).contains("stored"), "{head}");
    }
    let after = peak(proxy.id());
    assert!(after < before + 32, "{before} MiB, then {after}");
}

#[tokio::test]
async fn a_killed_origins_stale_responses_are_served_until_it_is_back() {
    let (mut nginx, proxy) = both("killed", &[]).await;
    nginx.write("a.txt", "hello, file\n");
    let url = format!("{}/second/a.txt", proxy.base());
    let first = curl(&["-i", &url]).await;
    assert_eq!(cache_status(&first), "fwd=uri-miss; stored");
    nginx.kill().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let stale = curl(&["-i", &url]).await;
    assert!(stale.starts_with("HTTP/1.1 200"), "{stale}");
    assert!(stale.ends_with("hello, file\n"), "{stale}");
    assert!(
        cache_status(&stale).contains("stale-if-unreachable"),
        "{stale}"
    );
    let unknown = curl(&["-i", &format!("{}/minute/a.txt", proxy.base())]).await;
    assert!(unknown.starts_with("HTTP/1.1 502"), "{unknown}");
    assert_eq!(
        field(&unknown, "proxy-status"),
        "tower-response-cache; error=connection_refused"
    );
    nginx.restart().await;
    let mut back = String::new();
    for _ in 0..200 {
        back = curl(&["-i", &url]).await;
        if !cache_status(&back).contains("stale-if-unreachable") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(cache_status(&back).contains("fwd-status=304"), "{back}");
}

/// RFC 9111 §5.2.2.10, RFC 5861 §3: as Next.js sends it.
#[tokio::test]
async fn stale_while_revalidate_counts_beside_s_maxage_with_the_flag_for_it() {
    let lines = "cache-control: s-maxage=1, stale-while-revalidate=59\r\n";
    for (flags, expected) in [
        (&["--stale-despite-s-maxage"][..], "hit; ttl=-"),
        (&[], "fwd=stale; stored"),
    ] {
        let origin = Origin::saying(ok(lines, "page")).await;
        let url = origin.url();
        let arguments = [&["--upstream", url.as_str()][..], flags].concat();
        let proxy = Example::start("proxy", &arguments).await;
        let page = format!("{}/page", proxy.base());
        curl(&["-i", &page]).await;
        tokio::time::sleep(Duration::from_millis(2100)).await;
        let stale = cache_status(&curl(&["-i", &page]).await);
        assert!(stale.starts_with(expected), "{flags:?}: {stale}");
    }
}

#[tokio::test]
async fn uploads_are_streamed() {
    let origin = Origin::saying(ok("", "thanks")).await;
    let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
    let content = "0123456789".repeat(500_000);
    for (method, framing, expected) in [
        ("POST", "transfer-encoding: chunked", ("chunked", "")),
        ("PUT", "x-known: length", ("", "5000000")),
    ] {
        let mut child = Command::new("curl")
            .args(["-sS", "-X", method, "--data-binary", "@-", "-H", framing])
            .args([proxy.base(), "-H", "expect:"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(content.as_bytes()).await.expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().await.expect("an end");
        assert_eq!(output.stdout, b"thanks");
        let heard = origin.heard_one();
        let framed = (
            heard.field("transfer-encoding"),
            heard.field("content-length"),
        );
        assert_eq!((framed.0.as_str(), framed.1.as_str()), expected);
        let text = String::from_utf8(heard.content).expect("text");
        let digits = match expected.0 {
            // Without the lines between the chunks.
            "chunked" => dechunked(&text),
            _ => text,
        };
        assert!(digits == content, "{method}: {} bytes", digits.len());
    }
}

fn dechunked(mut text: &str) -> String {
    let mut content = String::new();
    loop {
        let (size, rest) = text.split_once("\r\n").expect("a chunk");
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            return content;
        }
        content.push_str(&rest[..size]);
        text = &rest[size + 2..];
    }
}

/// What one of them has fetched, the other one has.
#[cfg(feature = "redis")]
#[tokio::test]
async fn two_share_a_redis() {
    let redis = crate::redis::RedisServer::start().await;
    let (nginx, one) = both(
        "shared",
        &["--backend", "redis", "--redis-url", &redis.url()],
    )
    .await;
    let url = nginx.url();
    let options = [
        "--upstream",
        &url,
        "--backend",
        "redis",
        "--redis-url",
        &redis.url(),
    ];
    let two = Example::start("proxy", &options).await;
    let ask = async |proxy: &Example, name: &str| {
        let url = format!("{}/minute/{name}", proxy.base());
        let said = curl(&["-i", "-H", "host: site.example", &url]).await;
        cache_status(&said)
    };
    // Redis may be too slow for a request or two, which costs no more than that.
    for number in 0..50 {
        let name = format!("{number}.txt");
        nginx.write(&name, "hello, file\n");
        for _ in 0..50 {
            if ask(&one, &name).await.starts_with("hit") {
                break;
            }
        }
        if ask(&two, &name).await.starts_with("hit") {
            return;
        }
    }
    panic!("none of it is shared");
}
