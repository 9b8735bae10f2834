//! Invalidation: by the content of `POST /invalidate`, and by `PURGE`.

use std::borrow::Cow;

use http::header::HOST;
use http::uri::Authority;
use http::{StatusCode, Uri, request};
use serde::{Deserialize, Serialize};

use super::answer::{Answer, error, json, unavailable};
use super::cache::Cache;
use super::options::Admin;
use crate::backend::BackendError;
use crate::handle::{InvalidationError, Invalidator};
use crate::key::normal_path::normal_path;
use crate::key::{Sites, normalize_authority};

/// The most selectors of one request.
const MAX_SELECTORS: usize = 1000;

/// The content of `POST /invalidate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Invalidation {
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    selectors: Vec<String>,
    /// The site of the groups, where every authority is one.
    authority: Option<String>,
    /// Whether responses are removed; otherwise they become stale.
    #[serde(default = "is_hard")]
    purge: bool,
}

fn is_hard() -> bool {
    true
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Uri,
    Group,
    /// Groups that the layer makes of paths.
    Prefix,
    All,
}

/// The answer to an invalidation that was acknowledged.
#[derive(Serialize)]
struct Done<'w> {
    /// The number of selectors; 1 for everything.
    invalidated: usize,
    /// The selectors. Those of a PURGE are the URI or the groups that were made of its head.
    selectors: &'w [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<&'w str>,
    /// What may have been meant instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

/// Why an invalidation was not done.
enum Failure {
    /// The request says something that means nothing here.
    Invalid(String),
    /// The backend did not acknowledge.
    Backend,
}

impl From<InvalidationError> for Failure {
    fn from(error: InvalidationError) -> Self {
        match error.is_invalid_uri() {
            true => Self::Invalid(error.to_string()),
            false => Self::Backend,
        }
    }
}

impl From<BackendError> for Failure {
    fn from(_: BackendError) -> Self {
        Self::Backend
    }
}

impl Admin {
    /// Answers `POST /invalidate`.
    pub(super) async fn invalidate(&self, mut wanted: Invalidation) -> Answer {
        let done = match check(&mut wanted, &*self.cache) {
            Ok(()) => perform(&self.invalidator, &wanted).await,
            Err(text) => Err(Failure::Invalid(text)),
        };
        answer(done, &wanted)
    }

    /// Answers `PURGE`: of groups if `Surrogate-Key` lists some, otherwise of a resource.
    pub(super) async fn purge(&self, request: &request::Parts) -> Answer {
        let path = request.uri.path();
        if !path.starts_with('/') {
            return error(StatusCode::BAD_REQUEST, NO_PATH);
        }
        if path.contains('*') {
            return error(StatusCode::BAD_REQUEST, NO_WILDCARD);
        }
        let site = match self.site_of(request) {
            Ok(site) => site,
            Err(text) => return error(StatusCode::BAD_REQUEST, text),
        };
        let wanted = match request.headers.contains_key("surrogate-key") {
            true => groups_of(request, site),
            false => Ok(Invalidation {
                kind: Kind::Uri,
                selectors: vec![uri_of(&request.uri, site)],
                authority: None,
                purge: true,
            }),
        };
        match wanted {
            Ok(wanted) => self.invalidate(wanted).await,
            Err(text) => error(StatusCode::BAD_REQUEST, text),
        }
    }

    /// The site that a `PURGE` names, by its target or by `Host`; empty if it counts for nothing.
    fn site_of<'r>(&self, request: &'r request::Parts) -> Result<&'r str, &'static str> {
        if let Some(authority) = request.uri.authority() {
            return Ok(authority.as_str());
        }
        let mut hosts = request.headers.get_all(HOST).iter();
        let (host, another) = (hosts.next(), hosts.next());
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        let is_site = another.is_none() && !host.is_empty() && !self.access.is_own(host);
        match self.cache.sites() {
            Sites::ByAuthority if !is_site => Err(NO_SITE),
            _ if !is_site => Ok(""),
            _ => Ok(host),
        }
    }
}

