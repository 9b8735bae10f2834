//! Errors of the inner service.

use std::future::ready;

use http::{Method, Request};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::backend::Backend;
use tower_response_cache::{Cache, CacheLayer};

use crate::on_both_backends;
use crate::support::origin::{Origin, OriginError};
use crate::support::request;

fn require_the_error_of_the_inner_service<S, B>(_: &Cache<S, B>)
where
    S: Service<Request<()>>,
    B: Backend,
    Cache<S, B>: Service<Request<()>, Error = S::Error>,
{
}

#[tokio::test(start_paused = true)]
async fn the_inner_services_error_comes_through_unchanged() {
    on_both_backends(async |backend| {
        let origin = Origin::new(|_| ready(Err(OriginError("down"))));
        let service = CacheLayer::new(backend).layer(origin);
        require_the_error_of_the_inner_service(&service);
        for method in [
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::PUT,
            Method::DELETE,
        ] {
            let error = service.clone().oneshot(request(method, "/a")).await;
            assert_eq!(error.expect_err("the origin is down"), OriginError("down"));
        }
    })
    .await;
}
