//! The cache groups of a response that may be stored (RFC 9875), wherever they are named: in
//! `Cache-Groups`, by its policy, by the options of the layer.
//!
//! Also takes off a response what is for this cache alone. Start with [`groups_of`].

use http::{Extensions, HeaderMap, request, response};

use crate::backend::{Backend, Group, StoredResponse};
use crate::config::Config;
use crate::key::{authority_of_identity, path_of_identity};
use crate::policy::CachePolicy;
use crate::semantics::groups::{GroupNames, MAX_GROUP_NAME_LENGTH, MAX_GROUPS, member_groups};
use crate::semantics::reason::Refusal;
use crate::state::LayerState;

/// The cache groups of a response that is stored under the key whose full form is `identity`.
///
/// The request is there if a hook wants it; `continued` is the stored response that this one
/// confirms or completes. A group belongs to the scope and authority of the key. The RFC's origin
/// (§2.1) tells schemes apart as well; a target in origin form has none, and to invalidate too much
/// is safe.
pub(super) fn groups_of<B: Backend>(
    state: &LayerState<B>,
    (request, continued): (Option<&request::Parts>, Option<&StoredResponse>),
    identity: &[u8],
    head: &response::Parts,
) -> Result<Box<[Group]>, Refusal> {
    let GroupNames::Listed(mut names) = member_groups(&head.headers) else {
        return Err(Refusal::Groups);
    };
    let (policy, options) = (CachePolicy::of(&head.extensions), &state.config.groups);
    // Nothing else names groups for most responses.
    let is_plain = policy.is_none() && options.is_none() && continued.is_none();
    if is_plain && names.is_empty() {
        return Ok(Box::default());
    }
    if !is_plain {
        add_names(state, request, identity, head, &mut names)?;
    }
    let continued = continued_groups(&state.config, continued, head);
    if names.is_empty() && continued.is_empty() {
        return Ok(Box::default());
    }
    let authority = authority_of_identity(identity).ok_or(Refusal::Groups)?;
    let named = names.iter().map(|name| state.group(authority, name));
    let mut groups: Vec<_> = named.chain(continued.iter().copied()).collect();
    groups.sort_unstable();
    groups.dedup();
    match groups.len() > MAX_GROUPS {
        true => Err(Refusal::Groups),
        false => Ok(groups.into()),
    }
}

/// Adds the names of groups that are not in `Cache-Groups`.
fn add_names<B: Backend>(
    state: &LayerState<B>,
    request: Option<&request::Parts>,
    identity: &[u8],
    head: &response::Parts,
    names: &mut Vec<String>,
) -> Result<(), Refusal> {
    if let Some(policy) = CachePolicy::of(&head.extensions) {
        names.extend(policy.stated().groups.iter().cloned());
    }
    if let Some(options) = &state.config.groups {
        let path = path_of_identity(identity).ok_or(Refusal::Groups)?;
        names.extend(options.names(request, head, path)?);
    }
    let is_long = |name: &String| name.len() > MAX_GROUP_NAME_LENGTH;
    match names.iter().any(is_long) {
        true => Err(Refusal::Groups),
        false => Ok(()),
    }
}

/// The groups of the stored response that this one confirms or completes, unless this one names
/// its own: a 304 need not repeat them.
fn continued_groups<'c>(
    config: &Config,
    continued: Option<&'c StoredResponse>,
    head: &response::Parts,
) -> &'c [Group] {
    let Some(continued) = continued else {
        return &[];
    };
    let policy = CachePolicy::of(&head.extensions);
    let names_own = policy.is_some_and(|policy| !policy.stated().groups.is_empty())
        || (config.groups.as_ref()).is_some_and(|groups| groups.has_any_field(&head.headers));
    match names_own {
        true => &[],
        false => continued.groups(),
    }
}

/// Takes off a response of the inner service what is for this cache alone.
#[inline]
pub(crate) fn take_own(config: &Config, headers: &mut HeaderMap, extensions: &mut Extensions) {
    if !extensions.is_empty() {
        extensions.remove::<CachePolicy>();
    }
    if let Some(groups) = &config.groups {
        for name in groups.taken_fields() {
            headers.remove(name);
        }
    }
}