/// The answer to `PURGE *`, whose sender expects everything to go.
const NO_PATH: &str =
    "PURGE is for one path: send POST /invalidate with {\"type\":\"all\"} for all of them";

/// The answer to `PURGE /img/*`, whose sender expects all below to go; and the note where it is done.
const NO_WILDCARD: &str = "* is no wildcard: send POST /invalidate with {\"type\":\"prefix\"} and one of \
    the cache's prefixes for all below it, or with {\"type\":\"uri\"} for a path that has it";

/// The answer to `Surrogate-Key: *`, whose sender expects all groups to go; and the note where the
/// group of that name is meant.
const NO_WILDCARD_GROUP: &str = "* is no wildcard: send POST /invalidate with {\"type\":\"all\"} for \
    everything, or with {\"type\":\"group\"} for a group whose name has it";

/// The answer to a `PURGE` that names no site where it has to.
const NO_SITE: &str = "every host is a site here, and this request names none but the address of \
    operators: send the host of the site as Host, or as target http://SITE/PATH";

/// The URI of a target at a site.
fn uri_of(target: &Uri, site: &str) -> String {
    let path = target.path();
    match site {
        "" => path.to_owned(),
        // The default port, which is no part of a site, is that of the scheme.
        site => format!("{}://{site}{path}", target.scheme_str().unwrap_or("http")),
    }
}

/// The groups that `Surrogate-Key` lists.
fn groups_of(request: &request::Parts, authority: &str) -> Result<Invalidation, &'static str> {
    if request.uri.path() != "/" {
        return Err("Surrogate-Key names groups of any path: send PURGE /");
    }
    let mut selectors = Vec::new();
    for line in request.headers.get_all("surrogate-key") {
        let line = line.to_str().map_err(|_| "Surrogate-Key cannot be read")?;
        selectors.extend(line.split_ascii_whitespace().map(str::to_owned));
    }
    if selectors.iter().any(|group| group.contains('*')) {
        return Err(NO_WILDCARD_GROUP);
    }
    Ok(Invalidation {
        kind: Kind::Group,
        selectors,
        authority: Some(authority.to_owned()),
        purge: true,
    })
}

/// Checks what the backend cannot: an invalidation that would do nothing, or too much, or fail
/// halfway. Gives the authority its normal form.
fn check(wanted: &mut Invalidation, cache: &dyn Cache) -> Result<(), String> {
    let count = wanted.selectors.len();
    let is_group = matches!(wanted.kind, Kind::Group | Kind::Prefix);
    if let Some(authority) = wanted.authority.as_deref().filter(|one| !one.is_empty()) {
        let normal = normalize_authority(authority, Some("http")).map(Cow::into_owned);
        let normal = normal.ok_or_else(|| format!("{authority:?} is no host"))?;
        wanted.authority = Some(normal);
    }
    match wanted.kind {
        Kind::All | Kind::Uri if wanted.authority.is_some() => {
            Err("\"authority\" is for groups and prefixes; a URI names its own".to_owned())
        }
        Kind::All if count > 0 => Err("\"all\" has no selectors".to_owned()),
        Kind::All => Ok(()),
        _ if count == 0 => Err("selectors must name at least one".to_owned()),
        _ if count > MAX_SELECTORS => Err(format!(
            "{count} selectors are too many: send at most {MAX_SELECTORS} at once"
        )),
        _ if is_group && cache.sites() == Sites::ByAuthority && authority_of(wanted).is_empty() => {
            Err("every authority is a site here: name that of the groups as \"authority\"".into())
        }
        Kind::Prefix => {
            let known = cache.group_prefixes();
            let is_known = |prefix: &str| known.iter().any(|one| **one == *normal_path(prefix));
            let unknown = wanted.selectors.iter().filter(|prefix| !is_known(prefix));
            none_of(unknown.map(|prefix| format!("{prefix:?}"))).map_err(|unknown| {
                format!("no prefix of the cache, which has {known:?}: {unknown}")
            })
        }
        Kind::Uri => {
            let uris = wanted.selectors.iter();
            let checked = uris.map(|uri| (uri, cache.check_uri(uri)));
            none_of(checked.filter_map(|(uri, checked)| {
                let error = checked.err()?;
                Some(format!("{uri:?}: {error}"))
            }))
        }
        Kind::Group if wanted.selectors.iter().any(String::is_empty) => {
            Err("a group has a name".to_owned())
        }
        Kind::Group => Ok(()),
    }
}

