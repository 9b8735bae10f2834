//! Where the variants of a key may be, as far as this process remembers.
//!
//! Knows keys, stored responses and rules. All of it is a hint: a wrong one costs another lookup.
//! Start at [`RememberedRules`] and [`LanguageVariants`].

mod languages;
mod rules;

pub(crate) use self::languages::LanguageVariants;
pub(crate) use self::rules::RememberedRules;
