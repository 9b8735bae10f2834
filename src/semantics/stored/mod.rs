//! The stored response: everything that a hit sends, prepared when it was stored (RFC 9111 §2,
//! §3.1).
//!
//! A [`StoredHead`] is made from the head of a response and its policy; with the content it becomes
//! a [`StoredResponse`], which never changes. [`updated_headers`] computes the fields after a 304
//! or an answer to HEAD. Backends keep stored responses; this module does not know how.

mod compact;
mod detached;
mod encoded;
mod head;
mod packed;
mod rare;
mod response;
mod store_observer;
#[cfg(test)]
mod tests;
mod times;
mod updated_headers;
mod weight;

pub(crate) use detached::DetachedBody;
pub use encoded::{AnswerKey, AnswerValues};
pub use head::StoredHead;
pub(crate) use packed::PackedHead;
pub(crate) use rare::{Extras, SelectedBy};
pub use response::StoredResponse;
pub use store_observer::{KeptBy, StoreObserver, StoredContent};
pub(crate) use times::PackedDuration;
pub use updated_headers::updated_headers;