/// The most selectors that an error names.
const MAX_NAMED: usize = 10;

/// The errors of all selectors that are wrong, as far as they are named; all is well without any.
fn none_of(wrong: impl Iterator<Item = String>) -> Result<(), String> {
    let wrong: Vec<_> = wrong.collect();
    let named = wrong[..wrong.len().min(MAX_NAMED)].join("; ");
    match wrong.len() {
        0 => Ok(()),
        count if count > MAX_NAMED => Err(format!("{named}; and {} more", count - MAX_NAMED)),
        _ => Err(named),
    }
}

fn authority_of(wanted: &Invalidation) -> &str {
    wanted.authority.as_deref().unwrap_or_default()
}

/// Invalidates one selector after the other, up to the first failure.
async fn perform(cache: &Invalidator, wanted: &Invalidation) -> Result<(), Failure> {
    let authority = authority_of(wanted);
    if wanted.kind == Kind::All {
        match wanted.purge {
            true => cache.clear().await?,
            false => cache.expire_all().await?,
        }
    }
    for selector in &wanted.selectors {
        let group = match wanted.kind {
            Kind::Prefix => normal_path(selector),
            _ => selector.into(),
        };
        match (wanted.kind, wanted.purge) {
            (Kind::Uri, true) => cache.invalidate(selector).await?,
            (Kind::Uri, false) => cache.expire(selector).await?,
            (_, true) => cache.invalidate_group(authority, &group).await?,
            (_, false) => cache.expire_group(authority, &group).await?,
        }
    }
    Ok(())
}

/// What may have been meant instead by selectors with an asterisk, which is no wildcard. Those of
/// prefixes are known to be the cache's.
fn note_of(wanted: &Invalidation) -> Option<&'static str> {
    let note = match wanted.kind {
        Kind::Uri => NO_WILDCARD,
        Kind::Group => NO_WILDCARD_GROUP,
        Kind::Prefix | Kind::All => return None,
    };
    let has_asterisk = |selector: &String| selector.contains('*');
    wanted.selectors.iter().any(has_asterisk).then_some(note)
}

/// The answer, which an operator also finds in the log.
fn answer(done: Result<(), Failure>, wanted: &Invalidation) -> Answer {
    let (kind, is_hard) = (wanted.kind, wanted.purge);
    let count = match kind {
        Kind::All => 1,
        _ => wanted.selectors.len(),
    };
    let authority = wanted.authority.as_deref();
    // The others are too many for a line.
    let first = wanted.selectors.first().map(|first| shortened(kind, first));
    let first = first.as_deref();
    match done {
        Ok(()) => {
            tracing::info!(
                count,
                ?kind,
                first,
                authority,
                is_hard,
                "invalidated by an operator"
            );
            let done = Done {
                invalidated: count,
                selectors: &wanted.selectors,
                authority,
                note: note_of(wanted),
            };
            json(StatusCode::OK, &done)
        }
        Err(Failure::Invalid(text)) => error(StatusCode::BAD_REQUEST, &text),
        Err(Failure::Backend) => {
            tracing::warn!(
                count,
                ?kind,
                first,
                authority,
                is_hard,
                "invalidation by an operator not acknowledged"
            );
            unavailable("the backend has not acknowledged the invalidation; repeat the request")
        }
    }
}

/// The longest part of a selector that is logged, in characters.
const MAX_LOGGED_SELECTOR: usize = 200;

/// A selector as far as it is logged: of a URI, the host and the path, without what may be secret.
fn shortened(kind: Kind, selector: &str) -> String {
    let named = match selector.parse::<Uri>() {
        Ok(uri) if kind == Kind::Uri => {
            let authority = uri.authority().map_or("", Authority::as_str);
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{host}{}", uri.path())
        }
        _ => selector.to_owned(),
    };
    named.chars().take(MAX_LOGGED_SELECTOR).collect()
}
