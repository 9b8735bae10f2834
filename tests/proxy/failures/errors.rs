//! What `ErrorResponder` makes of errors that are no upstream's.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Service, ServiceExt, service_fn};
use tower_response_cache::BoxError;
use tower_response_cache::proxy::{ErrorResponder, ProxyBody};

use crate::call::get;
use crate::logs::Logs;

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
