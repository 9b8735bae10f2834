//! What has to hold of every answer to wrong input.

use serde_json::Value;

use crate::client::Answer;
use crate::server::Server;

/// The envelope, with an error message.
pub fn assert_error(answer: &Answer, status: u16, message: &str, case: &str) {
    assert_eq!(answer.status, status, "{case}: {answer:?}");
    assert_eq!(answer.header("content-type"), "application/json", "{case}");
    let json = answer.json();
    let members: Vec<_> = json.as_object().expect("an object").keys().collect();
    assert_eq!(members, ["data", "message", "source", "status"], "{case}");
    assert_eq!(
        (&json["status"], &json["data"]),
        (&"error".into(), &Value::Null),
        "{case}"
    );
    let said = json["message"].as_str().expect("a message");
    assert!(said.contains(message), "{case}: {said:?} lacks {message:?}");
}

/// A server with one product that is in the cache, as is the list.
pub async fn server_with_a_product() -> (Server, String, Vec<Answer>) {
    let server = Server::start(&[]).await;
    let path = server.post("Lamp", 39.5).await.header("location");
    let mut before = Vec::new();
    for target in [&path, "/products"] {
        server.get(target).await;
        before.push(server.get(target).await);
    }
    (server, path, before)
}

/// Not even the cache: bad requests do not flush it.
pub async fn assert_nothing_changed(server: &Server, path: &str, before: &[Answer], case: &str) {
    for (target, before) in [path, "/products"].into_iter().zip(before) {
        let now = server.get(target).await;
        assert_eq!(now.text(), before.text(), "{case}");
        assert_eq!(now.source(), "cache", "{case}");
    }
}
