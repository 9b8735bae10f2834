//! What a write does to the store: every way it can end, everything it can name.

mod classified;
mod dropped;
mod forgotten_periods;
mod host_in_target;
mod late_work;
mod left_bodies;
mod names;
mod outcomes;
mod references;
mod resources;
mod write_through;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{Method, Request};

use crate::support::origin::{Origin, OriginError, cacheable};

/// GET answers with the version; what a write does is up to the test.
fn origin<F, Fut>(version: &Arc<AtomicU64>, write: F) -> Origin
where
    F: Fn(Request<()>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<crate::support::origin::Response, OriginError>> + Send + 'static,
{
    let version = version.clone();
    let write = Arc::new(write);
    Origin::new(move |request| {
        let version = version.clone();
        let write = write.clone();
        async move {
            if request.method() == Method::GET {
                let path = request.uri().path().to_owned();
                return Ok(cacheable(format!(
                    "{path} v{}",
                    version.load(Ordering::SeqCst)
                )));
            }
            write(request).await
        }
    })
}
