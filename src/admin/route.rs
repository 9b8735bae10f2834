//! What a request is about, by its path and method.

use http::{Method, Uri};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Page,
    Health,
    Readiness,
    Stats,
    Metrics,
    Explain,
    Invalidate,
    Purge,
}

/// What a request needs a token for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: the answer says nothing of the cache.
    Nothing,
    ToRead,
    ToWrite,
}

/// Why a request asks for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoute {
    NotFound,
    /// The method is none of these.
    NotAllowed(&'static str),
}

/// The methods on a path that is read.
const READ: &str = "GET, HEAD, PURGE";
/// The methods on a path that takes content.
const POST: &str = "POST, PURGE";

impl Route {
    /// The route of a request. A path has one spelling: nothing is decoded, merged or trimmed.
    pub(super) fn new(method: &Method, uri: &Uri) -> Result<Self, NoRoute> {
        if method.as_str() == "PURGE" {
            return Ok(Self::Purge);
        }
        let (route, methods) = match uri.path() {
            // A router that nests the service may leave no path.
            "/" | "" => (Self::Page, READ),
            "/healthz" => (Self::Health, READ),
            "/readyz" => (Self::Readiness, READ),
            "/stats" => (Self::Stats, READ),
            "/metrics" => (Self::Metrics, READ),
            "/explain" => (Self::Explain, POST),
            "/invalidate" => (Self::Invalidate, POST),
            _ => return Err(NoRoute::NotFound),
        };
        let is_allowed = match methods {
            READ => matches!(*method, Method::GET | Method::HEAD),
            _ => method == Method::POST,
        };
        match is_allowed {
            true => Ok(route),
            false => Err(NoRoute::NotAllowed(methods)),
        }
    }

    /// What the route needs a token for.
    pub(super) fn need(self) -> Need {
        match self {
            Self::Page | Self::Health | Self::Readiness => Need::Nothing,
            Self::Stats | Self::Metrics | Self::Explain => Need::ToRead,
            Self::Invalidate | Self::Purge => Need::ToWrite,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        let route = |method: &str, path: &str| {
            let method = method.parse().expect("a method");
            Route::new(&method, &path.parse().expect("a path"))
        };
        for (path, expected) in [
            ("/", Route::Page),
            ("/?q", Route::Page),
            ("/healthz", Route::Health),
            ("/readyz", Route::Readiness),
            ("/stats", Route::Stats),
            ("/stats?token=x", Route::Stats),
            ("/metrics", Route::Metrics),
        ] {
            for method in ["GET", "HEAD"] {
                assert_eq!(route(method, path), Ok(expected), "{method} {path}");
            }
            for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
                assert_eq!(
                    route(method, path),
                    Err(NoRoute::NotAllowed(READ)),
                    "{method} {path}"
                );
            }
            assert_eq!(route("PURGE", path), Ok(Route::Purge), "{path}");
        }
        for (path, expected) in [
            ("/explain", Route::Explain),
            ("/invalidate", Route::Invalidate),
        ] {
            assert_eq!(route("POST", path), Ok(expected), "{path}");
            for method in ["GET", "PUT", "OPTIONS"] {
                assert_eq!(
                    route(method, path),
                    Err(NoRoute::NotAllowed(POST)),
                    "{method} {path}"
                );
            }
        }
        for path in [
            "/stats/",
            "//stats",
            "/./stats",
            "/x/../stats",
            "/%73tats",
            "/Stats",
            "/stats;x",
            "/invalidate/",
            "//invalidate",
            "/%69nvalidate",
            "/invalidate%00",
            "/a/invalidate",
        ] {
            for method in ["GET", "POST"] {
                assert_eq!(
                    route(method, path),
                    Err(NoRoute::NotFound),
                    "{method} {path}"
                );
            }
        }
    }
}
