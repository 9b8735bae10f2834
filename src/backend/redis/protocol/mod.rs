//! The protocol's vocabulary: key names, tokens, fences, entries, scripts, replies.
//!
//! Everything here is data and pure functions: the content of commands and the meaning of replies.
//! It sends nothing and waits for nothing; `operations` does. It knows `connection` only for
//! [`ServerIdentity`](super::connection::ServerIdentity), which is part of every token, and for the
//! type of a script.
//!
//! The [module above](super) explains the protocol. Start reading at `keys.rs` and `tokens.rs`.

pub(crate) mod entry;
pub(crate) mod expirations;
pub(crate) mod fence;
pub(crate) mod keys;
pub(crate) mod owner;
pub(crate) mod replies;
pub(crate) mod scripts;
pub(crate) mod tokens;
pub(crate) mod ttl;
