//! Updates by a 304 (RFC 9111 §4.3.4).

use http::StatusCode;
use tokio::time::advance;
use tower::Layer;

use super::{MINUTE, Site, TAG, settled};
use crate::support::both::on_both_backends;
use crate::support::time::SECOND;
use crate::support::{get, send};

/// A 304 may forbid storing: then only its client gets the response.
#[tokio::test(start_paused = true)]
async fn a_304_that_forbids_storing_is_obeyed() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        site.change(|page| page.unchanged = vec![("cache-control", "private")]);
        advance(61 * SECOND).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "text"));
        assert_eq!(
            answer.cache_status(),
            "fwd=stale; fwd-status=304; detail=private"
        );
        settled().await;
        assert!(!send(&service, get("/a")).await.is_hit());
    })
    .await;
}
