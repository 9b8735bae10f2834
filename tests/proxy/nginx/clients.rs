//! Clients that stall before nginx, beside others.

use std::fs;
use std::time::{Duration, Instant};

use super::Nginx;
use crate::clients::http2_client::Http2Client;
use crate::example::{Example, PATIENCE};
use crate::raw::{exchange, last_get};

/// nginx reads the content of a request before it forwards it to itself.
async fn nginx(name: &str) -> Nginx {
    let up = "
        location /up { proxy_pass http://127.0.0.1:$server_port/saw/up; }
        location /status { stub_status; access_log off; }
    ";
    Nginx::with(name, up, None).await
}

/// Each connection has more uploads that stall than there are places; each upload sends a piece.
#[tokio::test]
async fn uploads_that_stall_before_nginx_hold_up_no_other_request() {
    let nginx = nginx("stalled").await;
    let options = ["--upstream", &nginx.url(), "--concurrency", "16"];
    let proxy = Example::start("proxy", &options).await;
    let mut clients = Vec::new();
    for number in 0..6 {
        let address = format!("127.0.0.{}", 2 + number);
        let mut client = Http2Client::connect_from(&address, proxy.port(), 65_535).await;
        for _ in 0..60 {
            let stream = client.request("POST", "/up", Some(1000)).await;
            client.data(stream, b"some").await;
        }
        clients.push(client);
    }
    for number in 0..20 {
        let miss = exchange(proxy.port(), last_get(&format!("/saw/{number}"))).await;
        assert!(miss.ends_with("saw"), "{miss}");
        let write = last_get("/up").replacen("GET", "POST", 1);
        let write = write.replacen("connection:", "content-length: 3\r\nconnection:", 1) + "abc";
        let said = exchange(proxy.port(), write).await;
        assert!(said.ends_with("saw"), "{said}");
    }
    drop(clients);
}

/// Closed windows of clients keep no connections of nginx.
#[tokio::test]
async fn nginx_is_let_go_by_clients_that_do_not_read() {
    const LARGE: u64 = 64 << 20;
    let nginx = nginx("windows").await;
    nginx.write("big", "");
    let file = fs::File::options().write(true).open(nginx.path("big"));
    file.and_then(|file| file.set_len(LARGE))
        .expect("a sparse file");
    let options = ["--upstream", &nginx.url(), "--idle-timeout", "1s"];
    let proxy = Example::start("proxy", &options).await;
    let mut clients = Vec::new();
    for window in [0, 1000, 0] {
        let mut client = Http2Client::connect(proxy.port(), window).await;
        client.request("GET", "/big", None).await;
        clients.push(client);
    }
    for client in clients {
        let received = client.wait_for_end().await;
        assert!(received <= 1000, "{received} bytes");
    }
    // The one that asks.
    let begin = Instant::now();
    while !exchange(nginx.port, last_get("/status"))
        .await
        .contains("Writing: 1 ")
    {
        assert!(begin.elapsed() < PATIENCE, "nginx is kept");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = exchange(proxy.port(), last_get("/saw/next")).await;
    assert!(said.ends_with("saw"), "{said}");
}
