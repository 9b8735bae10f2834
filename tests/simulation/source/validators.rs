//! The validators of the origin's responses, and the questions that it answers by them.
//!
//! Strong tags tell every call apart. Those of one second's grain tell apart only versions written
//! in different seconds: a 304 to them may be wrong. So may a 304 of an origin whose replicas lag:
//! conditions are compared with what a replica has, which misses the last commits, while whole
//! responses come from the database.
//!
//! Neither kind of 304 may be noticed by a client of the cache. As long as a stored response is
//! valid, no write was answered since its data was read: then a 304 says nothing wrong about any
//! answered write. The validators of a response that was invalidated since must not be sent.

use std::time::{Duration, SystemTime};

use http::Request;
use http::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};

use super::Source;
use crate::luck::Luck;
use crate::support::origin::{Response, answer};

/// The validators of a world's responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validators {
    None,
    /// A strong entity tag, another one for each call.
    Strong,
    /// `Last-Modified`, in seconds.
    Dates,
    /// `Last-Modified`, and a weak entity tag made of it.
    WeakTags,
}

impl Validators {
    /// An entity tag that a response may have had.
    pub fn any_tag(self, luck: &Luck) -> String {
        match self {
            Self::WeakTags => weak_tag(luck.below(3)),
            _ => strong_tag(luck.below(20) as usize),
        }
    }

    /// Whether different answers may have the same ones.
    pub fn are_coarse(self) -> bool {
        matches!(self, Self::Dates | Self::WeakTags)
    }

    /// Adds the validators of what a call answers, which was written in this second.
    pub fn put_on(self, headers: &mut HeaderMap, call: usize, second: u64) {
        let mut insert = |name, value: String| {
            let value = HeaderValue::try_from(value).expect("a field value");
            headers.insert(name, value);
        };
        match self {
            Self::None => {}
            Self::Strong => insert(ETAG, strong_tag(call)),
            Self::Dates => insert(LAST_MODIFIED, date(second)),
            Self::WeakTags => {
                insert(LAST_MODIFIED, date(second));
                insert(ETAG, weak_tag(second));
            }
        }
    }
}

fn strong_tag(call: usize) -> String {
    format!("\"c{call}\"")
}

pub fn call_of(tag: &str) -> Option<usize> {
    tag.strip_prefix("\"c")?.strip_suffix('"')?.parse().ok()
}

fn weak_tag(second: u64) -> String {
    format!("W/\"s{second}\"")
}

fn date(second: u64) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(second))
}

impl Source {
    /// 304, where the request names a response that this one would be the same as.
    pub(super) fn unchanged(
        &self,
        request: &Request<()>,
        key: &str,
        version: u64,
        owner: &str,
    ) -> Option<Response> {
        let field = |name| {
            let value: Option<&HeaderValue> = request.headers().get(name);
            value.and_then(|value| value.to_str().ok())
        };
        let (tag, since) = (field(IF_NONE_MATCH), field(IF_MODIFIED_SINCE));
        let compared = self.compared_version(version);
        let call = match self.plan.validators {
            Validators::None => return None,
            Validators::Strong => {
                let call = call_of(tag?)?;
                let is_still = self.history.is_still(call, key, owner, compared);
                is_still.then_some(Some(call))?
            }
            Validators::Dates | Validators::WeakTags => {
                let second = self.history.written_in(key, compared);
                let is_same = match tag {
                    Some(tag) => tag == weak_tag(second),
                    None => since? == date(second),
                };
                is_same.then_some(None)?
            }
        };
        let mut lines = vec![("cache-control", self.plan.cache_control.to_owned())];
        // It can name the version only if it is sure of it.
        if let Some(call) = call.filter(|_| compared == version) {
            lines.extend([
                ("x-key", key.to_owned()),
                ("x-version", version.to_string()),
                ("x-call", call.to_string()),
                ("x-owner", owner.to_owned()),
            ]);
        }
        // Some say only that it is the same.
        if let Some(tag) = tag.filter(|_| self.luck.chance(80)) {
            lines.push(("etag", tag.to_owned()));
        }
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        Some(answer(304, &lines, ""))
    }

    /// The version that conditions are compared with.
    pub(super) fn compared_version(&self, version: u64) -> u64 {
        let missing = if self.plan.lags {
            self.luck.below(3)
        } else {
            0
        };
        version.saturating_sub(missing)
    }
}
