//! The options of a layer as plain data.
//!
//! Each field has the name of the option of [`CacheLayer`](crate::CacheLayer) that sets it. This
//! file may not name `service`, `layer` or `handle`. Start with [`Config`].

mod coalesce_options;
mod compress_options;
mod content_options;
#[cfg(all(test, feature = "serde"))]
mod described;
mod group_options;
pub(crate) mod hook;
mod routes;
mod stacked;
pub(crate) mod work_span;

use std::any::Any;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Extensions, HeaderMap, Uri, request, response};

pub(crate) use self::coalesce_options::CoalesceOptions;
pub(crate) use self::compress_options::CompressOptions;
pub(crate) use self::group_options::GroupOptions;
pub(crate) use self::routes::BeforeRouting;
use crate::clock::{Clock, SystemClock};
use crate::error::causes::WithCauses;
use crate::error::panics::{Panicked, catch};
use crate::key::canonical::cookies::CookieLines;
use crate::key::{Authority, QueryRules, Sites};
use crate::random::{Random, SeededRandom};
use crate::request_body::RequestBodies;
use crate::semantics::bypass_fields::BypassFields;
use crate::semantics::cache_control::TargetedFields;
use crate::semantics::cache_control::{IgnoredDirectives, RequestDirective};
use crate::semantics::cache_status::CacheName;
use crate::semantics::freshness::StaleRules;
use crate::semantics::freshness::{self, Ttl};
use crate::semantics::reason::{Refusal, WriteOutcome};
use crate::semantics::request_kind::CredentialFields;
use crate::shares::ClientId;
use crate::stats::{OriginLoad, OriginMonitor, known_error};
use crate::write_info::WriteInfo;

use self::hook::{HookSubject, KeyHook};

