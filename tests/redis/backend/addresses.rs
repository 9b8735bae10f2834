//! Errors for invalid addresses and names.

use std::error::Error;

use tower_response_cache::backend::RedisBackend;
use tower_response_cache::backend::redis::{RedisOptions, RedisProblem};

#[test]
fn an_invalid_redis_url_is_an_error() {
    for url in [
        "",
        "127.0.0.1:6379",
        "http://127.0.0.1/",
        "redis://127.0.0.1:port/",
        "redis://127.0.0.1:66000/",
        "redis://127.0.0.1/one",
    ] {
        let error = RedisBackend::new(url).expect_err(url);
        assert_eq!(
            error.to_string(),
            "invalid Redis URL: use redis://[user][:password@]host[:port][/database]",
            "{url}"
        );
        let source = error.source().expect("a reason").to_string();
        assert!(!source.is_empty(), "{url}");
    }
}

#[test]
fn an_invalid_namespace_is_an_error() {
    for name in ["", "a:", "a{b}", "a b", "é", "a\r\n", "*", &"a".repeat(65)] {
        let options = RedisOptions::new("redis://127.0.0.1/").expect("a URL");
        let error = options.try_namespace(name).expect_err(name);
        assert_eq!(
            error.to_string(),
            format!(
                "invalid Redis namespace {name:?}: use 1 to 64 letters, digits, '.', '_' or '-'"
            )
        );
    }
}

#[test]
fn tls_needs_its_feature() {
    let options = RedisOptions::new("rediss://127.0.0.1/");
    if cfg!(feature = "redis-tls") {
        assert!(options.is_ok());
    } else {
        let error = options.expect_err("not supported");
        assert_eq!(
            error.to_string(),
            "unsupported scheme rediss://: enable the feature redis-tls"
        );
    }
}

#[tokio::test]
async fn a_missing_server_is_reported() {
    let port = std::net::TcpListener::bind("127.0.0.1:0");
    let port = port.and_then(|free| free.local_addr()).expect("a port");
    let backend = RedisBackend::new(&format!("redis://{port}/")).expect("a URL");
    let error = backend.connect().await.expect_err("nobody is there");
    assert_eq!(*error.problem(), RedisProblem::NoServer);
    assert!(error.to_string().starts_with("cannot connect to Redis: "));
    assert!(error.source().is_some(), "and why");
}
