//! The references of a write and its response: encoded and keyed as clients would.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response};
use tower::{Layer, Service};
use tower_response_cache::key::Sites;

use super::origin;
use crate::support::origin::answer;
use crate::support::{get, in_memory, is_stored, put, request, send};

/// An answer to a write that names resources by these values, as they are.
fn naming(lines: &'static [(&'static str, &'static [u8])]) -> crate::support::origin::Origin {
    origin(&Arc::default(), move |_| async move {
        let mut response = answer(201, &[], "");
        for (name, value) in lines {
            let value = HeaderValue::from_bytes(value).expect("a field value");
            response.headers_mut().append(*name, value);
        }
        Ok(response)
    })
}

/// RFC 9111 §4.4: a client follows a reference that it has encoded (nginx, many frameworks send
/// raw file names).
#[tokio::test(start_paused = true)]
async fn references_are_encoded_as_clients_do() {
    for (line, gone) in [
        (("location", "/caf\u{e9}".as_bytes()), "/caf%C3%A9"),
        (
            ("content-location", "/caf\u{e9}?q=\u{e9}".as_bytes()),
            "/caf%C3%A9",
        ),
        (("location", "caf\u{e9}/1".as_bytes()), "/caf%C3%A9/1"),
        (
            ("location", "http://test.example/\u{1f980}".as_bytes()),
            "/%F0%9F%A6%80",
        ),
        (("location", b"/caf\xe9".as_slice()), "/caf%E9"),
        (("location", b"/a b"), "/a%20b"),
        (("location", b"/{id}"), "/%7Bid%7D"),
        // A client follows it to the host (RFC 3986 §3.2.1).
        (("location", b"http://user:secret@TEST.example:80/b"), "/b"),
        (
            ("content-location", b"//test.example:1@test.example/b"),
            "/b",
        ),
        // Whitespace around a field value is no part of it (RFC 9110 §5.5), nor does a client see
        // it.
        (("location", b"/caf%C3%A9 "), "/caf%C3%A9"),
        (("location", b"\t /b"), "/b"),
        (("content-location", b" \thttp://test.example/b\t"), "/b"),
    ] {
        let line: &'static [_] = vec![line].leak();
        let service = in_memory().layer(naming(line));
        for path in [gone, "/other"] {
            send(&service, get(path)).await;
        }
        send(&service, request(Method::POST, "/a")).await;
        assert!(!is_stored(&service, get(gone)).await, "{gone}");
        assert!(is_stored(&service, get("/other")).await, "{gone}");
    }
    let layer = in_memory().also_invalidate(|_| ["/caf\u{e9}", "\u{e9} \u{e9}"]);
    let service = layer.layer(naming(&[]));
    let named = ["/caf%c3%a9", "/%C3%A9%20%C3%A9"];
    for path in named {
        send(&service, get(path)).await;
    }
    send(&service, put("/a")).await;
    for path in named {
        assert!(!is_stored(&service, get(path)).await, "{path}");
    }
}

/// RFC 9111 §4.4: user information that looks like the own host makes no other host an own one.
#[tokio::test(start_paused = true)]
async fn references_to_other_hosts_name_nothing() {
    for line in [
        "http://test.example@other.example/b",
        "//test.example:80@other.example/b",
    ] {
        let line: &'static [_] = vec![("location", line.as_bytes())].leak();
        let service = in_memory().layer(naming(line));
        send(&service, get("/b")).await;
        send(&service, request(Method::POST, "/a")).await;
        assert!(is_stored(&service, get("/b")).await);
    }
}

