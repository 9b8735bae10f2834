//! Whether different authorities are different sites.

/// The hosts that are one site: a write under one of their names invalidates the stored responses
/// under all of them.
///
/// Cache keys always hold the authority, so no response is ever shared between two hosts. This
/// option decides what a [`Resource`](super::Resource) and a cache group (RFC 9875) are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Sites {
    /// All authorities are names of one site: a resource is a path, whatever the authority.
    ///
    /// `localhost` and `127.0.0.1`, a public and an internal name, and a request without any
    /// authority all mean the same resource. This invalidates more than necessary where two hosts
    /// are different sites.
    #[default]
    One,
    /// Every authority is a site of its own: a resource is an authority and a path.
    ///
    /// A host without port, with port 80 and with port 443 is one site, whatever the scheme.
    ///
    /// Use it where hosts are different sites, so that a write to one does not invalidate another's
    /// responses. Use it, too, where the [key hook](super::MakeCacheKey) puts a tenant into the
    /// authority. Each site must then be written to and read under one name: a write to
    /// `internal.example` invalidates nothing of `www.example`.
    ByAuthority,
}

impl Sites {
    /// Returns the site of an authority in normal form, as resources and groups have it.
    ///
    /// It has no default port of either scheme: a target in origin form does not tell its scheme.
    pub(crate) fn site_of(self, authority: &str) -> &str {
        match self {
            Self::One => "",
            Self::ByAuthority => {
                let site = authority.strip_suffix(":443");
                site.or(authority.strip_suffix(":80")).unwrap_or(authority)
            }
        }
    }
}
