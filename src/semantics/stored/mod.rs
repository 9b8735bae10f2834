//! The stored response: everything a hit needs, precomputed (RFC 9111 §2, §3.1).

mod compact;
mod drop_observer;
mod head;
mod response;
#[cfg(test)]
mod tests;
mod updated_headers;
mod weight;

pub use drop_observer::DropObserver;
pub use head::StoredHead;
pub use response::StoredResponse;
pub use updated_headers::updated_headers;
