//! `POST /explain`: why a request hits, or does not.

use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::Layer;
use tower::ServiceExt;
use tower::layer::layer_fn;
use tower_response_cache::CacheLayer;
use tower_response_cache::admin::Admin;
use tower_response_cache::backend::MemoryBackend;

use super::calls::{TOKEN, post};
use crate::support::origin::{Origin, answer, cacheable, slow};
use crate::support::time::{SLOW, in_virtual_time};
use crate::support::{get, send, with};

fn origin() -> Origin {
    Origin::at_once(|request| {
        let lines: &[(_, &str)] = match request.uri().path() {
            "/varies" => &[("cache-control", "max-age=60"), ("vary", "accept-language")],
            "/no-store" => &[("cache-control", "no-store")],
            _ => &[("cache-control", "s-maxage=60"), ("etag", "\"1\"")],
        };
        answer(200, lines, "content")
    })
}

#[tokio::test]
async fn an_explanation_says_verdict_reason_key_and_what_is_stored() {
    let layer = CacheLayer::new(MemoryBackend::default());
    let (origin, admin) = (origin(), Admin::new(layer.handle()).token(TOKEN));
    let service = layer.layer(origin.clone());
    let explain = async |question: Value| {
        let answer = post(&admin, "/explain", &question).await;
        assert_eq!(answer.status, 200, "{question}: {}", answer.text);
        answer.json()
    };
    let uri = "http://test.example/a?q";
    let missed = explain(json!({"uri": uri})).await;
    assert_eq!(missed["verdict"], "fetch");
    assert_eq!(missed["reason"], "uri-miss");
    assert_eq!(missed["is_hit"], false);
    assert_eq!(
        missed["text"],
        "The inner service is called. No response is stored under the key."
    );
    assert_eq!(missed["stored"], Value::Null);

    send(&service, get("/a?q")).await;
    let hit = explain(json!({"uri": uri})).await;
    assert_eq!(
        (&hit["verdict"], &hit["is_hit"]),
        (&json!("hit"), &json!(true))
    );
    assert_eq!(
        hit["key"],
        json!({"scheme": null, "authority": "test.example", "path": "/a", "query": "q",
               "resource": ["", "/a"]})
    );
    assert_eq!(hit["stored"]["status"], 200);
    assert_eq!(hit["stored"]["lifetime_seconds"], 60.0);
    assert_eq!(hit["stored"]["lifetime_rule"], "s-maxage");
    assert_eq!(hit["stored"]["etag"], "\"1\"");

    let fields = json!({"cache-control": ["max-age=5", "no-cache"]});
    let forced = explain(json!({"method": "HEAD", "uri": uri, "fields": fields})).await;
    assert_eq!(forced["reason"], "request-no-cache");
    // A path and a host of its own are the same request.
    let fields = json!({"host": "test.example"});
    assert_eq!(
        explain(json!({"uri": "/a?q", "fields": fields})).await["is_hit"],
        true
    );
    assert_eq!(
        explain(json!({"uri": "/a?q"})).await["is_hit"],
        false,
        "another host"
    );

    send(&service, with(get("/varies"), "accept-language", "de")).await;
    let fields = json!({"accept-language": "FR"});
    let varies = explain(json!({"uri": "http://test.example/varies", "fields": fields})).await;
    assert_eq!(varies["reason"], "vary-miss");
    assert_eq!(
        varies["vary"],
        json!([{"name": "accept-language", "value": "fr"}])
    );

    send(&service, get("/no-store")).await;
    let refused = explain(json!({"uri": "http://test.example/no-store"})).await;
    assert_eq!(refused["notes"][0]["name"], "refused-lately");
    assert_eq!(refused["notes"][0]["reason"], "no-store");

    let write = explain(json!({"method": "DELETE", "uri": uri})).await;
    assert_eq!(
        (&write["verdict"], &write["reason"]),
        (&json!("write"), &Value::Null)
    );
    let bypass = explain(json!({"method": "OPTIONS", "uri": uri})).await;
    assert_eq!(
        (&bypass["verdict"], &bypass["reason"]),
        (&json!("bypass"), &json!("method"))
    );
    // The origin was called by requests alone.
    assert_eq!(origin.calls(), 3);
}