/// RFC 4918 §9.8, §9.9: COPY and MOVE change the resource that their `Destination` names (§10.3).
#[tokio::test(start_paused = true)]
async fn a_move_invalidates_its_destination() {
    for (method, status, destination, is_gone) in [
        ("MOVE", 201, "http://test.example/b", true),
        ("MOVE", 204, "/b", true),
        ("COPY", 201, "https://TEST.example/%62", true),
        ("COPY", 207, "http://test.example/b?ignored", true),
        // RFC 9111 §4.4: of the own site alone.
        ("MOVE", 201, "http://other.example/b", false),
        // P9: no answer vouches for what a request names, but one to a method that changes it.
        ("POST", 201, "http://test.example/b", false),
        ("MOVE", 412, "http://test.example/b", false),
        ("POST", 500, "http://test.example/b", false),
        // It may have been done, or be done yet, as of the target.
        ("MOVE", 500, "http://test.example/b", true),
        ("COPY", 504, "http://test.example/b", true),
        ("MOVE", 500, "http://other.example/b", false),
        ("MOVE", 201, "no reference: {", false),
    ] {
        let origin = origin(&Arc::default(), move |_| async move {
            Ok(answer(status, &[], ""))
        });
        let service = in_memory().layer(origin);
        for path in ["/b", "/other"] {
            send(&service, get(path)).await;
        }
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut write = request(method.clone(), "/a");
        let value = HeaderValue::from_str(destination).expect("a value");
        write.headers_mut().insert("destination", value);
        send(&service, write).await;
        let is_kept = is_stored(&service, get("/b")).await;
        assert_eq!(is_kept, !is_gone, "{method} {status} {destination}");
        if is_gone && status >= 500 {
            let within = send(&service, get("/b")).await;
            let said = within.cache_status();
            assert_eq!(
                said, "fwd=uri-miss; detail=write-grace",
                "{method} {status}"
            );
        }
        assert!(is_stored(&service, get("/other")).await, "{destination}");
    }
}