pub(crate) type Skip = dyn Fn(&request::Parts) -> Result<bool, Panicked> + Send + Sync;
pub(crate) type ReadOnlyPosts = dyn Fn(&request::Parts) -> Result<bool, Panicked> + Send + Sync;
/// Gets the extensions of a request whose target was rewritten, and a function that rewrites a URI
/// alike.
pub(crate) type OnRewrittenTarget = dyn Fn(HookSubject<'_>, &mut Extensions, &dyn Fn(&mut Uri)) -> Result<(), Panicked>
    + Send
    + Sync;
pub(crate) type TtlBy =
    dyn Fn(&request::Parts, &response::Parts) -> Result<Option<Ttl>, Panicked> + Send + Sync;
pub(crate) type StoreIf =
    dyn Fn(&request::Parts, &response::Parts) -> Result<bool, Panicked> + Send + Sync;
pub(crate) type ClassifyWrite =
    dyn Fn(HookSubject<'_>, &response::Parts) -> Result<WriteOutcome, Panicked> + Send + Sync;
/// Returns the id of the client that a request is from.
pub(crate) type PrivateBy =
    dyn Fn(&request::Parts) -> Result<Option<Vec<u8>>, Panicked> + Send + Sync;
/// Returns the client that a request is from, for a digest with this secret.
pub(crate) type ClientBy =
    dyn Fn(&request::Parts, &RandomState) -> Result<Option<ClientId>, Panicked> + Send + Sync;
pub(crate) type AlsoInvalidate =
    dyn Fn(&WriteInfo<'_>) -> Result<Vec<String>, Panicked> + Send + Sync;

/// The options of a layer. [`CacheLayer`](crate::CacheLayer) documents each of them.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) ttl: Option<Ttl>,
    pub(crate) negative_ttl: Duration,
    pub(crate) ttl_by: Option<Arc<TtlBy>>,
    pub(crate) max_ttl: Option<Duration>,
    /// The largest fraction of a lifetime that is taken off at random, 0 to 1.
    pub(crate) ttl_jitter: f64,
    pub(crate) targeted_cache_control: TargetedFields,
    ignore_request_directives: Vec<RequestDirective>,
    ignore_client_freshness: bool,
    /// The request directives that are not obeyed, from the two options above.
    pub(crate) ignored: IgnoredDirectives,

    pub(crate) max_body: u64,
    pub(crate) max_head: usize,
    pub(crate) max_buffered_bytes: u64,
    pub(crate) credential_fields: CredentialFields,
    pub(crate) max_lingering_bytes: u64,
    pub(crate) store_set_cookie: bool,
    pub(crate) private_by: Option<Arc<PrivateBy>>,
    pub(crate) max_private_entries: usize,
    pub(crate) store_if: Option<Arc<StoreIf>>,
    pub(crate) store_parts: bool,
    pub(crate) generate_etags: bool,
    /// `None` without any: every miss asks.
    pub(crate) groups: Option<Arc<GroupOptions>>,
    pub(crate) request_bodies: RequestBodies,

    pub(crate) authority: Authority,
    pub(crate) sites: Sites,
    /// `None`: keys are made as by `UriKey`.
    pub(crate) key: Option<Arc<dyn KeyHook>>,
    pub(crate) key_covers_credentials: bool,
    pub(crate) query: QueryRules,
    /// `None` if nothing is done: every request asks.
    pub(crate) before_routing: Option<Arc<BeforeRouting>>,
    /// Whether these are the options of a route.
    pub(crate) is_of_route: bool,
    pub(crate) on_rewritten_target: Option<Arc<OnRewrittenTarget>>,
    pub(crate) scope: Arc<str>,
    pub(crate) skip: Option<Arc<Skip>>,
    pub(crate) bypass_fields: BypassFields,
    /// `None`: a QUERY bypasses the cache.
    pub(crate) cache_queries: Option<usize>,
    pub(crate) read_only_posts: Option<Arc<ReadOnlyPosts>>,

    /// The hook of this layer, and those of the layers of the same cache inside of it.
    pub(crate) also_invalidate: Vec<Arc<AlsoInvalidate>>,
    pub(crate) write_through: bool,
    pub(crate) store_posts: bool,
    pub(crate) classify_writes: Option<Arc<ClassifyWrite>>,
    pub(crate) invalidate_on_unknown: bool,
    pub(crate) write_grace_window: Duration,
    pub(crate) detached_write_timeout: Duration,
    pub(crate) max_detached_writes: usize,

    pub(crate) coalesce: CoalesceOptions,
    /// `None`: the clients of requests are not known.
    pub(crate) client_by: Option<Arc<ClientBy>>,
    pub(crate) compress: CompressOptions,

    pub(crate) stale: StaleRules,
    pub(crate) failure_backoff: Duration,
    pub(crate) max_refreshes: usize,
    /// The `beta` of XFetch; `None` refreshes nothing early.
    pub(crate) early_refresh: Option<f64>,

    pub(crate) origin_monitor: Option<Arc<dyn OriginMonitor>>,

    pub(crate) log_query: bool,
    pub(crate) cache_status: bool,
    pub(crate) cache_status_name: StatusName,

    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// The name of a cache in `Cache-Status`, with a number that no other name in this process has.
///
/// Header values made from a name are remembered by its number.
#[derive(Clone, Debug)]
pub(crate) struct StatusName {
    pub(crate) name: CacheName,
    pub(crate) number: u64,
}

impl StatusName {
    pub(crate) fn new(name: CacheName) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            name,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ttl: None,
            negative_ttl: Duration::from_secs(5),
            ttl_by: None,
            max_ttl: None,
            ttl_jitter: 0.0,
            targeted_cache_control: TargetedFields::default(),
            ignore_request_directives: Vec::new(),
            ignore_client_freshness: false,
            ignored: IgnoredDirectives::default(),
            max_body: 1024 * 1024,
            max_head: 64 * 1024,
            max_buffered_bytes: 64 * 1024 * 1024,
            credential_fields: CredentialFields::default(),
            max_lingering_bytes: 64 * 1024 * 1024,
            store_set_cookie: false,
            private_by: None,
            max_private_entries: 64,
            store_if: None,
            store_parts: true,
            generate_etags: false,
            groups: None,
            request_bodies: RequestBodies::default(),
            authority: Authority::default(),
            sites: Sites::default(),
            key: None,
            key_covers_credentials: false,
            query: QueryRules::default(),
            before_routing: None,
            is_of_route: false,
            on_rewritten_target: None,
            scope: Arc::from(""),
            skip: None,
            bypass_fields: BypassFields::default(),
            cache_queries: None,
            read_only_posts: None,
            also_invalidate: Vec::new(),
            write_through: false,
            store_posts: true,
            classify_writes: None,
            invalidate_on_unknown: true,
            write_grace_window: Duration::from_secs(5),
            detached_write_timeout: Duration::from_secs(60),
            max_detached_writes: 4096,
            coalesce: CoalesceOptions::default(),
            client_by: None,
            compress: CompressOptions::default(),
            stale: default_stale(),
            failure_backoff: Duration::from_secs(5),
            max_refreshes: 256,
            early_refresh: None,
            origin_monitor: None,
            log_query: false,
            cache_status: true,
            cache_status_name: StatusName::new(CacheName::default()),
            clock: Arc::new(SystemClock),
            random: Arc::new(SeededRandom::default()),
        }
    }
}

/// How stale responses may be without a word of the origin's.
fn default_stale() -> StaleRules {
    StaleRules {
        if_unreachable: Duration::from_secs(60),
        validation: Duration::from_secs(60 * 60),
        ..StaleRules::default()
    }
}

impl Config {
    /// Takes the cookies off a request that are in no key. Returns its lines as they were, if they
    /// change.
    #[inline]
    pub(crate) fn take_ignored_cookies(&self, headers: &mut HeaderMap) -> Option<CookieLines> {
        self.ignored_cookies()?.take_from(headers)
    }

    /// Whether the key hook of another layer of the same cache is this one's, or none.
    pub(crate) fn has_key_hook_of(&self, inner: &Self) -> bool {
        let address = |hook: &Arc<dyn KeyHook>| Arc::as_ptr(hook).addr();
        let [own, inner] = [&self.key, &inner.key].map(|hook| hook.as_ref().map(address));
        inner.is_none() || inner == own
    }

    /// Returns whether the layer exempts a GET or HEAD by its fields or by the hook.
    pub(crate) fn exempts(&self, request: &request::Parts) -> bool {
        let is_skipped = |skip: &Arc<Skip>| skip(request) != Ok(false);
        self.bypass_fields.has_any_in(&request.headers)
            || self.skip.as_ref().is_some_and(is_skipped)
    }

    /// Returns whether the application has set a key hook.
    pub(crate) fn has_key_hook(&self) -> bool {
        self.key.is_some()
    }

    /// Returns whether a hook wants to see the request when its response is judged.
    pub(crate) fn has_storing_hooks(&self) -> bool {
        let groups = self.groups.as_ref();
        let has_groups_by = groups.is_some_and(|groups| groups.by.is_some());
        self.ttl_by.is_some() || self.store_if.is_some() || has_groups_by
    }

    /// Refuses to store the response to a request if the application does not let it.
    ///
    /// The request is there if [`has_storing_hooks`](Self::has_storing_hooks).
    pub(crate) fn check_store_if(
        &self,
        request: Option<&request::Parts>,
        head: &response::Parts,
    ) -> Result<(), Refusal> {
        let Some(store_if) = &self.store_if else {
            return Ok(());
        };
        match request.map_or(Ok(false), |request| store_if(request, head)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::StoreIf),
            Err(Panicked) => Err(Refusal::HookPanicked),
        }
    }

    /// Returns the lifetime that the configuration gives to a response that states none.
    ///
    /// The request is there if [`has_storing_hooks`](Self::has_storing_hooks).
    ///
    /// # Errors
    /// If the hook panics.
    pub(crate) fn assigned_ttl(
        &self,
        request: Option<&request::Parts>,
        head: &response::Parts,
    ) -> Result<Option<Ttl>, Panicked> {
        if let (Some(ttl_by), Some(request)) = (&self.ttl_by, request)
            && let Some(ttl) = ttl_by(request, head)?
        {
            return Ok(Some(ttl));
        }
        Ok(self.default_ttl(head))
    }

    /// Returns the lifetime that [`ttl`](Self::ttl) gives to a response that states none.
    fn default_ttl(&self, head: &response::Parts) -> Option<Ttl> {
        let ttl = self.ttl?;
        if freshness::takes_assigned_lifetime(head.status) {
            return Some(ttl);
        }
        freshness::takes_negative_lifetime(head.status).then_some(match ttl {
            Ttl::For(ttl) => Ttl::For(ttl.min(self.negative_ttl)),
            Ttl::UntilInvalidated => Ttl::For(self.negative_ttl),
        })
    }

    /// Returns what the inner service says of its load.
    pub(crate) fn origin_load(&self) -> Option<OriginLoad> {
        let monitor = self.origin_monitor.as_ref()?;
        catch(|| monitor.load()).ok()
    }

    /// Returns whether an error of the inner service means that it had no place for the request.
    pub(crate) fn is_overload(&self, error: &dyn Any) -> bool {
        let monitor = self.origin_monitor.as_ref();
        monitor.is_some_and(|monitor| catch(|| monitor.is_overload(error)) == Ok(true))
    }

    /// Returns an error of the inner service with its causes, as far as its type is known.
    pub(crate) fn text_of(&self, error: &dyn Any) -> Option<String> {
        let known = || match &self.origin_monitor {
            Some(monitor) => monitor.as_error(error),
            None => known_error(error),
        };
        catch(|| known().map(|error| WithCauses(error).to_string())).ok()?
    }

    /// Returns the name for `Cache-Status`; `None` if the field is not added.
    pub(crate) fn status_name(&self) -> Option<&StatusName> {
        self.cache_status.then_some(&self.cache_status_name)
    }

    /// Replaces the list of request directives that are ignored.
    pub(crate) fn set_ignored_directives(&mut self, directives: Vec<RequestDirective>) {
        self.ignore_request_directives = directives;
        self.update_ignored();
    }

    /// Adds the directives by which clients force a request to the inner service, or removes them.
    pub(crate) fn set_ignore_client_freshness(&mut self, ignore: bool) {
        self.ignore_client_freshness = ignore;
        self.update_ignored();
    }

    fn update_ignored(&mut self) {
        use RequestDirective::{MaxAge, MinFresh, NoCache, Pragma};
        let forcing: &[_] = match self.ignore_client_freshness {
            true => &[NoCache, Pragma, MaxAge, MinFresh],
            false => &[],
        };
        let listed = self.ignore_request_directives.iter();
        self.ignored = listed.chain(forcing).copied().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_and_the_switch_of_ignored_directives_add_up_in_either_order() {
        use RequestDirective::{MaxAge, MaxStale, MinFresh, NoCache, Pragma};
        let all = IgnoredDirectives::from_iter([MaxStale, NoCache, Pragma, MaxAge, MinFresh]);
        let (mut list_first, mut switch_first) = (Config::default(), Config::default());
        list_first.set_ignored_directives(vec![MaxStale]);
        list_first.set_ignore_client_freshness(true);
        switch_first.set_ignore_client_freshness(true);
        switch_first.set_ignored_directives(vec![MaxStale]);
        assert_eq!((list_first.ignored, switch_first.ignored), (all, all));

        list_first.set_ignore_client_freshness(false);
        assert_eq!(list_first.ignored, IgnoredDirectives::from_iter([MaxStale]));
    }
}
