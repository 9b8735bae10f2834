//! The options by which a response gets into groups.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, request, response};

use crate::error::panics::Panicked;
use crate::key::normal_path::is_below;
use crate::semantics::groups::{GroupNames, tags};
use crate::semantics::reason::Refusal;

pub(crate) type GroupsBy =
    dyn Fn(&request::Parts, &response::Parts) -> Result<Vec<String>, Panicked> + Send + Sync;

/// The options by which a response gets into groups, beside `Cache-Groups` and its policy.
#[derive(Clone, Default)]
pub(crate) struct GroupOptions {
    pub(crate) by: Option<Arc<GroupsBy>>,
    pub(crate) fields: Vec<HeaderName>,
    pub(crate) keeps_fields: bool,
    pub(crate) prefixes: Vec<Box<str>>,
    /// Those of all responses.
    pub(crate) names: Vec<String>,
}

impl GroupOptions {
    /// The fields that are taken off responses.
    pub(crate) fn taken_fields(&self) -> &[HeaderName] {
        match self.keeps_fields {
            true => &[],
            false => &self.fields,
        }
    }

    /// Whether one of the fields names groups.
    pub(crate) fn has_any_field(&self, headers: &HeaderMap) -> bool {
        self.fields.iter().any(|name| headers.contains_key(name))
    }

    /// The names of the groups of a response whose key has this path.
    ///
    /// The request is there if the application has set a function.
    ///
    /// # Errors
    /// If the function panics, or there are more groups than the cache tracks.
    pub(crate) fn names(
        &self,
        request: Option<&request::Parts>,
        head: &response::Parts,
        path: &str,
    ) -> Result<Vec<String>, Refusal> {
        let GroupNames::Listed(mut names) = tags(&head.headers, &self.fields) else {
            return Err(Refusal::Groups);
        };
        if let Some(by) = &self.by {
            let request = request.ok_or(Refusal::Groups)?;
            names.extend(by(request, head).map_err(|Panicked| Refusal::HookPanicked)?);
        }
        names.extend(self.names.iter().cloned());
        let prefixes = self.prefixes.iter().filter(|prefix| is_below(path, prefix));
        names.extend(prefixes.map(|prefix| prefix.to_string()));
        Ok(names)
    }
}