/// RFC 9112 §3.2.2: the host of an absolute target wins, as it does for requests. P8.
#[tokio::test]
async fn a_question_with_two_hosts_is_for_the_one_that_a_request_is_for() {
    let layer = CacheLayer::new(MemoryBackend::default());
    let admin = Admin::new(layer.handle()).token(TOKEN);
    let service = layer.layer(origin());
    send(&service, get("/a")).await;
    for (uri, hosts, authority) in [
        (
            "http://test.example/a",
            &["other.example"][..],
            "test.example",
        ),
        ("http://other.example/a", &["test.example"], "other.example"),
        ("http://test.example/a", &["test.example"], "test.example"),
        (
            "http://TEST.example:80/a",
            &["test.example."],
            "test.example",
        ),
        ("http://test.example/a", &[], "test.example"),
        // No key is made of these, whatever the target says.
        (
            "http://test.example/a",
            &["test.example", "test.example"],
            "",
        ),
        ("http://test.example/a", &["no host"], ""),
    ] {
        let question = json!({"uri": uri, "fields": {"host": hosts}});
        let said = post(&admin, "/explain", &question).await.json();
        let mut asked = Request::get(uri).body(()).expect("a request");
        for host in hosts {
            asked
                .headers_mut()
                .append("host", host.parse().expect("a value"));
        }
        let only = with(asked, "cache-control", "only-if-cached");
        let is_hit = send(&service, only).await.is_hit();
        assert_eq!(said["is_hit"], is_hit, "{question}");
        assert_eq!(is_hit, authority == "test.example", "{question}");
        match authority {
            "" => assert_eq!(said["verdict"], "bypass", "{question}"),
            _ => assert_eq!(said["key"]["authority"], authority, "{question}"),
        }
    }
}

/// What a call that is under way will bring is not known yet.
#[tokio::test(start_paused = true)]
async fn a_request_that_would_wait_is_no_hit() {
    let layer = in_virtual_time(MemoryBackend::default());
    let admin = Admin::new(layer.handle()).token(TOKEN);
    let service = layer.layer(slow(|_, _| cacheable("content")));
    let question = json!({"uri": "http://test.example/a"});
    let explained = async {
        sleep(SLOW / 2).await;
        post(&admin, "/explain", &question).await.json()
    };
    let (answer, explained) = tokio::join!(send(&service, get("/a")), explained);
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&explained["verdict"], &explained["reason"]),
        (&json!("wait"), &json!("uri-miss"))
    );
    assert_eq!(
        (&explained["is_hit"], &explained["status"]),
        (&json!(false), &Value::Null)
    );
}

#[tokio::test]
async fn a_question_that_is_no_request_is_refused() {
    let layer = CacheLayer::new(MemoryBackend::default());
    let admin = Admin::new(layer.handle()).token(TOKEN);
    let many: serde_json::Map<_, _> = (0..2000)
        .map(|number| (format!("x-{number}"), json!(["a", "b", "c"])))
        .collect();
    for (question, says) in [
        (json!({}), "uri"),
        (json!({"uri": ""}), "uri"),
        (json!({"uri": "no-path"}), "path"),
        (json!({"uri": "/a b"}), "uri"),
        (json!({"uri": "*"}), "path"),
        (json!({"uri": "/a", "method": "G T"}), "method"),
        (json!({"uri": "/a", "fields": {"a b": "c"}}), "field"),
        (json!({"uri": "/a", "fields": {"a": "b\nc"}}), "a cannot"),
        (json!({"uri": "/a", "fields": {"a": 7}}), "invalid content"),
        (json!(["GET", "/a", {}]), "expected an object"),
        (
            json!({"uri": "/a", "headers": {}}),
            "unknown field `headers`",
        ),
    ] {
        let answer = post(&admin, "/explain", &question).await;
        assert_eq!(answer.status, 400, "{question}");
        assert!(answer.text.contains(says), "{question}: {}", answer.text);
    }
    let answer = post(&admin, "/explain", &json!({"uri": "/a", "fields": many})).await;
    assert!(answer.status == 200 || answer.status == 400, "{answer:?}");
}

