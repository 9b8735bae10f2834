//! What a proxy has no place for counts as that, whatever its method.

use std::future::pending;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::example::{Example, PATIENCE};
use crate::http_client::{get, send};

async fn stats(proxy: &Example) -> Value {
    let text = get(proxy.admin(), "/stats").await.text;
    serde_json::from_str(&text).expect("JSON")
}

fn sum(counts: &Value) -> u64 {
    let counts = counts.as_object().expect("counts").values();
    counts.map(|count| count.as_u64().expect("a number")).sum()
}

/// An origin that takes connections and never answers.
async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            open.push(stream);
        }
        pending::<()>().await;
    });
    format!("http://{address}")
}

/// RFC 9110 §9.2.1: an error of a safe request is one; a write gets a response that says that nothing
/// has changed.
#[tokio::test]
async fn writes_without_a_place_count_as_overload_like_reads() {
    let origin = silent().await;
    let flags = [
        ["--upstream", &origin],
        ["--admin", "127.0.0.1:0"],
        ["--concurrency", "1"],
        ["--queue-timeout", "50ms"],
    ];
    let proxy = Example::start("proxy", flags.as_flattened()).await;
    let base = proxy.base().to_owned();
    let holder = tokio::spawn(async move { get(&base, "/held").await.status });
    let held = async {
        while stats(&proxy).await["origin"]["in_flight"] != 1 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, held).await.expect("the place is taken");
    let before = stats(&proxy).await;
    let mut refused = 0;
    for (method, content) in [
        ("PUT", "new"),
        ("PUT", ""),
        ("POST", "new"),
        ("DELETE", ""),
        ("BREW", ""),
        ("OPTIONS", ""),
        ("GET", ""),
        ("GET", "question"),
    ] {
        let answer = send(proxy.base(), method, "/a", &[], content).await;
        assert_eq!(answer.status, 503, "{method} {content:?}");
        assert_eq!(answer.header("retry-after"), "1", "{method} {content:?}");
        refused += 1;
        let now = stats(&proxy).await;
        let requests = &now["requests"];
        assert_eq!(
            requests["overload"], refused,
            "{method} {content:?}: {requests}"
        );
        assert_eq!(sum(requests), refused, "{method} {content:?}: {requests}");
        assert_eq!(now["origin"]["refused"], refused, "{method} {content:?}");
        // No call of the origin, of which a 5xx would say that it fails.
        assert_eq!(now["origin_calls"], before["origin_calls"], "{method}");
        assert_eq!(
            now["body_bytes"], before["body_bytes"],
            "{method}: what the origin has not sent"
        );
    }
    holder.abort();
}
