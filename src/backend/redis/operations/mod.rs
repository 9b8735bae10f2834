//! The protocol's operations, step by step: lookup, store, invalidation.
//!
//! ```text
//! lookup.rs           find a response, or a fence for the fill that follows
//! store.rs            put, replace, remove: store or remove under a token that still holds
//! invalidation.rs     remove the tokens of a resource, of a group, of the namespace
//! tokens.rs           read tokens, create those that are absent
//! groups.rs           tokens of groups: capture and compare
//! transfers/          large bodies, apart from their entries
//! protocol_client.rs  sending commands and scripts, for all of them
//! ```
//!
//! This module knows the protocol and the connections. It does not know the options, nor the
//! [`Backend`](crate::backend::Backend) trait, whose methods it carries out. Start reading at
//! `lookup.rs`.

mod groups;
mod invalidation;
mod lookup;
mod protocol_client;
mod store;
mod tokens;
mod transfers;

pub(crate) use self::protocol_client::ProtocolClient;
pub(crate) use self::transfers::{BodyReads, BodyStores, Transfers};
