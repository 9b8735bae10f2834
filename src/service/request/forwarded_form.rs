//! The form in which a request goes to the inner service: that of its key.

use http::{Uri, request};

use crate::config::Config;
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
    pub(crate) fn apply(self, config: &Config, request: &mut request::Parts) {
        if let Some(target) = self.target {
            request.uri = *target;
            if let Some(hook) = &config.on_trimmed_target {
                hook(&mut request.extensions, &|uri| {
                    if let Some(trimmed) = config.query.trimmed(uri) {
                        *uri = trimmed;
                    }
                });
            }
        }
        let keeps_scheme =
            self.scheme.is_some() && self.scheme.as_deref() == request.uri.scheme_str();
        spell_by_key(request, &config.authority, keeps_scheme);
    }
}

/// Gives a write the form in which the service sees the resource that the write invalidates: the
/// authority is the request's own even where all keys share a fixed one.
pub(crate) fn apply_to_write(request: &mut request::Parts) {
    spell_by_key(request, &Authority::FromRequest, false);
}
