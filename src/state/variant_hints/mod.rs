//! Where the variants of a key may be, as far as this process remembers.
//!
//! Knows keys, stored responses, rules and clients. All of it is a hint: a wrong one costs another
//! lookup, or call. Start at [`RememberedRules`], [`LanguageVariants`] and [`VariantsOfClients`].

mod languages;
mod of_clients;
mod rules;

pub(crate) use self::languages::LanguageVariants;
pub(crate) use self::of_clients::VariantsOfClients;
pub(crate) use self::rules::RememberedRules;
