//! The codings that this cache makes.

use http::HeaderValue;

/// A content coding (RFC 9110 §8.4.1) that [`CacheLayer::compress`](crate::CacheLayer::compress)
/// makes; with the feature `compress`.
///
/// In configuration it is `"zstd"`, `"brotli"` or `"gzip"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Coding {
    /// `zstd` (RFC 8878), at level 6.
    Zstd,
    /// `br` (RFC 7932), at quality 5.
    Brotli,
    /// `gzip` (RFC 1952), at level 6.
    Gzip,
}

impl Coding {
    /// All of them, in the order of their declaration.
    pub(crate) const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Returns its name in `Content-Encoding` and `Accept-Encoding`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Returns the value of `Content-Encoding`.
    pub(crate) const fn field_value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }
}
