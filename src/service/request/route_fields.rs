//! The header fields of a request that decide its route.

use http::HeaderMap;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE,
    HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, ORIGIN, PRAGMA, RANGE, REFERER, TRANSFER_ENCODING,
    UPGRADE, UPGRADE_INSECURE_REQUESTS, USER_AGENT,
};

use crate::key::HostLines;
use crate::semantics::bypass_fields::BypassFields;

/// The header fields that decide the route, read in one pass because every hit pays for it.
#[derive(Default)]
pub(super) struct RouteFields<'r> {
    pub(super) upgrades: bool,
    /// Content that is no part of the key must not shape the response stored under it.
    pub(super) has_content: bool,
    pub(super) has_directives: bool,
    /// Whether the fields may select less than the whole response.
    pub(super) is_selective: bool,
    pub(super) has_bypass_field: bool,
    pub(super) hosts: HostLines<'r>,
}

impl<'r> RouteFields<'r> {
    /// Reads all fields once.
    #[inline]
    pub(super) fn from_headers(headers: &'r HeaderMap, bypass_fields: &BypassFields) -> Self {
        let mut fields = Self {
            has_bypass_field: bypass_fields.has_other_in(headers),
            ..Self::default()
        };
        for (name, value) in headers {
            match *name {
                HOST => fields.hosts.add(value),
                UPGRADE => fields.upgrades = true,
                TRANSFER_ENCODING => fields.has_content = true,
                CONTENT_LENGTH => fields.has_content |= value != "0",
                CACHE_CONTROL | PRAGMA => fields.has_directives = true,
                IF_NONE_MATCH | IF_MODIFIED_SINCE | RANGE => fields.is_selective = true,
                // Most requests have these. They cost no look at their names.
                ACCEPT
                | ACCEPT_ENCODING
                | ACCEPT_LANGUAGE
                | CONNECTION
                | COOKIE
                | ORIGIN
                | REFERER
                | UPGRADE_INSECURE_REQUESTS
                | USER_AGENT => {}
                _ => fields.has_bypass_field |= bypass_fields.has_extension(name),
            }
        }
        fields
    }
}
