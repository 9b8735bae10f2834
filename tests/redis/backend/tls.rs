//! By TLS, with an authority of one's own.

use std::fs;

use redis::{Client, TlsCertificates};
use tower_response_cache::backend::RedisBackend;
use tower_response_cache::backend::conformance::check;
use tower_response_cache::backend::redis::RedisOptions;

use crate::backend::conformance::open_fresh;
use crate::backend::patient;
use crate::support::redis::RedisServer;

fn client(server: &RedisServer) -> Client {
    client_at(&server.tls_url())
}

/// A client that trusts the authority of test servers.
pub fn client_at(url: &str) -> Client {
    let authority = fs::read(RedisServer::tls_authority()).expect("a certificate");
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert: Some(authority),
    };
    Client::build_with_tls(url, certificates).expect("a client")
}

#[tokio::test]
async fn redis_keeps_the_contract_by_tls() {
    let config = RedisServer::configure().tls().password("secret");
    let server = config.start().await;
    check(|| {
        open_fresh(|namespace| {
            let options = patient(RedisOptions::from_client(client(&server)));
            options.try_namespace(namespace).expect("a namespace")
        })
    })
    .await;
}

/// Neither a server with an untrusted certificate is used, nor one in plain text.
#[tokio::test]
async fn a_server_must_be_whom_it_says() {
    let server = RedisServer::configure().tls().start().await;
    let stranger = RedisBackend::new(&server.tls_url()).expect("a URL");
    let error = stranger.connect().await.expect_err("nobody vouches for it");
    let source = std::error::Error::source(&error).expect("a reason");
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(source.to_string().contains("certificate"), "{source}");
    let plain = format!("rediss://127.0.0.1:{}/", server.port());
    let plain = RedisBackend::new(&plain).expect("a URL");
    assert!(plain.connect().await.is_err());
}
