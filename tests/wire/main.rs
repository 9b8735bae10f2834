//! What an HTTP cache does as it is seen from outside: over real connections, HTTP/1.1 and HTTP/2,
//! on memory and on Redis.
//!
//! Each case is a dialogue: the client's request, the origin's answer if it is called, the client's
//! answer. It is held once in each world.

mod client;
mod conditions;
mod connections;
mod dialogue;
mod directives;
mod parts;
mod server;
mod storing;
#[path = "../support/mod.rs"]
mod support;
mod writes;