/// The target that a router has left in an extension, as axum's `OriginalUri`.
#[derive(Clone)]
struct Whole(&'static str);

/// The client, as an authentication layer has left it in an extension.
#[derive(Clone)]
struct Tenant(&'static str);

/// Reads the path again as a client named it, and sends a POST by which it is named.
async fn is_invalidated_by_name<S, B>(service: &S, read: &Request<()>, write: Request<()>) -> bool
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = bytes::Bytes>,
    B::Error: Into<tower_response_cache::BoxError>,
{
    send(service, read.clone()).await;
    assert!(is_stored(service, read.clone()).await);
    send(service, write).await;
    !is_stored(service, read.clone()).await
}

/// A hook that takes the tenant off the path and puts it into the authority.
#[tokio::test(start_paused = true)]
async fn a_key_hook_makes_the_resources_of_names_too() {
    let layer = in_memory()
        .sites(Sites::ByAuthority)
        .key_by(|request, key| {
            let (tenant, path) = request.uri.path().get(1..)?.split_once('/')?;
            let authority = format!("{tenant}@{}", key.authority());
            Some(key.with_authority(authority).with_path(format!("/{path}")))
        });
    for (reference, read) in [
        (&[("location", b"/t1/items/5" as &[u8])][..], "/t1/items/5"),
        (&[("location", b"items/5")], "/t1/items/5"),
        (
            &[("content-location", b"http://TEST.example:80/t2/items/5")],
            "/t2/items/5",
        ),
        (&[("content-location", b"/t2/it%65ms//5")], "/t2/items/5"),
    ] {
        let service = layer.layer(naming(reference));
        let write = request(Method::POST, "/t1/items");
        let invalidated = is_invalidated_by_name(&service, &get(read), write).await;
        assert!(invalidated, "{read}");
    }
    let also = layer.also_invalidate(|_| ["/t3/items"]);
    let service = also.layer(naming(&[]));
    let write = request(Method::POST, "/t1/items");
    assert!(is_invalidated_by_name(&service, &get("/t3/items"), write).await);
}

/// The tenant is in an extension, which a request for the named resource has as well.
#[tokio::test(start_paused = true)]
async fn a_key_hook_sees_the_extensions_of_the_write_for_names() {
    let layer = in_memory()
        .sites(Sites::ByAuthority)
        .key_by(|request, key| {
            let Tenant(tenant) = request.extensions.get().expect("a tenant");
            let path = format!("/{tenant}{}", key.path());
            Some(key.with_path(path))
        });
    let service = layer.layer(naming(&[("location", b"/items/5")]));
    let of = |mut request: Request<()>, tenant| {
        request.extensions_mut().insert(Tenant(tenant));
        request
    };
    let (one, other) = (of(get("/items/5"), "t1"), of(get("/items/5"), "t2"));
    send(&service, other.clone()).await;
    let write = of(request(Method::POST, "/items"), "t1");
    assert!(is_invalidated_by_name(&service, &one, write).await);
    assert!(is_stored(&service, other).await, "of another tenant");
}

/// An extension that speaks of the write's own target does not hide what the response names.
#[tokio::test(start_paused = true)]
async fn an_extension_about_the_write_does_not_mislead_the_key_hook() {
    let layer = in_memory().key_by(|request, key| match request.extensions.get() {
        Some(Whole(path)) => Some(key.with_path(*path)),
        None => Some(key),
    });
    let nested = |method, path: &str, whole| {
        let mut request = request(method, path);
        request.extensions_mut().insert(Whole(whole));
        request
    };
    let read = nested(Method::GET, "/items/5", "/api/items/5");
    for reference in [
        &[("location", b"/api/items/5" as &[u8])][..],
        &[("location", b"items/5")],
        &[("content-location", b"http://test.example/api/items/5")],
    ] {
        let service = layer.layer(naming(reference));
        let write = nested(Method::POST, "/items", "/api/items");
        assert!(
            is_invalidated_by_name(&service, &read, write).await,
            "{reference:?}"
        );
    }
}

/// Here, the hook also rewrites the path: neither that of the write nor the named one is the key's.
#[tokio::test(start_paused = true)]
async fn an_extension_about_the_write_does_not_hide_a_rewritten_name() {
    let layer = in_memory().key_by(|request, key| {
        let whole = request.extensions.get().map(|Whole(path)| *path);
        let path = whole.unwrap_or(request.uri.path()).strip_prefix("/t1")?;
        Some(key.with_path(path.to_owned()))
    });
    let nested = |method, path: &str, whole| {
        let mut request = request(method, path);
        request.extensions_mut().insert(Whole(whole));
        request
    };
    let read = nested(Method::GET, "/items/5", "/t1/items/5");
    let service = layer.layer(naming(&[("location", b"/t1/items/5")]));
    let write = nested(Method::POST, "/items", "/t1/items");
    assert!(is_invalidated_by_name(&service, &read, write).await);
}

/// A response to a write is never stored for another resource than the one it names.
#[tokio::test(start_paused = true)]
async fn an_extension_about_the_write_stores_nothing_for_its_target() {
    let layer = in_memory().write_through(true).key_by(|request, key| {
        let Whole(path) = request.extensions.get()?;
        Some(key.with_path(*path))
    });
    let service = layer.layer(origin(&Arc::default(), |_| async {
        let lines = [
            ("content-location", "/api/items/5"),
            ("cache-control", "max-age=60"),
        ];
        Ok(answer(201, &lines, "the new item"))
    }));
    let nested = |method, path: &str, whole| {
        let mut request = request(method, path);
        request.extensions_mut().insert(Whole(whole));
        request
    };
    send(&service, nested(Method::POST, "/items", "/api/items")).await;
    let list = nested(Method::GET, "/items", "/api/items");
    assert!(!is_stored(&service, list).await);
}

/// The hook may be called while a dropped write is invalidated: its panic goes no further.
#[tokio::test(start_paused = true)]
async fn a_key_hook_that_panics_on_a_name_spoils_nothing() {
    let layer = in_memory().key_by(|request, key| {
        assert!(request.uri.path() != "/b", "the hook's own panic");
        Some(key)
    });
    let service = layer.layer(naming(&[("location", b"/b"), ("content-location", b"/c")]));
    send(&service, get("/a")).await;
    send(&service, get("/c")).await;
    let written = send(&service, put("/a")).await;
    assert_eq!(written.cache_status(), "fwd=method; detail=invalidated");
    assert!(!is_stored(&service, get("/a")).await);
    assert!(!is_stored(&service, get("/c")).await);
}
