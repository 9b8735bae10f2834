//! The form in which a request goes to the inner service: that of its key.

use http::{Uri, request};

use crate::config::Config;
use crate::error::panics::Panicked;
use crate::key::canonical::cookies::join_cookies;
use crate::key::canonical::{has_spelling, set_site, spell_by_key};
use crate::key::{Authority, HostLines};

/// The form of a GET or HEAD that is not answered from the store. Two requests with one key have
/// one form, so that a client cannot shape by its spelling the response that others get.
pub(crate) struct ForwardedForm {
    /// The target without the ignored parts of its query, if it has any.
    pub(crate) target: Option<Box<Uri>>,
    /// The scheme in the key, if the key hook added one.
    pub(crate) scheme: Option<Box<str>>,
    /// Whether the request has this form already, apart from its query and its cookies, see
    /// [`is_spelled_by_key`].
    pub(crate) is_spelled: bool,
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
        match self.is_spelled {
            true => join_cookies(&mut request.headers),
            false => spell_by_key(request, &config.authority, keeps_scheme),
        }
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
/// key; `is_spelled` tells whether it has this form already, apart from its cookies.
pub(crate) fn apply_to_write(request: &mut request::Parts, scheme: Option<&str>, is_spelled: bool) {
    if is_spelled {
        return join_cookies(&mut request.headers);
    }
    let keeps_scheme = keeps_scheme(scheme, &request.uri);
    spell_by_key(request, &Authority::FromRequest, keeps_scheme);
}

/// Whether a request spells its target and `Host` as its key does: nearly all requests of HTTP/1.1.
///
/// `authority` is that of the key. If a hook has made that, it does not tell.
pub(crate) fn is_spelled_by_key(
    config: &Config,
    request: &request::Parts,
    hosts: HostLines<'_>,
    authority: &str,
) -> bool {
    !config.has_key_hook() && has_spelling(request, hosts, authority)
}

/// Whether a target stays in absolute form: the key tells its scheme from others.
fn keeps_scheme(in_key: Option<&str>, target: &Uri) -> bool {
    in_key.is_some() && in_key == target.scheme_str()
}

/// Gives a copy of the target what the target got: the rules for its query, and its scheme and
/// authority, or none. The path stays, because a router takes prefixes off the target alone.
fn rewrite_alike(copy: &mut Uri, target: &Uri, config: &Config) {
    if let Some(trimmed) = config.query.trimmed(copy) {
        *copy = *trimmed;
    }
    let site = target.scheme().cloned().zip(target.authority().cloned());
    set_site(copy, site);
}