/// Layers outside of the cache make the key: the question passes them as a request does.
#[tokio::test]
async fn a_question_passes_the_layers_outside_of_the_cache() {
    let layer = CacheLayer::new(MemoryBackend::default());
    // Adds a field by which the response varies, and answers one path itself.
    let outer = tower::util::MapRequestLayer::new(|mut request: Request<_>| {
        let fields = request.headers_mut();
        fields.insert("accept-language", "en".parse().expect("a value"));
        request
    });
    let refusing = |inner| {
        tower::service_fn(move |request: Request<_>| {
            let passed = (request.uri().path() != "/refused")
                .then(|| ServiceExt::oneshot(Clone::clone(&inner), request));
            async move {
                match passed {
                    Some(passed) => passed.await,
                    None => Ok(Response::builder()
                        .status(400)
                        .body(Full::default())
                        .expect("a response")),
                }
            }
        })
    };
    let service = layer.layer(origin());
    send(&service, with(get("/varies"), "accept-language", "en")).await;
    let plain = Admin::new(layer.handle()).token(TOKEN);
    let verdict = async |admin: &Admin, path: &str| {
        let question = json!({"uri": format!("http://test.example{path}")});
        let answer = post(admin, "/explain", &question).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answer = answer.json();
        (answer["verdict"].clone(), answer["text"].clone())
    };
    let passing = plain.clone().outer_layers(outer);
    assert_eq!(verdict(&plain, "/varies").await.0, "fetch");
    assert_eq!(verdict(&passing, "/varies").await.0, "hit");
    let refusing = plain.outer_layers(layer_fn(refusing));
    assert_eq!(verdict(&refusing, "/varies").await.0, "fetch");
    let (verdict, text) = verdict(&refusing, "/refused").await;
    assert_eq!(verdict, "answered-outside");
    assert!(
        text.as_str().is_some_and(|text| text.contains("400")),
        "{text}"
    );
}

/// Each lookup is told, with the parts that are stored; the id of a partition is not.
#[tokio::test]
async fn an_explanation_tells_each_lookup_and_no_id() {
    let layer = CacheLayer::new(MemoryBackend::default())
        .private_by(|request| Some(request.headers.get("x-session")?.as_bytes().to_vec()));
    let admin = Admin::new(layer.handle()).token(TOKEN);
    let origin = Origin::at_once(|_| {
        let lines = [
            ("cache-control", "private, max-age=60"),
            ("etag", "\"1\""),
            ("content-range", "bytes 2-5/10"),
        ];
        answer(206, &lines, "2345")
    });
    let service = layer.layer(origin);
    let part = with(get("/a"), "range", "bytes=2-5");
    send(&service, with(part, "x-session", "7f3a-secret")).await;
    let explain = async |range: &str| {
        let fields = json!({"x-session": "7f3a-secret", "range": range});
        let question = json!({"uri": "http://test.example/a", "fields": fields});
        let answer = post(&admin, "/explain", &question).await;
        assert!(!answer.text.contains("secret"), "{}", answer.text);
        answer.json()
    };
    let hit = explain("bytes=3-4").await;
    assert_eq!(
        (&hit["verdict"], &hit["status"]),
        (&json!("hit"), &json!(206))
    );
    assert_eq!(hit["ranges"], json!(["3-4"]));
    let text = hit["text"].as_str().expect("text");
    assert!(
        text.ends_with("The answer is 206 with bytes 3-4."),
        "{text}"
    );
    let steps: Vec<_> = hit["lookups"].as_array().expect("lookups").iter().collect();
    let told = |name: &str| -> Vec<_> { steps.iter().map(|step| step[name].clone()).collect() };
    assert_eq!(told("partition"), ["public", "private", "private"]);
    assert_eq!(told("looked_for"), ["whole", "whole", "parts"]);
    assert_eq!(told("verdict"), ["fetch", "fetch", "hit"]);
    let parts = json!({"ranges": ["2-5"], "complete_bytes": 10});
    assert_eq!(hit["stored"]["parts"], parts);
    assert_eq!(hit["stored"]["lifetime_rule"], "max-age");

    let more = explain("bytes=0-3").await;
    assert_eq!(
        (&more["verdict"], &more["reason"]),
        (&json!("fetch"), &json!("partial"))
    );
    assert_eq!(more["stored"]["parts"], parts);
    assert_eq!(more["status"], Value::Null);
}
