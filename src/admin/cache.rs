//! What the service needs of a handle, without the type of the backend.

use std::future::Future;
use std::pin::Pin;

use http::request;

use crate::backend::Backend;
use crate::handle::{CacheHandle, InvalidationError};
use crate::key::Sites;
use crate::service::explain::Explanation;
use crate::stats::Stats;

/// A cache of any backend.
pub(super) trait Cache: Send + Sync {
    fn stats(&self) -> Stats;

    fn is_shutting_down(&self) -> bool;

    fn sites(&self) -> Sites;

    fn group_prefixes(&self) -> Vec<String>;

    /// Checks whether a URI names a resource.
    fn check_uri(&self, uri: &str) -> Result<(), InvalidationError>;

    fn explain<'a>(
        &'a self,
        request: &'a request::Parts,
    ) -> Pin<Box<dyn Future<Output = Explanation> + Send + 'a>>;
}

impl<B: Backend> Cache for CacheHandle<B> {
    fn stats(&self) -> Stats {
        self.stats()
    }

    fn is_shutting_down(&self) -> bool {
        self.is_shutting_down()
    }

    fn sites(&self) -> Sites {
        self.sites()
    }

    fn group_prefixes(&self) -> Vec<String> {
        self.group_prefixes()
    }

    fn check_uri(&self, uri: &str) -> Result<(), InvalidationError> {
        self.key_of(uri).map(drop)
    }

    fn explain<'a>(
        &'a self,
        request: &'a request::Parts,
    ) -> Pin<Box<dyn Future<Output = Explanation> + Send + 'a>> {
        Box::pin(self.explain(request))
    }
}
