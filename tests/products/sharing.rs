//! A database file, and others that have it open too.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::server::Server;

/// A folder for one test's database, removed with all that SQLite put beside it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let name = format!("products-{name}-{}", std::process::id());
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    pub fn database(&self) -> String {
        let path = self.0.join("products.db");
        path.into_os_string().into_string().expect("UTF-8")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn instances_share_a_database_file() {
    let folder = Folder::new("shared");
    let file = folder.database();
    let (one, other) = tokio::join!(
        async { Server::start(&["--database", &file]).await },
        async { Server::start(&["--database", &file, "--backend", "none"]).await },
    );
    let mut writes = JoinSet::new();
    for number in 0..40 {
        let client = if number % 2 == 0 {
            one.clone()
        } else {
            other.clone()
        };
        writes.spawn(async move { client.post("Lamp", f64::from(number)).await });
    }
    let made: BTreeSet<String> = writes
        .join_all()
        .await
        .iter()
        .map(|made| made.header("location"))
        .collect();
    assert_eq!(made.len(), 40);
    let list = one.get("/products").await.data();
    assert_eq!(list, other.get("/products").await.data());
    assert_eq!(list.as_array().map(Vec::len), Some(40));

    let path = made.first().unwrap();
    assert_eq!(other.put(path, "Desk", 1.0).await.status, 200);
    assert_eq!(one.get(path).await.data()["name"], "Desk");
}

#[tokio::test]
async fn reads_go_on_while_a_write_waits_for_another_instance() {
    let folder = Folder::new("busy");
    let file = folder.database();
    let server = Server::start(&["--database", &file, "--backend", "none"]).await;
    let path = server.post("Lamp", 39.5).await.header("location");
    let other = Connection::open(&file).expect("the database");
    other
        .execute_batch("BEGIN IMMEDIATE")
        .expect("the write lock");
    let read = async {
        server.until("/database/writes", 2).await;
        let read = server.get(&path).await;
        other.execute_batch("ROLLBACK").expect("an end");
        read
    };
    let (written, read) = tokio::join!(server.put(&path, "Lamp", 35.0), read);
    assert_eq!(
        (read.status.as_u16(), &read.data()["price"]),
        (200, &json!(39.5))
    );
    assert_eq!(
        (written.status.as_u16(), &written.data()["price"]),
        (200, &json!(35.0))
    );
}

#[tokio::test]
async fn a_broken_database_is_an_error_with_an_envelope() {
    let folder = Folder::new("broken");
    let file = folder.database();
    let server = Server::start(&["--database", &file]).await;
    let other = Connection::open(&file).expect("the database");
    other
        .execute_batch("DROP TABLE products")
        .expect("no table");
    for answer in [
        server.get("/products").await,
        server.post("Lamp", 1.0).await,
    ] {
        assert_eq!(answer.status, 500);
        let json = answer.json();
        assert_eq!(
            (&json["status"], &json["data"]),
            (&json!("error"), &Value::Null)
        );
        assert_eq!(json["message"], "the database failed; see the server's log");
    }
}
