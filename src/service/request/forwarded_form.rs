//! The form in which a request goes to the inner service: that of its key.

use http::uri::PathAndQuery;
use http::{Uri, request};

use crate::config::Config;
use crate::error::panics::Panicked;
use crate::key::Authority;
use crate::key::canonical::spell_by_key;

/// The form of a GET or HEAD that is not answered from the store. Two requests with one key have
/// one form, so that a client cannot shape by its spelling the response that others get.
pub(crate) struct ForwardedForm {
    /// The target without the ignored parts of its query, if it has any.
    pub(crate) target: Option<Box<Uri>>,
    /// The scheme in the key, if the key hook added one.
    pub(crate) scheme: Option<Box<str>>,
}

impl ForwardedForm {
    /// Gives a request this form. Cookies in several lines become one, as `Vary` reads them.
    ///
    /// # Errors
    /// If the hook panics: copies of the target may have another form then.
    pub(crate) fn apply(
        self,
        config: &Config,
        request: &mut request::Parts,
    ) -> Result<(), Panicked> {
        let is_rewritten = self.target.is_some() || request.uri.authority().is_some();
        let keeps_scheme = keeps_scheme(self.scheme.as_deref(), &request.uri);
        if let Some(target) = self.target {
            request.uri = *target;
        }
        spell_by_key(request, &config.authority, keeps_scheme);
        let Some(hook) = config.on_rewritten_target.as_ref().filter(|_| is_rewritten) else {
            return Ok(());
        };
        let target = &request.uri;
        let rewrite = |copy: &mut Uri| rewrite_alike(copy, target, config);
        hook((&request.method, target), &mut request.extensions, &rewrite)
    }
}

/// Gives a write the form in which the service sees the resource that the write invalidates: the
/// authority is the request's own even where all keys share a fixed one. `scheme` is that of its
/// key.
pub(crate) fn apply_to_write(request: &mut request::Parts, scheme: Option<&str>) {
    let keeps_scheme = keeps_scheme(scheme, &request.uri);
    spell_by_key(request, &Authority::FromRequest, keeps_scheme);
}

/// Whether a target stays in absolute form: the key tells its scheme from others.
fn keeps_scheme(in_key: Option<&str>, target: &Uri) -> bool {
    in_key.is_some() && in_key == target.scheme_str()
}

/// Gives a copy of the target what the target got: the rules for its query, and its scheme and
/// authority, or none. The path stays, because a router takes prefixes off the target alone.
fn rewrite_alike(copy: &mut Uri, target: &Uri, config: &Config) {
    if let Some(trimmed) = config.query.trimmed(copy) {
        *copy = trimmed;
    }
    let mut parts = std::mem::take(copy).into_parts();
    parts.scheme = target.scheme().cloned();
    parts.authority = target.authority().cloned();
    let root = || PathAndQuery::from_static("/");
    parts.path_and_query = Some(parts.path_and_query.unwrap_or_else(root));
    // Cannot fail: there are all parts, or the path alone.
    *copy = Uri::from_parts(parts).unwrap_or_default();
}
