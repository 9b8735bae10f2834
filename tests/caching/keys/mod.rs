//! The requests that share a stored response: by their key, their query and their fields.

mod one_meaning;
mod query;
mod same_key;
