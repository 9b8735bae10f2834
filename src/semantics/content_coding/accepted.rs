//! The codings that a request accepts (RFC 9110 §12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use super::coding::Coding;
use crate::semantics::fields::limits::{MAX_NORMALIZED, is_longer_than};
use crate::semantics::vary::members_with_weight;

/// The weight of a coding that is not accepted.
const NONE: u16 = 0;
/// The weight of identity where the request does not mention it: it is accepted, and preferred to
/// nothing.
const UNMENTIONED: u16 = 1;

/// How much a request wants each coding, in thousandths. The default wants none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedCodings {
    codings: [u16; Coding::ALL.len()],
    identity: u16,
}

impl Default for AcceptedCodings {
    fn default() -> Self {
        Self {
            codings: [NONE; Coding::ALL.len()],
            identity: UNMENTIONED,
        }
    }
}

impl AcceptedCodings {
    /// Reads `Accept-Encoding`.
    ///
    /// Without the field a request would accept any coding, but clients that cannot decode do not
    /// send it either: it wants none. So does one whose field is longer than [`MAX_NORMALIZED`]. A
    /// member that does not follow the grammar names no coding.
    #[must_use]
    pub fn from_headers(request: &HeaderMap) -> Self {
        if is_longer_than(MAX_NORMALIZED, request, &ACCEPT_ENCODING) {
            return Self::default();
        }
        let listed: Vec<_> = members_with_weight(&ACCEPT_ENCODING, request).collect();
        let weight_of = |name: &str| {
            let mut members = listed.iter();
            let found = members.find(|(listed, _)| listed == name.as_bytes());
            found.map(|(_, weight)| *weight)
        };
        let others = weight_of("*");
        Self {
            codings: Coding::ALL.map(|coding| weight_of(coding.name()).or(others).unwrap_or(NONE)),
            identity: weight_of("identity").or(others).unwrap_or(UNMENTIONED),
        }
    }

    /// Returns whether the request accepts a coding.
    #[must_use]
    pub const fn accepts(&self, coding: Coding) -> bool {
        self.weight(coding) > NONE
    }

    /// Returns the coding that the request gets of those that are offered, the first of which is
    /// the best where it wants several alike. `None` is identity: it wants that more, or accepts
    /// none of them (a request that does not accept identity either gets it all the same).
    #[must_use]
    pub fn choose(&self, offered: &[Coding]) -> Option<Coding> {
        // The first of those with the largest weight: `max_by_key` returns the last one.
        let best = offered
            .iter()
            .rev()
            .max_by_key(|coding| self.weight(**coding))?;
        let weight = self.weight(*best);
        (weight > NONE && weight >= self.identity).then_some(*best)
    }

    const fn weight(&self, coding: Coding) -> u16 {
        self.codings[coding as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::Coding::{Brotli, Gzip, Zstd};
    use super::*;

    fn accepted(lines: &[&str]) -> AcceptedCodings {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, line.parse().expect("a field value"));
        }
        AcceptedCodings::from_headers(&headers)
    }

    #[test]
    fn section_12_5_3_the_coding_with_the_largest_weight_and_of_equal_ones_the_first_offered() {
        #[rustfmt::skip]
        let rows: [(&[&str], Option<Coding>); 30] = [
            (&[], None),
            (&[""], None),
            (&["identity"], None),
            (&["gzip"], Some(Gzip)),
            (&["GZip"], Some(Gzip)),
            (&["x-gzip"], Some(Gzip)),
            (&["gzip, deflate, br, zstd"], Some(Zstd)),
            (&["gzip", "br"], Some(Brotli)),
            (&["gzip, br;q=0.9"], Some(Gzip)),
            (&["gzip;q=0.001"], Some(Gzip)),
            (&["gzip;q=0"], None),
            (&["gzip;q=0, br;q=0, zstd;q=0"], None),
            (&["*"], Some(Zstd)),
            (&["*;q=0"], None),
            (&["*;q=0, br"], Some(Brotli)),
            (&["zstd;q=0, *"], Some(Brotli)),
            (&["zstd;q=0.5, *;q=0.2"], Some(Zstd)),
            (&["identity;q=1, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Gzip)),
            (&["identity;q=0.5, gzip;q=0.4, br;q=0.6"], Some(Brotli)),
            (&["identity;q=0"], None),
            (&["identity;q=0, gzip;q=0.1"], Some(Gzip)),
            (&["gzip;q=0.1, *;q=0.5, br;q=0, zstd;q=0"], None),
            (&["deflate, compress"], None),
            (&["gzip;q=2"], None),
            (&["gzip;level=9"], None),
            (&["gzip;q=0.5;q=1"], None),
            (&["gzipped, br2"], None),
            (&[",, gzip ,"], Some(Gzip)),
            (&["gzip ; q=0.5"], Some(Gzip)),
        ];
        for (lines, expected) in rows {
            let chosen = accepted(lines).choose(&[Zstd, Brotli, Gzip]);
            assert_eq!(chosen, expected, "{lines:?}");
        }
        let all = accepted(&["gzip, br, zstd"]);
        assert_eq!(all.choose(&[Gzip, Zstd]), Some(Gzip), "the order offered");
        assert_eq!(accepted(&["br"]).choose(&[Gzip, Zstd]), None);
        assert_eq!(all.choose(&[]), None);
    }

    /// What is too long is not read in part: it costs its sender alone.
    #[test]
    fn a_list_that_is_too_long_accepts_none() {
        let long = format!("gzip, {}", "x".repeat(MAX_NORMALIZED));
        assert_eq!(accepted(&[&long]), AcceptedCodings::default());
        assert!(!AcceptedCodings::default().accepts(Gzip));
    }
}
