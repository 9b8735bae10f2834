//! Starting and stopping.

use rusqlite::Connection;
use tokio::net::TcpStream;

use crate::server::{Server, products};
use crate::sharing::Folder;

#[tokio::test]
async fn wrong_options_are_explained() {
    for (arguments, message) in [
        #[cfg(not(feature = "redis"))]
        (["--backend", "redis"], "--backend redis needs the feature"),
        (
            ["--backend", "tiered"],
            "--backend tiered is not supported yet",
        ),
        (
            ["--backend", "disk"],
            "[possible values: memory, redis, none]",
        ),
        (
            ["--write", "back"],
            "[possible values: invalidate, write-through]",
        ),
        (
            ["--ttl", "60"],
            "units ms, s, m, h, d, or until-invalidated",
        ),
        (
            ["--ttl", "-1s"],
            "units ms, s, m, h, d, or until-invalidated",
        ),
        (["--database-delay", "1.5s"], "a whole number"),
        (["--capacity", "64MB"], "units B, KiB, MiB, GiB"),
        (["--capacity", "99999999999GiB"], "too large"),
        (
            ["--database", "/nowhere/at/all.db"],
            "cannot open the database /nowhere/at/all.db",
        ),
    ] {
        let output = products(&arguments).output().await.expect("an output");
        assert!(!output.status.success(), "{arguments:?}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with("error: "), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn help_opens_with_an_example_and_names_rust_log() {
    let output = products(&["--help"]).output().await.expect("an output");
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(help.starts_with("A products API over SQLite"), "{help}");
    for part in [
        "Example:\n  products --listen",
        "RUST_LOG",
        "[default: 60s]",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(!help.contains("tiered"), "{help}");
}

#[tokio::test]
async fn every_option_is_taken() {
    let server = Server::start(&[
        "--backend",
        "memory",
        "--redis-url",
        "redis://127.0.0.1:6379/",
        "--ttl",
        "until-invalidated",
        "--capacity",
        "1MiB",
        "--write",
        "invalidate",
        "--database",
        ":memory:",
        "--database-delay",
        "1ms",
    ])
    .await;
    server.get("/products").await;
    let hit = server.get("/products").await;
    assert_eq!(hit.header("cache-status"), "tower-response-cache; hit");
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_it_after_the_requests_in_flight() {
    for signal in ["TERM", "INT"] {
        let folder = Folder::new(signal);
        let database = folder.database();
        let server = Server::start(&["--database", &database, "--database-delay", "700ms"]).await;
        let stop = async {
            server.until("/database/writes", 1).await;
            server.signal(signal).await;
            // New connections are refused: the signal has arrived, and the answer has not left.
            while TcpStream::connect(("127.0.0.1", server.port()))
                .await
                .is_ok()
            {}
        };
        let (made, ()) = tokio::join!(server.post("Lamp", 39.5), stop);
        assert_eq!(made.status, 201, "{signal}");
        assert_eq!(server.exit().await.code(), Some(0), "{signal}");
        let stored = Connection::open(&database).and_then(|connection| {
            connection.query_row("SELECT name FROM products", (), |row| {
                row.get::<_, String>(0)
            })
        });
        assert_eq!(stored.as_deref(), Ok("Lamp"), "{signal}");
    }
}
