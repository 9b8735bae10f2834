//! Values in configuration: durations such as `"60s"`, sizes such as `"64MiB"`, and types of the
//! crate as text.
//!
//! Start with [`duration`].

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::key::{Authority, QueryRules};
use crate::semantics::freshness::Ttl;

fn parse_duration<E: Error>(text: &str) -> Result<Duration, E> {
    let invalid = |error| E::custom(format_args!("invalid duration {text:?}: {error}"));
    humantime::parse_duration(text).map_err(invalid)
}

/// Reads a duration: whole numbers with units, such as `"60s"` or `"1h 30m"`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    parse_duration(&String::deserialize(from)?).map(Some)
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match &*String::deserialize(from)? {
            "until-invalidated" => Self::UntilInvalidated,
            text => Self::For(parse_duration(text)?),
        })
    }
}

/// Reads a size: a number of bytes, or text with a unit, such as `"64MiB"`.
pub(crate) fn size<'de, D, N>(from: D) -> Result<Option<N>, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<u64>,
{
    let bytes = from.deserialize_any(Size)?;
    let too_large = |_| D::Error::custom(format_args!("the size {bytes} is too large"));
    N::try_from(bytes).map_err(too_large).map(Some)
}

struct Size;

impl Visitor<'_> for Size {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size in bytes, such as 65536 or \"64KiB\"")
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<u64, E> {
        Ok(bytes)
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<u64, E> {
        u64::try_from(bytes).map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        let invalid = |error: &str| E::custom(format_args!("invalid size {text:?}: {error}"));
        match text.parse() {
            // Beyond its range, a size is read as the largest one.
            Ok(ByteSize(u64::MAX)) => Err(invalid("too large")),
            Ok(ByteSize(bytes)) => Ok(bytes),
            Err(error) => Err(invalid(&error)),
        }
    }
}

/// Reads a fixed authority, such as `"www.example.com"`.
pub(crate) fn authority<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Authority>, D::Error> {
    let text = String::deserialize(from)?;
    let parsed = text.parse::<http::uri::Authority>().ok();
    match parsed.filter(|authority| !authority.as_str().contains('@')) {
        Some(authority) => Ok(Some(Authority::fixed(authority.as_str()))),
        None => Err(D::Error::custom(format_args!(
            "invalid authority {text:?}: expected HOST or HOST:PORT"
        ))),
    }
}

impl<'de> Deserialize<'de> for QueryRules {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Query {
            only: Option<Vec<String>>,
            #[serde(default)]
            ignoring: Vec<String>,
            #[serde(default)]
            sorted: bool,
        }
        let query = Query::deserialize(from)?;
        let rules = match &query.only {
            Some(only) => Self::only(only.iter().map(String::as_str)),
            None => Self::all(),
        };
        let rules = rules.ignoring(query.ignoring.iter().map(String::as_str));
        Ok(if query.sorted { rules.sorted() } else { rules })
    }
}
