//! Which requests are read by their content, or write.

use http::{Method, request};

use super::Config;
use crate::semantics::invalidation::is_safe;

/// The longest content that is collected unless an option says otherwise, in bytes.
const DEFAULT_MAX_CONTENT: usize = 64 * 1024;

impl Config {
    /// Returns whether the response to a request is stored by the content of the request. Not
    /// asked of a GET or HEAD.
    pub(crate) fn is_read_by_content(&self, request: &request::Parts) -> bool {
        match &self.read_only_posts {
            Some(reads) if request.method == Method::POST => reads(request) == Ok(true),
            _ => self.cache_queries.is_some() && request.method.as_str() == "QUERY",
        }
    }

    /// Returns whether a request is a write.
    pub(crate) fn is_write(&self, request: &request::Parts) -> bool {
        !is_safe(&request.method) && !self.is_read_by_content(request)
    }

    /// Returns the longest content of a request that is collected, in bytes.
    pub(crate) fn max_content(&self) -> usize {
        self.cache_queries.unwrap_or(DEFAULT_MAX_CONTENT)
    }
}
