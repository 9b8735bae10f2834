//! The options of routes: those of the layer, with the rules of each route in their place.

use std::sync::Arc;

use http::Uri;
use matchit::{InsertError, Router};

use super::Config;
use crate::key::canonical::cookies::IgnoredCookies;
use crate::key::normal_path::normal_path;
use crate::options::Rules;

/// What is done with a request before anything else. Few layers do anything, and each request asks.
#[derive(Clone, Default)]
pub(crate) struct BeforeRouting {
    /// `None` if there are none.
    pub(crate) ignored_cookies: Option<IgnoredCookies>,
    /// `None` without routes.
    routes: Option<Arc<Routes>>,
}

/// The rules of routes, and the options that they make of those of the layer.
#[derive(Clone, Default)]
struct Routes {
    rules: Vec<(Box<str>, Rules)>,
    configs: Router<Arc<Config>>,
}

impl Config {
    /// The cookies that are taken off requests.
    pub(crate) fn ignored_cookies(&self) -> Option<&IgnoredCookies> {
        self.before_routing.as_ref()?.ignored_cookies.as_ref()
    }

    /// Sets the cookies that are taken off requests.
    pub(crate) fn set_ignored_cookies(&mut self, cookies: Option<IgnoredCookies>) {
        let before = Arc::make_mut(self.before_routing.get_or_insert_default());
        before.ignored_cookies = cookies;
        if before.ignored_cookies.is_none() && before.routes.is_none() {
            self.before_routing = None;
        }
    }

    fn routes(&self) -> Option<&Routes> {
        self.before_routing.as_ref()?.routes.as_deref()
    }

    /// The rules of all routes, by pattern.
    #[cfg(all(test, feature = "serde"))]
    pub(crate) fn rules_of_routes(&self) -> &[(Box<str>, Rules)] {
        self.routes().map_or(&[], |routes| &routes.rules)
    }

    /// Sets the rules of a route, in place of earlier ones for the same pattern.
    ///
    /// # Errors
    /// If the pattern cannot be parsed, or another one matches the same paths.
    pub(crate) fn set_route(&mut self, pattern: &str, rules: Rules) -> Result<(), InsertError> {
        let routes = self.routes();
        let mut all = routes.map_or_else(Vec::new, |routes| routes.rules.clone());
        all.retain(|(known, _)| **known != *pattern);
        all.push((pattern.into(), rules));
        let mut paths = Router::new();
        for (pattern, _) in &all {
            paths.insert(&**pattern, ())?;
        }
        let routes = Routes {
            rules: all,
            configs: Router::new(),
        };
        let before = Arc::make_mut(self.before_routing.get_or_insert_default());
        before.routes = Some(Arc::new(routes));
        Ok(())
    }

    /// Makes the options of all routes anew, after one of the layer has changed.
    pub(crate) fn update_routes(&mut self) {
        let Some(routes) = self.routes() else {
            return;
        };
        let rules = routes.rules.clone();
        let mut configs = Router::new();
        for (pattern, rules) in &rules {
            let config = Arc::new(self.with_rules(rules));
            // They were checked when they were set.
            let _ = configs.insert(&**pattern, config);
        }
        let before = Arc::make_mut(self.before_routing.get_or_insert_default());
        before.routes = Some(Arc::new(Routes { rules, configs }));
    }

    /// The options for a request with this target, if a route has its own. The most specific one
    /// counts.
    pub(crate) fn route_of(&self, uri: &Uri) -> Option<&Arc<Self>> {
        let routes = self.routes()?;
        let path = normal_path(uri.path());
        Some(routes.configs.at(&path).ok()?.value)
    }

    /// Whether requests for another path than that of a request with these options may have others.
    pub(crate) fn has_others_for(&self, uri: &Uri, path: &str) -> bool {
        let is_same = normal_path(uri.path()) == normal_path(path);
        !is_same && (self.is_of_route || self.route_of(uri).is_some())
    }

    /// These options with rules in their place, and without routes.
    fn with_rules(&self, rules: &Rules) -> Self {
        let mut config = self.clone();
        let own = rules.ignore_request_cookies.as_ref();
        let cookies = match own {
            None => self.ignored_cookies().cloned(),
            Some(names) if names.is_empty() => None,
            Some(names) => Some(IgnoredCookies::new(names.iter().map(String::as_str))),
        };
        config.before_routing = None;
        config.is_of_route = true;
        config.set_ignored_cookies(cookies);
        if let Some(ttl) = rules.ttl {
            config.ttl = Some(ttl);
            config.ttl_by = None;
        }
        config.max_ttl = rules.max_ttl.or(config.max_ttl);
        let stale = &mut config.stale;
        stale.while_revalidate = (rules.stale_while_revalidate).unwrap_or(stale.while_revalidate);
        stale.if_error = rules.stale_if_error.unwrap_or(stale.if_error);
        if let Some(query) = &rules.query {
            config.query = query.clone();
        }
        if !rules.groups.is_empty() {
            let groups = Arc::make_mut(config.groups.get_or_insert_default());
            groups.names.extend(rules.groups.iter().cloned());
        }
        if rules.bypass {
            config.skip = Some(Arc::new(|_| Ok(true)));
        }
        config
    }
}
