//! What `ErrorResponder` makes of errors that are no upstream's.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Service, ServiceExt, service_fn};
use tower_response_cache::BoxError;
use tower_response_cache::proxy::{ErrorResponder, ProxyBody, ReverseProxy};

use super::uploads::{Parts, data, reset};
use crate::call::{call, get};
use crate::example::PATIENCE;
use crate::logs::Logs;
use crate::origin::{Origin, Step};

async fn text(answer: Response<ProxyBody>) -> String {
    let body = answer.into_body().collect().await;
    let bytes = body.expect("it is there").to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn any_error_is_answered() {
    let fails =
        service_fn(async |_: Request<_>| Err::<Response<ProxyBody>, BoxError>("anything".into()));
    let edge = ErrorResponder::new(fails).name("edge");
    let Ok(answer) = edge.oneshot(get("/")).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(
        answer.headers()["proxy-status"],
        "edge; error=proxy_internal_error"
    );
    assert_eq!(
        answer.headers()["cache-status"],
        "edge; detail=proxy_internal_error"
    );
    assert_eq!(
        text(answer).await,
        "500 Internal Server Error: the request failed here\n"
    );
}

/// A service that is not ready for a request answers that one, and may be ready for the next.
#[tokio::test]
async fn requests_are_answered_while_the_service_is_not_ready() {
    #[derive(Clone)]
    struct Once(bool);
    impl<B> Service<Request<B>> for Once {
        type Response = Response<ProxyBody>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Response<ProxyBody>, BoxError>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            let was = std::mem::replace(&mut self.0, true);
            std::task::Poll::Ready(if was { Ok(()) } else { Err("not yet".into()) })
        }
        fn call(&mut self, _: Request<B>) -> Self::Future {
            std::future::ready(Ok(Response::new(ProxyBody::from(Bytes::from("well")))))
        }
    }
    let mut edge = ErrorResponder::new(Once(false));
    for (status, content) in [(500, "500 Internal"), (200, "well")] {
        let Ok(()) = std::future::poll_fn(|cx| {
            Service::<Request<http_body_util::Empty<Bytes>>>::poll_ready(&mut edge, cx)
        })
        .await;
        let Ok(answer) = edge.call(get("/")).await;
        assert_eq!(answer.status(), status);
        assert!(text(answer).await.starts_with(content));
    }
}

#[test]
#[should_panic(expected = "name must be a token (RFC 9110 §5.6.2), not \"a b\"")]
fn a_name_is_a_token() {
    let _ = ErrorResponder::new(()).name("a b");
}

/// An upstream that is down fails each request.
#[tokio::test]
async fn failed_requests_are_logged_once_a_second() {
    let fails = service_fn(async |_: Request<_>| Err::<Response<ProxyBody>, _>("it fails"));
    let edge = ErrorResponder::new(fails);
    let (logs, began) = (Logs::new(), std::time::Instant::now());
    for _ in 0..10_000 {
        let Ok(answer) = edge.clone().oneshot(get("/")).await;
        assert_eq!(answer.status(), 500);
    }
    let lines = logs.lines("request failed").len() as u64;
    assert!(lines <= began.elapsed().as_secs() + 2, "{lines}");
}

fn assert_names_its_request(line: &str, method: &str) {
    for part in [&format!("method={method} "), "path=\"/logged\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("secret"), "no query: {line}");
}

/// P8: every line says which request it is about. The service need not be one of the proxy's.
#[tokio::test]
async fn the_log_names_the_request_that_failed() {
    let fails = service_fn(async |_: Request<_>| Err::<Response<ProxyBody>, _>("it fails"));
    let edge = ErrorResponder::new(fails);
    let (logs, began) = (Logs::new(), Instant::now());
    // Other tests have lines of that kind, too: one is admitted each second.
    while logs.lines("request failed").is_empty() {
        assert!(began.elapsed() < PATIENCE, "nothing is logged");
        let Ok(answer) = edge.clone().oneshot(get("/logged?secret")).await;
        assert_eq!(answer.status(), 500);
        tokio::task::yield_now().await;
    }
    assert_names_its_request(&logs.lines("request failed")[0], "GET");
}

/// An error of `poll_ready`: the line is that of the request which is answered.
#[tokio::test]
async fn the_log_names_the_request_that_met_a_service_that_was_not_ready() {
    #[derive(Clone)]
    struct Never;
    impl<B> Service<Request<B>> for Never {
        type Response = Response<ProxyBody>;
        type Error = BoxError;
        type Future = std::future::Ready<Result<Response<ProxyBody>, BoxError>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), BoxError>> {
            std::task::Poll::Ready(Err("never".into()))
        }
        fn call(&mut self, _: Request<B>) -> Self::Future {
            unreachable!("it is never ready")
        }
    }
    let (logs, began) = (Logs::new(), Instant::now());
    while logs.lines("never").is_empty() {
        assert!(began.elapsed() < PATIENCE, "nothing is logged");
        let edge = ErrorResponder::new(Never);
        let Ok(answer) = edge.oneshot(get("/logged?secret")).await;
        assert_eq!(answer.status(), 500);
        tokio::task::yield_now().await;
    }
    assert_names_its_request(&logs.lines("never")[0], "GET");
}

/// The proxy itself answers content that its client breaks off.
#[tokio::test]
async fn the_log_names_the_request_whose_content_broke_off() {
    let origin = Origin::start(|_| vec![Step::Content]).await;
    let proxy = ReverseProxy::new(&format!("{}/prefix", origin.url())).expect("a URL");
    let proxy = proxy.broken_upload_timeout(Duration::ZERO);
    let request = Request::put("/logged?secret").header("host", "test.example");
    let request = request.body(Parts::new([data("abc"), reset()]));
    let logs = Logs::from_level(tracing::Level::DEBUG);
    let answer = call(&proxy, request.expect("a request")).await;
    assert_eq!(answer.expect("an answer").status, 400);
    let lines = logs.lines("request failed");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_names_its_request(&lines[0], "PUT");
}
