//! The products example, end to end: the built program, spoken to over TCP.

mod canary;
mod client;
#[path = "../support/example.rs"]
mod example;
mod process;
#[cfg(feature = "redis")]
#[path = "../support/redis/mod.rs"]
mod redis;
mod rejection;
mod server;
#[cfg(feature = "redis")]
mod server_cost;
#[cfg(feature = "redis")]
mod shared;
mod sharing;
mod strategies;
mod wrong_bodies;
mod wrong_targets;

use http::Method;
use serde_json::json;
use server::Server;

#[tokio::test]
async fn the_index_lists_the_endpoints() {
    let server = Server::start(&[]).await;
    let index = server.get("/").await;
    assert_eq!(index.status, 200);
    for endpoint in [
        "POST   /products ",
        "GET    /products/{id} ",
        "GET    /stats ",
    ] {
        assert!(index.text().contains(endpoint), "{endpoint}: {index:?}");
    }
}

#[tokio::test]
async fn every_json_body_ends_with_a_newline() {
    let server = Server::start(&[]).await;
    let mut bodies = vec![server.post("Lamp", 39.5).await];
    for path in [
        "/products",
        "/products",
        "/products/7",
        "/nowhere",
        "/stats",
    ] {
        bodies.push(server.get(path).await);
    }
    for body in bodies {
        assert!(body.text().ends_with("}\n"), "{body:?}");
        assert_eq!(body.header("content-length"), body.text().len().to_string());
    }
    let stats = server.get("/stats").await.text();
    assert!(stats.starts_with("{\n  \"hits\": "), "{stats}");
}

#[tokio::test]
async fn a_get_is_repeated_from_the_cache_until_a_put() {
    let server = Server::start(&[]).await;
    let made = server.post("Lamp", 39.5).await;
    assert_eq!(made.status, 201);
    let path = made.header("location");
    let product = made.data();
    assert_eq!(
        path,
        format!("/products/{}", product["id"].as_str().unwrap())
    );
    assert_eq!(made.header("content-location"), path);
    assert_eq!(
        (&product["name"], &product["price"]),
        (&json!("Lamp"), &json!(39.5))
    );

    let first = server.get(&path).await;
    assert_eq!(
        (first.status.as_u16(), first.source()),
        (200, "database".into())
    );
    assert_eq!(first.text(), made.text(), "a POST answers what a GET would");
    assert!(first.header("etag").starts_with("W/\""));
    for _ in 0..2 {
        let again = server.get(&path).await;
        assert_eq!(
            (again.status.as_u16(), again.source()),
            (200, "cache".into())
        );
        assert_eq!(again.text(), first.as_from("cache"));
        assert_eq!(again.header("etag"), first.header("etag"));
    }

    let put = server.put(&path, "Lamp", 35.0).await;
    assert_eq!(
        (put.status.as_u16(), put.source()),
        (200, "database".into())
    );
    assert_eq!(put.header("content-location"), path);
    assert_ne!(put.header("etag"), first.header("etag"));
    assert_ne!(put.data()["last_updated"], product["last_updated"]);
    let first = server.get(&path).await;
    assert_eq!(first.text(), put.text(), "a PUT answers what a GET would");
    assert_eq!(first.source(), "database");
    assert_eq!(server.get(&path).await.text(), put.as_from("cache"));

    let deleted = server.send(Method::DELETE, &path).await;
    assert_eq!((deleted.status.as_u16(), deleted.text()), (204, "".into()));
    let gone = server.get(&path).await;
    assert_eq!(
        (gone.status.as_u16(), gone.source()),
        (404, "database".into())
    );
}

#[tokio::test]
async fn ids_are_random_uuids_and_times_are_rfc_3339() {
    let server = Server::start(&[]).await;
    let product = server.post("Lamp", 1.0).await.data();
    let id: uuid::Uuid = product["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 4);
    let time = product["last_updated"].as_str().unwrap();
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert!(shape.starts_with("0000-00-00T00:00:00"), "{time}");
    assert!(shape.ends_with('Z'), "{time}");
}

#[tokio::test]
async fn the_list_falls_with_any_product() {
    let server = Server::start(&[]).await;
    let path = server.post("Lamp", 39.5).await.header("location");
    for round in 1..4 {
        for (target, source) in [("/products", "database"), ("/products", "cache")] {
            let list = server.get(target).await;
            let length = list.data().as_array().unwrap().len();
            assert_eq!((list.status.as_u16(), list.source()), (200, source.into()));
            assert_eq!(length, if round == 3 { 2 } else { 1 });
        }
        let written = match round {
            1 => server.put(&path, "Lamp", 35.0).await,
            2 => server.post("Desk", 120.0).await,
            _ => server.send(Method::DELETE, &path).await,
        };
        assert!(written.status.is_success());
    }
    let left = server.get("/products").await;
    assert_eq!(left.source(), "database");
    assert_eq!(left.data().as_array().unwrap().len(), 1);
    assert_eq!(left.data()[0]["name"], "Desk");
}

#[tokio::test]
async fn head_says_what_get_would_and_poisons_nothing() {
    let server = Server::start(&[]).await;
    let path = server.post("Lamp", 39.5).await.header("location");
    for source in ["database", "cache"] {
        let head = server.send(Method::HEAD, &path).await;
        let get = server.get(&path).await;
        assert_eq!((head.status.as_u16(), head.text()), (200, "".into()));
        assert_eq!(
            (get.source(), get.text().is_empty()),
            (source.into(), false)
        );
        for name in ["content-length", "content-type", "etag"] {
            assert_eq!(head.header(name), get.header(name), "{name} from {source}");
        }
        assert_eq!(get.header("content-length"), get.text().len().to_string());
    }
}

/// The cached bytes lack the last member of the answer, so ranges of them would be wrong.
#[tokio::test]
async fn a_range_is_ignored() {
    let server = Server::start(&[]).await;
    let path = server.post("Lamp", 39.5).await.header("location");
    server.get(&path).await;
    let request = server
        .request(Method::GET, &path)
        .header("range", "bytes=0-9");
    let answer = server.ask(request, "").await;
    assert_eq!((answer.status.as_u16(), &*answer.source()), (200, "cache"));
    assert_eq!(answer.data()["name"], json!("Lamp"));
}
