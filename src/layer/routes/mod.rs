//! Options for the requests of single routes.

use super::CacheLayer;
use super::invalid_option::{InvalidOption, check_cookie_names, or_panic};
use crate::backend::Backend;
use crate::options::Rules;

/// # Routes
///
/// A route is a pattern of paths, as in axum: `/products/{id}` has one segment in the place of
/// `{id}`, `/api/{*rest}` has everything below `/api/`. Of several that match, the most specific one
/// counts, and the others do not. The path of a request is matched in normal form: percent encoding,
/// dot segments and repeated slashes make no difference. Write patterns in this form. Two patterns
/// with a parameter in the same place, as `/a/{b}` and `/a/{*c}`, are an error.
///
/// The [`Rules`] of a route stand in the place of options of the layer, whether these are set before
/// or after it. They come after what a response says of itself: see
/// [`CachePolicy`](crate::CachePolicy#what-counts). A request without a route has the options of the
/// layer.
///
/// ```
/// use std::time::Duration;
/// use tower_response_cache::{CacheLayer, Rules, backend::MemoryBackend, key::QueryRules};
///
/// let layer = CacheLayer::new(MemoryBackend::default())
///     .ttl(Duration::from_secs(60))
///     .route("/assets/{*file}", Rules::new().ttl(Duration::from_secs(86_400)))
///     .route("/search", Rules::new().query(QueryRules::only(["q", "page"]).sorted()))
///     .route("/account/{*rest}", Rules::new().bypass());
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Sets the rules of a route, in place of earlier ones for the same pattern.
    ///
    /// Default: no routes. A request with a route clones the inner service, also for a hit.
    ///
    /// The response to a write that names another path by `Content-Location` is stored
    /// ([`write_through`](Self::write_through)) only if neither of the two has a route.
    ///
    /// # Panics
    /// If the pattern or a rule is invalid; see [`try_route`](Self::try_route).
    #[must_use]
    #[track_caller]
    pub fn route(self, pattern: &str, rules: Rules) -> Self {
        or_panic(self.try_route(pattern, rules))
    }

    /// Sets a [`route`](Self::route) that comes from configuration.
    ///
    /// # Errors
    /// If the pattern does not begin with `/` or cannot be parsed, if another pattern matches the
    /// same paths, or if the name of a cookie in the rules is invalid.
    pub fn try_route(self, pattern: &str, rules: Rules) -> Result<Self, InvalidOption> {
        if !pattern.starts_with('/') {
            return Err(InvalidOption::path("route", pattern));
        }
        let cookies = rules.ignore_request_cookies.iter().flatten();
        check_cookie_names(cookies.map(String::as_str))?;
        let mut checked = Ok(());
        let layer = self.with(|config| checked = config.set_route(pattern, rules));
        match checked {
            Ok(()) => Ok(layer),
            Err(error) => Err(InvalidOption::route(pattern, error)),
        }
    }
}
